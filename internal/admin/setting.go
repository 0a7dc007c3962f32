package admin

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
)

// Setting describes one setting of a T: the one place that knows its name, its
// meaning, and how its value is read and written.
type Setting[T any] struct {
	Name string
	Type string // what values look like, for help
	Doc  string

	parse  func(t *T, value string) error // an empty value means the default
	format func(t T) string               // nil: never shown
}

// Value gives the setting's value in t as Set would take it; false when it is
// never shown.
func (s Setting[T]) Value(t T) (string, bool) {
	if s.format == nil {
		return "", false
	}
	return s.format(t), true
}

// AccountSettings are the settings of an account. The password stands apart:
// it must be hashed before anything is written.
var AccountSettings = []Setting[directory.Account]{
	{
		Name: "name", Type: "text", Doc: "Name for people.",
		parse:  func(a *directory.Account, v string) error { a.Name = v; return nil },
		format: func(a directory.Account) string { return a.Name },
	}, {
		Name: "state", Type: "active|disabled", Doc: "A disabled account takes no mail and no login and keeps what it has.",
		parse: func(a *directory.Account, v string) error {
			a.State = directory.State(v)
			if v == "" {
				a.State = directory.Active
			}
			return oneOf(string(a.State), string(directory.Active), string(directory.Blocked))
		},
		format: func(a directory.Account) string { return string(a.State) },
	}, {
		Name: "admin", Type: "yes|no", Doc: "May administer the installation. The first administrator reads postmaster's mail.",
		parse:  func(a *directory.Account, v string) error { return parseBool(&a.Admin, v) },
		format: func(a directory.Account) string { return formatBool(a.Admin) },
	}, {
		Name: "quota", Type: "size|default|none", Doc: "Room for mail: 500MB, 2GB, 1TB (a bare number is in MB); default: the domain's default_quota.",
		parse: func(a *directory.Account, v string) (err error) {
			switch v {
			case "", "default", "0":
				a.Quota = 0
			case "none":
				a.Quota = directory.NoQuota
			default:
				a.Quota, err = parseSize(v)
			}
			return err
		},
		format: func(a directory.Account) string {
			switch {
			case a.Quota == 0:
				return "default"
			case a.Quota < 0:
				return "none"
			}
			return formatSize(a.Quota)
		},
	}, {
		Name: "forward_to", Type: "addresses", Doc: "Where mail goes on to, separated by spaces; empty: nowhere.",
		parse: func(a *directory.Account, v string) (err error) {
			a.Forward, err = directory.ParseList(v)
			return err
		},
		format: func(a directory.Account) string { return directory.FormatList(a.Forward) },
	}, {
		Name: "keep_copy", Type: "yes|no", Doc: "Forwarded mail stays in the mailbox, too.",
		parse:  func(a *directory.Account, v string) error { return parseBool(&a.KeepCopy, v) },
		format: func(a directory.Account) string { return formatBool(a.KeepCopy) },
	}, {
		Name: "log", Type: "yes|no", Doc: "May search the events of everybody's mail, and read traces of it.",
		parse:  func(a *directory.Account, v string) error { return parseBool(&a.ReadsLog, v) },
		format: func(a directory.Account) string { return formatBool(a.ReadsLog) },
	}, {
		Name: passwordSetting, Type: "text|hash", Doc: "Plain, or a PHC or crypt hash; empty: no login. Never shown.",
	},
}

const passwordSetting = "password"

