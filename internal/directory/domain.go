package directory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Domain is a mail domain of ours.
type Domain struct {
	ID       int64
	Name     mail.Domain
	Settings DomainSettings
	Created  time.Time
}

// SenderMode says how the authenticated address is made known on mail whose
// From differs from it.
type SenderMode string

// The sender modes.
const (
	SenderRecord SenderMode = "record" // in the header field Sender
	SenderForce  SenderMode = "force"  // as envelope sender
)

// BounceMode says what becomes of null-sender mail to an address whose bounces
// must bear a tag and that came without.
type BounceMode string

// The bounce modes.
const (
	BounceAccept   BounceMode = "accept"   // delivered as if nothing were
	BounceLabel    BounceMode = "label"    // delivered with a finding in its header
	BounceTempfail BounceMode = "tempfail" // put off until its sender gives up
)

// DomainSettings is what an administrator may set for a domain. It is kept as
// JSON; what a row does not name has its default.
type DomainSettings struct {
	CatchAll      string     `json:"catch_all,omitempty"`     // address that gets mail to nobody; empty: refused
	DefaultQuota  int64      `json:"default_quota,omitempty"` // octets an account, where the account says nothing; 0: none
	MaxAccounts   int64      `json:"max_accounts,omitempty"`  // 0: any number
	PlusSeparator string     `json:"plus_separator"`          // between local part and detail; empty: off
	SenderMode    SenderMode `json:"sender_mode"`
	Masquerade    Masquerade `json:"masquerade,omitzero"`
	Postmaster    string     `json:"postmaster,omitempty"` // address that reads postmaster@; empty: the first administrator

	BouncesSigned   time.Time  `json:"bounces_signed,omitzero"` // since when envelope senders are signed; zero: they are not
	UnsignedBounces BounceMode `json:"unsigned_bounces"`        // of a domain that signs, a tag's lifetime after it began
}

// Masquerade rewrites host parts of submitted mail to the domain, as sendmail
// does. The zero Masquerade rewrites nothing.
type Masquerade struct {
	Hosts    []mail.Domain `json:"hosts,omitempty"`    // these and all below them become the domain
	Envelope bool          `json:"envelope,omitempty"` // the envelope sender, too
	Exposed  []string      `json:"exposed,omitempty"`  // local parts that are left as they are, such as root
}

// DefaultDomainSettings are the settings of a new domain.
func DefaultDomainSettings() DomainSettings {
	return DomainSettings{PlusSeparator: "+", SenderMode: SenderRecord, UnsignedBounces: BounceLabel}
}

// Rewrite gives a with its host part masqueraded as domain, or a itself.
func (m Masquerade) Rewrite(a mail.Address, domain mail.Domain) mail.Address {
	if a.IsNull() || a.Domain == domain || slices.Contains(m.Exposed, mail.NormalLocal(a.Local)) {
		return a
	}
	for _, h := range m.Hosts {
		if a.Domain == h || strings.HasSuffix(string(a.Domain), "."+string(h)) {
			return mail.MakeAddress(a.Local, domain)
		}
	}
	return a
}

// Check tells what is wrong with s.
func (s DomainSettings) Check() error {
	for name, a := range map[string]string{"catch_all": s.CatchAll, "postmaster": s.Postmaster} {
		if a == "" {
			continue
		}
		if p, err := mail.ParseAddress(a); err != nil || p.Domain == "" {
			return fmt.Errorf("%w %s: %q is not a full address", ErrInvalid, name, a)
		}
	}
	if s.DefaultQuota < 0 || s.DefaultQuota%Megabyte != 0 {
		return fmt.Errorf("%w default_quota: not a whole number of megabytes", ErrInvalid)
	}
	if s.MaxAccounts < 0 {
		return fmt.Errorf("%w max_accounts: below 0", ErrInvalid)
	}
	if len(s.PlusSeparator) > 4 || strings.ContainsAny(s.PlusSeparator, "@. \"\\") {
		return fmt.Errorf("%w plus_separator %q", ErrInvalid, s.PlusSeparator)
	}
	if s.SenderMode != SenderRecord && s.SenderMode != SenderForce {
		return fmt.Errorf("%w sender_mode %q: neither record nor force", ErrInvalid, s.SenderMode)
	}
	switch s.UnsignedBounces {
	case BounceAccept, BounceLabel, BounceTempfail:
	default:
		return fmt.Errorf("%w unsigned_bounces %q: none of accept, label, tempfail", ErrInvalid, s.UnsignedBounces)
	}
	return nil
}

