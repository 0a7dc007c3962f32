package directory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Status says what an address is to this installation.
type Status int

// The statuses of an address.
const (
	NotOurs  Status = iota // its domain is not ours
	Unknown                // our domain, nobody's address
	Disabled               // an account that takes no mail now
	Known                  // at least one Target
)

// String names the status for logs.
func (s Status) String() string {
	switch s {
	case NotOurs:
		return "not ours"
	case Unknown:
		return "unknown"
	case Disabled:
		return "disabled"
	case Known:
		return "known"
	}
	return "loop"
}

// Resolution is what becomes of mail to one address.
type Resolution struct {
	Status  Status
	Targets []Target // after aliases and forwarding, without repetition
	Former  bool     // Unknown, but it was an account or alias once

	owners []int64 // accounts reached without passing another account's forward
}

// Target is one place that mail goes to: a mailbox of ours or another address.
type Target struct {
	Account int64        // a local account's mailbox; 0 when Forward is set
	Owner   mail.Address // the account's or alias's own address
	Detail  string       // of plus-addressing: the part behind +
	Quota   int64        // octets; 0: none
	Used    int64        // octets, as of the last look
	Forward mail.Address // where mail goes on to, outside
	Keeper  int64        // account whose mailbox keeps a forward that fails; 0: none, or it has its copy
	Relay   bool         // the recipient itself, behind a route of ours: no SRS
	Reverse bool         // a bounce on its way back (SRS): from the null sender only
}

// Mailbox names what mail to the address reaches, the same for all addresses
// that lead to the same mailboxes: aliases, those with details, those that a
// domain catches. It is empty where only the address itself tells: behind a
// route of ours, and where nothing is reached.
func (r Resolution) Mailbox() string {
	names := make([]string, len(r.Targets))
	for i, t := range r.Targets {
		switch {
		case t.Relay:
			return ""
		case t.Account != 0:
			names[i] = strconv.FormatInt(t.Account, 10)
		default:
			names[i] = t.Forward.Key()
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// Full tells whether size more octets would be beyond the quota.
func (t Target) Full(size int64) bool { return t.Quota > 0 && t.Used+size > t.Quota }

// Resolve tells what becomes of mail to a. Addresses of postmaster without a
// domain belong to the default domain. The Resolution must not be changed.
// Known and unknown addresses of a domain take the same path as far as there
// is one; who must not be told them apart by time answers on a time grid.
func (d *Directory) Resolve(ctx context.Context, a mail.Address) (Resolution, error) {
	d.open()
	if a.IsNull() {
		return Resolution{}, nil
	}
	key := a.Wire
	if key == "" {
		a = mail.MakeAddress(a.Local, a.Domain)
		key = a.Wire
	}
	generation := d.generation.Load()
	r, ok := d.resolutions.get(key, generation)
	if !ok {
		keys, err := d.loadSigned(ctx, a)
		if err != nil {
			return Resolution{}, err
		}
		err = d.DB.Read(ctx, func(tx *db.Tx) (err error) {
			r, err = d.resolve(tx, a, keys)
			return err
		})
		if err != nil {
			return Resolution{}, fmt.Errorf("resolve <%s>: %w", a.Wire, err)
		}
		d.resolutions.put(key, generation, r)
	}
	return d.refresh(ctx, r)
}

// refresh gives r with Used as of at most usedTime ago.
func (d *Directory) refresh(ctx context.Context, r Resolution) (Resolution, error) {
	copied := false
	for i, t := range r.Targets {
		if t.Account == 0 || t.Quota == 0 {
			continue
		}
		used, ok := d.used.get(t.Account, 0)
		if !ok {
			err := d.DB.Read(ctx, func(tx *db.Tx) error {
				return tx.Row(`SELECT used FROM account WHERE id = ?`, t.Account).Scan(&used)
			})
			if err != nil {
				return Resolution{}, fmt.Errorf("look up use of %s: %w", t.Owner, err)
			}
			d.used.put(t.Account, 0, used)
		}
		if used == t.Used {
			continue
		}
		if !copied {
			r.Targets, copied = slices.Clone(r.Targets), true
		}
		r.Targets[i].Used = used
	}
	return r, nil
}

// ResolveTx is Resolve as the transaction sees the directory, past the cache.
// SRS addresses are known only after the secret "srs" was asked for once; in a
// routed domain no tag of a signed sender is known.
func (d *Directory) ResolveTx(tx *db.Tx, a mail.Address) (Resolution, error) {
	d.open()
	return d.resolve(tx, a, nil)
}

func (d *Directory) resolve(tx *db.Tx, a mail.Address, keys *prvsKeys) (Resolution, error) {
	x := &expansion{
		d: d, tx: tx, keys: keys,
		seen:     map[string]visit{},
		domains:  map[mail.Domain]*Domain{},
		boxes:    map[int64]bool{},
		forwards: map[string]bool{},
	}
	if a.Domain == "" {
		name, err := d.defaultDomain(tx)
		if err != nil {
			return Resolution{}, err
		}
		a.Domain = name
	}
	s, err := x.step(step{Address: a})
	if err != nil {
		return Resolution{}, err
	}
	res := Resolution{Status: s, Targets: x.targets, owners: x.owners}
	if dom := x.domains[a.Domain]; s == Unknown && dom != nil {
		res.Former, err = d.former(tx, a, dom.Settings.PlusSeparator)
	}
	return res, err
}

// Owns tells whether a is the account's address, or leads to it by aliases:
// then the account may also write as a. A forward that another account set up
// gives nothing.
func (d *Directory) Owns(ctx context.Context, account int64, a mail.Address) (bool, error) {
	r, err := d.Resolve(ctx, a)
	return err == nil && account != 0 && slices.Contains(r.owners, account), err
}