// DomainSettings are the settings of a domain.
var DomainSettings = []Setting[directory.DomainSettings]{
	{
		Name: "catch_all", Type: "address", Doc: "Who gets mail to addresses that nobody has; empty: it is refused.",
		parse:  func(s *directory.DomainSettings, v string) error { s.CatchAll = v; return nil },
		format: func(s directory.DomainSettings) string { return s.CatchAll },
	}, {
		Name: "default_quota", Type: "size|none", Doc: "Room for mail of accounts whose quota is default.",
		parse: func(s *directory.DomainSettings, v string) (err error) {
			s.DefaultQuota = 0
			if v != "" && v != "none" && v != "0" {
				s.DefaultQuota, err = parseSize(v)
			}
			return err
		},
		format: func(s directory.DomainSettings) string {
			if s.DefaultQuota == 0 {
				return "none"
			}
			return formatSize(s.DefaultQuota)
		},
	}, {
		Name: "max_accounts", Type: "number", Doc: "How many accounts the domain may have; 0: any number.",
		parse: func(s *directory.DomainSettings, v string) (err error) {
			s.MaxAccounts = 0
			if v != "" {
				s.MaxAccounts, err = strconv.ParseInt(v, 10, 64)
			}
			return err
		},
		format: func(s directory.DomainSettings) string { return strconv.FormatInt(s.MaxAccounts, 10) },
	}, {
		Name: "plus_separator", Type: "text|off", Doc: "What separates a detail from the local part, as in bob+lists.",
		parse: func(s *directory.DomainSettings, v string) error {
			switch v {
			case "":
				v = directory.DefaultDomainSettings().PlusSeparator
			case "off":
				v = ""
			}
			s.PlusSeparator = v
			return nil
		},
		format: func(s directory.DomainSettings) string {
			if s.PlusSeparator == "" {
				return "off"
			}
			return s.PlusSeparator
		},
	}, {
		Name: "sender_mode", Type: "record|force", Doc: "The login of submitted mail: recorded in the field Sender when it differs from From, or forced as envelope sender.",
		parse: func(s *directory.DomainSettings, v string) error {
			s.SenderMode = directory.SenderMode(v)
			if v == "" {
				s.SenderMode = directory.SenderRecord
			}
			return oneOf(string(s.SenderMode), string(directory.SenderRecord), string(directory.SenderForce))
		},
		format: func(s directory.DomainSettings) string { return string(s.SenderMode) },
	}, {
		Name: "masquerade_hosts", Type: "domains", Doc: "Host parts that, with all below them, become the domain in submitted mail; separated by spaces.",
		parse: func(s *directory.DomainSettings, v string) error {
			s.Masquerade.Hosts = nil
			for word := range strings.FieldsSeq(v) {
				d, err := mail.ParseDomain(word)
				if err != nil {
					return err
				}
				s.Masquerade.Hosts = append(s.Masquerade.Hosts, d)
			}
			return nil
		},
		format: func(s directory.DomainSettings) string {
			words := make([]string, len(s.Masquerade.Hosts))
			for i, d := range s.Masquerade.Hosts {
				words[i] = string(d)
			}
			return strings.Join(words, " ")
		},
	}, {
		Name: "masquerade_envelope", Type: "yes|no", Doc: "Masquerade the envelope sender, too.",
		parse:  func(s *directory.DomainSettings, v string) error { return parseBool(&s.Masquerade.Envelope, v) },
		format: func(s directory.DomainSettings) string { return formatBool(s.Masquerade.Envelope) },
	}, {
		Name: "masquerade_exposed", Type: "local parts", Doc: "Users who are not masqueraded, such as root; separated by spaces.",
		parse: func(s *directory.DomainSettings, v string) error {
			s.Masquerade.Exposed = nil
			for word := range strings.FieldsSeq(v) {
				s.Masquerade.Exposed = append(s.Masquerade.Exposed, mail.NormalLocal(word))
			}
			return nil
		},
		format: func(s directory.DomainSettings) string { return strings.Join(s.Masquerade.Exposed, " ") },
	}, {
		Name: "sign_bounces", Type: "yes|no", Doc: "Sign the envelope sender of mail to other hosts, so that bounces of it can be told from others.",
		parse: func(s *directory.DomainSettings, v string) error {
			on := false
			if err := parseBool(&on, v); err != nil {
				return err
			}
			switch {
			case !on:
				s.BouncesSigned = time.Time{}
			case s.BouncesSigned.IsZero():
				s.BouncesSigned = time.Now().UTC().Truncate(time.Second)
			}
			return nil
		},
		format: func(s directory.DomainSettings) string { return formatBool(!s.BouncesSigned.IsZero()) },
	}, {
		Name: "unsigned_bounces", Type: "accept|label|tempfail", Doc: "Where bounces are signed, what becomes of null-sender mail without a tag, from the eighth day on.",
		parse: func(s *directory.DomainSettings, v string) error {
			s.UnsignedBounces = directory.BounceMode(v)
			if v == "" {
				s.UnsignedBounces = directory.DefaultDomainSettings().UnsignedBounces
			}
			return oneOf(string(s.UnsignedBounces), string(directory.BounceAccept), string(directory.BounceLabel), string(directory.BounceTempfail))
		},
		format: func(s directory.DomainSettings) string { return string(s.UnsignedBounces) },
	}, {
		Name: "postmaster", Type: "address", Doc: "Who reads postmaster's mail; empty: the first administrator.",
		parse:  func(s *directory.DomainSettings, v string) error { s.Postmaster = v; return nil },
		format: func(s directory.DomainSettings) string { return s.Postmaster },
	},
}

