package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/channel"
	"github.com/migiwa/migiwa/internal/filter/suite"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// FilterMode is how far one filter may go.
type FilterMode struct {
	Filter string `json:"filter"`
	Mode   string `json:"mode"`
	From   string `json:"from"` // who says so: account, domain, default
	Doc    string `json:"doc"`
}

// consentSubject is whose filters are meant.
type consentSubject struct {
	account int64 // 0: a domain's default
	name    string
	domain  mail.Domain
}

// consentSubject understands the address of an account or the name of a domain.
func (a *Admin) consentSubject(ctx context.Context, name string) (consentSubject, error) {
	if !strings.Contains(strings.TrimPrefix(name, "@"), "@") {
		domain, err := mail.ParseDomain(strings.TrimPrefix(name, "@"))
		if err != nil {
			return consentSubject{}, fmt.Errorf("%w: %w", directory.ErrInvalid, err)
		}
		if _, err := a.Directory.Domain(ctx, domain); err != nil {
			return consentSubject{}, err
		}
		return consentSubject{name: string(domain), domain: domain}, nil
	}
	acct, err := a.Account(ctx, name)
	if err != nil {
		return consentSubject{}, err
	}
	return consentSubject{acct.ID, acct.Address.Key(), acct.Address.Domain}, nil
}

// Filters gives how far each filter may go with mail to an account, or by
// default to those of a domain.
func (a *Admin) Filters(ctx context.Context, subject string) ([]FilterMode, error) {
	s, err := a.consentSubject(ctx, subject)
	if err != nil {
		return nil, err
	}
	defaults, err := a.Directory.Consents(ctx, 0, s.domain)
	if err != nil {
		return nil, err
	}
	modes, err := a.Directory.Consents(ctx, s.account, s.domain)
	if err != nil {
		return nil, err
	}
	var out []FilterMode
	for _, f := range suite.Known {
		m := FilterMode{f.Name, f.Default.String(), "default", f.Doc}
		if mode, ok := modes[f.Name]; ok {
			m.Mode, m.From = mode, "account"
			if defaults[f.Name] == mode {
				m.From = "domain"
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// SetFilters changes how far filters may go, by settings such as link=junk;
// the name all stands for all filters, the mode default for what holds without
// a word. via tells from where the change came.
func (a *Admin) SetFilters(ctx context.Context, actor, via, subject string, settings []string) error {
	s, err := a.consentSubject(ctx, subject)
	if err != nil {
		return err
	}
	changes, err := consentChanges(settings)
	if err != nil {
		return err
	}
	var done []directory.Consent
	err = a.Directory.DB.Write(ctx, func(tx *db.Tx) error {
		done = done[:0]
		for _, c := range changes {
			c.At, c.Account, c.Subject, c.By, c.Via = time.Now(), s.account, s.name, actor, via
			changed, err := a.Directory.SetConsent(tx, c)
			if err != nil {
				return err
			}
			if changed {
				done = append(done, c)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range done {
		a.Events.Record(event.Event{Kind: event.Setting, Actor: actor, Account: s.name, Verb: "filter " + c.Filter,
			Reason: fmt.Sprintf("to %q", c.New)})
	}
	return nil
}

func consentChanges(settings []string) ([]directory.Consent, error) {
	var out []directory.Consent
	for _, kv := range settings {
		name, mode, found := strings.Cut(kv, "=")
		if !found {
			return nil, fmt.Errorf("%w: %q is not FILTER=MODE", directory.ErrInvalid, kv)
		}
		if mode == "default" {
			mode = ""
		} else if _, err := filter.ParseMode(mode); err != nil {
			return nil, fmt.Errorf("%w: %w, default", directory.ErrInvalid, err)
		}
		names := []string{name}
		if name == "all" {
			names = suite.Names()
			if mode != "off" && mode != "" { // what asks others is turned on by its name only
				names = slices.DeleteFunc(names, func(n string) bool { return suite.Default(n) == filter.Off })
			}
		} else if !slices.Contains(suite.Names(), name) {
			return nil, fmt.Errorf("%w: no filter %q; there are %s", directory.ErrInvalid, name, strings.Join(suite.Names(), ", "))
		}
		for _, n := range names {
			out = append(out, directory.Consent{Filter: n, New: mode})
		}
	}
	return out, nil
}

// FilterHistory gives all changes of how far filters may go: of an account's
// address or a domain, or of all. Accounts that are gone are in it, too.
func (a *Admin) FilterHistory(ctx context.Context, subject string) ([]directory.Consent, error) {
	subject = strings.TrimPrefix(subject, "@")
	if address, err := mail.ParseAddress(subject); err == nil {
		subject = address.Key()
	}
	return a.Directory.ConsentHistory(ctx, subject)
}

// ChannelSecret names the key of addresses for one correspondent.
const ChannelSecret = "channel"

// Channel gives the address of an account for the mail of one domain only.
func (a *Admin) Channel(ctx context.Context, address, correspondent string) (mail.Address, error) {
	acct, err := a.Account(ctx, address)
	if err != nil {
		return mail.Address{}, err
	}
	name, err := mail.ParseDomain(correspondent)
	if err != nil {
		return mail.Address{}, fmt.Errorf("%w: %w", directory.ErrInvalid, err)
	}
	domain, err := a.Directory.Domain(ctx, acct.Address.Domain)
	if err != nil {
		return mail.Address{}, err
	}
	secret, err := a.Directory.Secret(ctx, ChannelSecret, 32)
	if err != nil {
		return mail.Address{}, err
	}
	return channel.Address(secret, acct.Address, domain.Settings.PlusSeparator, name)
}