// CreateDomain adds a domain.
func (d *Directory) CreateDomain(tx *db.Tx, name mail.Domain, s DomainSettings) (Domain, error) {
	if strings.HasPrefix(string(name), "[") {
		return Domain{}, fmt.Errorf("domain %s: %w: an address literal", name, ErrInvalid)
	}
	if err := s.Check(); err != nil {
		return Domain{}, fmt.Errorf("domain %s: %w", name, err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return Domain{}, err
	}
	if _, err := d.DomainTx(tx, name); err == nil {
		return Domain{}, fmt.Errorf("domain %s: %w", name, ErrExists)
	}
	dom := Domain{Name: name, Settings: s, Created: now()}
	dom.ID, err = tx.Insert(`INSERT INTO domain (name, settings, created) VALUES (?, ?, ?) RETURNING id`,
		string(name), string(text), dom.Created.UnixMilli())
	if err != nil {
		return Domain{}, fmt.Errorf("create domain %s: %w", name, err)
	}
	d.Changed(tx)
	return dom, nil
}

const domainColumns = `id, name, settings, created`

func scanDomain(scan func(...any) error) (Domain, error) {
	dom := Domain{Settings: DefaultDomainSettings()}
	var name, settings string
	var created int64
	if err := scan(&dom.ID, &name, &settings, &created); err != nil {
		return Domain{}, err
	}
	dom.Name, dom.Created = mail.Domain(name), time.UnixMilli(created)
	if err := json.Unmarshal([]byte(settings), &dom.Settings); err != nil {
		return Domain{}, fmt.Errorf("settings of domain %s: %w", name, err)
	}
	return dom, nil
}

// DomainTx gives the domain of that name, past the cache.
func (d *Directory) DomainTx(tx *db.Tx, name mail.Domain) (Domain, error) {
	dom, err := scanDomain(tx.Row(`SELECT `+domainColumns+` FROM domain WHERE name = ?`, string(name)).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Domain{}, fmt.Errorf("domain %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return Domain{}, fmt.Errorf("look up domain %s: %w", name, err)
	}
	return dom, nil
}

// domainEntry is what the cache knows of a name.
type domainEntry struct {
	domain Domain
	keys   []DKIMKey // the active ones
	found  bool
}

// Domain gives the domain of that name, from the cache where it can. It wraps
// ErrNotFound when the name is not in the database.
func (d *Directory) Domain(ctx context.Context, name mail.Domain) (Domain, error) {
	e, err := d.domainEntry(ctx, name)
	if err == nil && !e.found {
		err = fmt.Errorf("domain %s: %w", name, ErrNotFound)
	}
	return e.domain, err
}

// SigningKeys gives the active DKIM keys of a domain, from the cache where it
// can; none when the domain is not ours.
func (d *Directory) SigningKeys(ctx context.Context, name mail.Domain) ([]DKIMKey, error) {
	e, err := d.domainEntry(ctx, name)
	return e.keys, err
}

func (d *Directory) domainEntry(ctx context.Context, name mail.Domain) (domainEntry, error) {
	d.open()
	generation := d.generation.Load()
	if e, ok := d.domains.get(name, generation); ok {
		return e, nil
	}
	var e domainEntry
	err := d.DB.Read(ctx, func(tx *db.Tx) error {
		dom, err := d.DomainTx(tx, name)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		e.domain, e.found = dom, true
		keys, err := d.DKIMKeys(tx, dom.ID)
		for _, k := range keys {
			if k.Active {
				e.keys = append(e.keys, k)
			}
		}
		return err
	})
	if err != nil {
		return domainEntry{}, err
	}
	d.domains.put(name, generation, e)
	return e, nil
}

// Ours tells whether mail for the domain ends here or behind a route of ours.
func (d *Directory) Ours(ctx context.Context, name mail.Domain) (bool, error) {
	if _, routed := d.route(name); routed {
		return true, nil
	}
	e, err := d.domainEntry(ctx, name)
	return e.found, err
}

// Domains gives all domains of the database by name.
func (d *Directory) Domains(ctx context.Context) ([]Domain, error) {
	var out []Domain
	err := d.DB.Read(ctx, func(tx *db.Tx) error {
		out = nil
		return tx.Each(`SELECT `+domainColumns+` FROM domain ORDER BY name`, nil, func(scan func(...any) error) error {
			dom, err := scanDomain(scan)
			out = append(out, dom)
			return err
		})
	})
	return out, err
}

// SetDomain writes the settings of a domain.
func (d *Directory) SetDomain(tx *db.Tx, dom Domain) error {
	if err := dom.Settings.Check(); err != nil {
		return fmt.Errorf("domain %s: %w", dom.Name, err)
	}
	text, err := json.Marshal(dom.Settings)
	if err != nil {
		return err
	}
	n, err := tx.Exec(`UPDATE domain SET settings = ? WHERE id = ?`, string(text), dom.ID)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("set domain %s: %w", dom.Name, err)
	}
	d.Changed(tx)
	return nil
}

// DeleteDomain deletes a domain with its aliases and keys. One that has
// accounts is still in use.
func (d *Directory) DeleteDomain(tx *db.Tx, dom Domain) error {
	var n int64
	if err := tx.Row(`SELECT count(*) FROM account WHERE domain = ?`, dom.ID).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return fmt.Errorf("domain %s: %w by %d accounts", dom.Name, ErrInUse, n)
	}
	for _, q := range []string{
		`DELETE FROM alias WHERE domain = ?`,
		`DELETE FROM dkim_key WHERE domain = ?`,
		`DELETE FROM domain WHERE id = ?`,
	} {
		if _, err := tx.Exec(q, dom.ID); err != nil {
			return fmt.Errorf("delete domain %s: %w", dom.Name, err)
		}
	}
	d.Changed(tx)
	return nil
}

// defaultDomain is where a name without a domain belongs; empty: nowhere.
func (d *Directory) defaultDomain(tx *db.Tx) (mail.Domain, error) {
	if d.DefaultDomain != "" {
		return d.DefaultDomain, nil
	}
	var name string
	err := tx.Row(`SELECT name FROM domain ORDER BY id LIMIT 1`).Scan(&name)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("look up default domain: %w", err)
	}
	return mail.Domain(name), nil
}

// now is the time as the database keeps it.
func now() time.Time { return time.UnixMilli(time.Now().UnixMilli()) }