// accountEdit is a checked list of changes of an account.
type accountEdit struct {
	changes    []func(*directory.Account) error
	credential *directory.Credential // nil: stays
}

// apply makes the changes; parse was tried on them before.
func (e accountEdit) apply(a *directory.Account) {
	for _, change := range e.changes {
		change(a)
	}
}

func (a *Admin) accountEdit(ctx context.Context, settings []string) (accountEdit, error) {
	var e accountEdit
	var rest []string
	for _, kv := range settings {
		password, is := strings.CutPrefix(kv, passwordSetting+"=")
		if !is {
			rest = append(rest, kv)
			continue
		}
		e.credential = &directory.Credential{}
		if password != "" {
			var err error
			if e.credential, err = a.credential(ctx, password); err != nil {
				return e, err
			}
		}
	}
	var err error
	e.changes, err = changes(AccountSettings, rest)
	return e, err
}

// changes turns KEY=VALUE into functions that are known to succeed.
func changes[T any](table []Setting[T], settings []string) ([]func(*T) error, error) {
	var out []func(*T) error
	for _, kv := range settings {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, fmt.Errorf("%w setting %q: not KEY=VALUE", directory.ErrInvalid, kv)
		}
		s, err := find(table, key)
		if err != nil {
			return nil, err
		}
		var trial T
		if err := s.parse(&trial, value); err != nil {
			return nil, fmt.Errorf("setting %s=%s: %w (%s)", key, value, err, s.Type)
		}
		out = append(out, func(t *T) error { return s.parse(t, value) })
	}
	return out, nil
}

func find[T any](table []Setting[T], name string) (Setting[T], error) {
	var names []string
	for _, s := range table {
		if s.Name == name && s.parse != nil {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Setting[T]{}, fmt.Errorf("%w setting %q; there are %s", directory.ErrInvalid, name, strings.Join(names, ", "))
}

func oneOf(v string, words ...string) error {
	for _, w := range words {
		if v == w {
			return nil
		}
	}
	return fmt.Errorf("%w value %q", directory.ErrInvalid, v)
}

func parseBool(b *bool, v string) error {
	switch strings.ToLower(v) {
	case "yes", "true", "on", "1":
		*b = true
	case "no", "false", "off", "0", "":
		*b = false
	default:
		return fmt.Errorf("%w value %q", directory.ErrInvalid, v)
	}
	return nil
}

func formatBool(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// units of sizes, in megabytes, biggest first.
var units = []struct {
	name string
	size int64
}{{"TB", 1 << 20}, {"GB", 1 << 10}, {"MB", 1}}

// parseSize reads a whole number of megabytes (2^20 octets).
func parseSize(v string) (int64, error) {
	number, factor := strings.ToUpper(v), int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = n, u.size
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 1 || n > math.MaxInt64/directory.Megabyte/factor {
		return 0, fmt.Errorf("%w size %q", directory.ErrInvalid, v)
	}
	return n * factor * directory.Megabyte, nil
}

func formatSize(octets int64) string {
	mb := octets / directory.Megabyte
	for _, u := range units {
		if mb%u.size == 0 {
			return strconv.FormatInt(mb/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(mb, 10) + "MB"
}
