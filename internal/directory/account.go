package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Megabyte is the unit of quotas, in octets.
const Megabyte = 1 << 20

// NoQuota is the quota of an account that may grow beyond its domain's default.
const NoQuota = -1

const maxName = 200 // octets of an account's name

// State says whether an account is in use.
type State string

// The states of an account.
const (
	Active  State = "active"
	Blocked State = "disabled" // takes no mail and no login, keeps what it has
)

// Account is a person or a function with a mailbox and a login.
type Account struct {
	ID       int64
	Domain   int64
	Address  mail.Address
	Name     string // for people, UTF-8
	State    State
	Admin    bool
	Quota    int64 // octets, whole megabytes; 0: the domain's default; NoQuota: none
	Used     int64 // octets; kept by the mailbox
	Messages int64 // kept by the mailbox
	Forward  []mail.Address
	KeepCopy bool // forwarded mail stays here, too
	ReadsLog bool // may search the events of everybody's mail
	Hold     Hold // of its sending
	Created  time.Time
	Changed  time.Time

	credential Credential
}

// HasPassword tells whether the account can log in while it is active.
func (a Account) HasPassword() bool { return a.credential.Hash != "" }

// quota gives the octets that hold for the account; 0: none.
func (a Account) quota(dom *Domain) int64 {
	if a.Quota == 0 {
		return dom.Settings.DefaultQuota
	}
	return max(a.Quota, 0)
}

// check tells what is wrong with a.
func (a Account) check() error {
	switch {
	case a.Address.Domain == "":
		return fmt.Errorf("%w: address without a domain", ErrInvalid)
	case len(a.Address.Local) > mail.MaxLocal:
		return fmt.Errorf("%w: local part longer than %d octets", ErrInvalid, mail.MaxLocal)
	case isSRS(a.Address.Local):
		return fmt.Errorf("%w: local parts that begin with SRS0 or SRS1 are taken for forwarding", ErrInvalid)
	case a.State != Active && a.State != Blocked:
		return fmt.Errorf("%w state %q: neither active nor disabled", ErrInvalid, a.State)
	case a.Quota < NoQuota || a.Quota > 0 && a.Quota%Megabyte != 0:
		return fmt.Errorf("%w quota: not a whole number of megabytes", ErrInvalid)
	case len(a.Name) > maxName || !utf8.ValidString(a.Name) || strings.ContainsFunc(a.Name, unicode.IsControl):
		return fmt.Errorf("%w name: UTF-8 without control characters, at most %d octets", ErrInvalid, maxName)
	case len(a.Forward) > maxVisits/10:
		return fmt.Errorf("%w forward_to: more than %d addresses", ErrInvalid, maxVisits/10)
	}
	return nil
}

const (
	accountColumns = `id, domain, address, name, state, admin, password, scram, quota, used, messages,
		forward_to, keep_copy, held_since, held_until, held_reason, vouched, reads_log, created, changed`
	accountByKey = `SELECT ` + accountColumns + ` FROM account WHERE addresskey = ?`
	accountByID  = `SELECT ` + accountColumns + ` FROM account WHERE id = ?`
)

func scanAccount(scan func(...any) error) (Account, error) {
	var a Account
	var address, state, forward string
	var admin, keep, readsLog int
	var created, changed int64
	var hold [3]int64
	err := scan(&a.ID, &a.Domain, &address, &a.Name, &state, &admin, &a.credential.Hash, &a.credential.SCRAM,
		&a.Quota, &a.Used, &a.Messages, &forward, &keep,
		&hold[0], &hold[1], &a.Hold.Reason, &hold[2], &readsLog, &created, &changed)
	if err != nil {
		return Account{}, err
	}
	if a.Address, err = mail.ParseAddress(address); err != nil {
		return Account{}, fmt.Errorf("account %d: %w", a.ID, err)
	}
	if a.Forward, err = ParseList(forward); err != nil {
		return Account{}, fmt.Errorf("forwards of account %d: %w", a.ID, err)
	}
	a.State, a.Admin, a.KeepCopy, a.ReadsLog = State(state), admin != 0, keep != 0, readsLog != 0
	a.Created, a.Changed = time.UnixMilli(created), time.UnixMilli(changed)
	a.Hold.Since, a.Hold.Until, a.Hold.Vouched = moment(hold[0]), moment(hold[1]), moment(hold[2])
	return a, nil
}

// CreateAccount adds an account; of a only what may be set counts. An empty
// State is Active.
func (d *Directory) CreateAccount(tx *db.Tx, a Account, c Credential) (Account, error) {
	if a.State == "" {
		a.State = Active
	}
	if err := a.check(); err != nil {
		return Account{}, fmt.Errorf("account %s: %w", a.Address, err)
	}
	dom, err := d.DomainTx(tx, a.Address.Domain)
	if err != nil {
		return Account{}, fmt.Errorf("account %s: %w", a.Address, err)
	}
	if err := d.free(tx, a.Address); err != nil {
		return Account{}, err
	}
	if limit := dom.Settings.MaxAccounts; limit > 0 {
		var n int64
		if err := tx.Row(`SELECT count(*) FROM account WHERE domain = ?`, dom.ID).Scan(&n); err != nil {
			return Account{}, err
		}
		if n >= limit {
			return Account{}, fmt.Errorf("account %s: domain %s may have no more than %d accounts: %w",
				a.Address, dom.Name, limit, ErrInvalid)
		}
	}
	a.Domain, a.Created, a.credential = dom.ID, now(), c
	a.Changed, a.Used, a.Messages = a.Created, 0, 0
	a.ID, err = tx.Insert(`INSERT INTO account (domain, addresskey, address, name, state, admin, password, scram,
		quota, forward_to, keep_copy, reads_log, created, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		a.Domain, a.Address.Key(), a.Address.Wire, a.Name, string(a.State), truth(a.Admin), c.Hash, c.SCRAM,
		a.Quota, FormatList(a.Forward), truth(a.KeepCopy), truth(a.ReadsLog), a.Created.UnixMilli(), a.Changed.UnixMilli())
	if err != nil {
		return Account{}, fmt.Errorf("create account %s: %w", a.Address, err)
	}
	d.Changed(tx)
	return a, nil
}

// free tells with ErrExists that an address is an account's or alias's.
func (d *Directory) free(tx *db.Tx, a mail.Address) error {
	var n int64
	key := a.Key()
	err := tx.Row(`SELECT (SELECT count(*) FROM account WHERE addresskey = ?)
		+ 2 * (SELECT count(*) FROM alias WHERE addresskey = ?)`, key, key).Scan(&n)
	switch {
	case err != nil:
		return fmt.Errorf("look up %s: %w", a, err)
	case n == 1:
		return fmt.Errorf("account %s: %w", a, ErrExists)
	case n > 1:
		return fmt.Errorf("alias %s: %w", a, ErrExists)
	}
	return nil
}

// AccountTx gives the account of an address, exactly: no alias, no detail.
func (d *Directory) AccountTx(tx *db.Tx, a mail.Address) (Account, error) {
	return found(tx, accountByKey, a.Key(), a.String())
}

// AccountByIDTx gives the account with that number.
func (d *Directory) AccountByIDTx(tx *db.Tx, id int64) (Account, error) {
	return found(tx, accountByID, id, fmt.Sprint(id))
}

func found(tx *db.Tx, query string, arg any, what string) (Account, error) {
	acct, err := scanAccount(tx.Row(query, arg).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, fmt.Errorf("account %s: %w", what, ErrNotFound)
	}
	if err != nil {
		return Account{}, fmt.Errorf("look up account %s: %w", what, err)
	}
	return acct, nil
}

// Account gives the account of an address, exactly: no alias, no detail.
func (d *Directory) Account(ctx context.Context, a mail.Address) (acct Account, err error) {
	err = d.DB.Read(ctx, func(tx *db.Tx) error { acct, err = d.AccountTx(tx, a); return err })
	return acct, err
}

// AccountByID gives the account with that number.
func (d *Directory) AccountByID(ctx context.Context, id int64) (acct Account, err error) {
	err = d.DB.Read(ctx, func(tx *db.Tx) error { acct, err = d.AccountByIDTx(tx, id); return err })
	return acct, err
}

// Accounts gives one page: at most limit accounts of the domain (empty: of
// all) in the order of their keys, those after the given key.
func (d *Directory) Accounts(ctx context.Context, domain mail.Domain, after string, limit int) ([]Account, error) {
	var page []Account
	err := d.DB.Read(ctx, func(tx *db.Tx) error {
		page = nil
		return d.each(tx, domain, after, limit, func(a Account) error {
			page = append(page, a)
			return nil
		})
	})
	return page, err
}

// EachAccount calls fn for every account of the domain (empty: of all) in the
// order of their keys, all as of one moment.
func (d *Directory) EachAccount(ctx context.Context, domain mail.Domain, fn func(Account) error) error {
	return d.DB.Read(ctx, func(tx *db.Tx) error { return d.each(tx, domain, "", -1, fn) })
}

func (d *Directory) each(tx *db.Tx, domain mail.Domain, after string, limit int, fn func(Account) error) error {
	row := func(scan func(...any) error) error {
		a, err := scanAccount(scan)
		if err != nil {
			return err
		}
		return fn(a)
	}
	most := int64(limit)
	if limit < 0 {
		most = 1 << 60
	}
	if domain == "" {
		return tx.Each(`SELECT `+accountColumns+` FROM account WHERE addresskey > ? ORDER BY addresskey LIMIT ?`,
			[]any{after, most}, row)
	}
	return tx.Each(`SELECT `+accountColumns+` FROM account WHERE domain = (SELECT id FROM domain WHERE name = ?)
		AND addresskey > ? ORDER BY addresskey LIMIT ?`, []any{string(domain), after, most}, row)
}

// SetAccount writes what may be set of an account, not its credentials.
func (d *Directory) SetAccount(tx *db.Tx, a Account) error {
	if err := a.check(); err != nil {
		return fmt.Errorf("account %s: %w", a.Address, err)
	}
	n, err := tx.Exec(`UPDATE account SET name = ?, state = ?, admin = ?, quota = ?, forward_to = ?, keep_copy = ?,
		reads_log = ?, changed = ? WHERE id = ?`, a.Name, string(a.State), truth(a.Admin), a.Quota, FormatList(a.Forward),
		truth(a.KeepCopy), truth(a.ReadsLog), now().UnixMilli(), a.ID)
	return d.written(tx, a, n, err)
}

// SetCredential gives an account its credentials. That ends a hold of its
// sending: whoever had the old password is out.
func (d *Directory) SetCredential(tx *db.Tx, a Account, c Credential) error {
	n, err := tx.Exec(`UPDATE account SET password = ?, scram = ?, changed = ?, held_since = 0, held_until = 0, held_reason = ''
		WHERE id = ?`,
		c.Hash, c.SCRAM, now().UnixMilli(), a.ID)
	return d.written(tx, a, n, err)
}

// DeleteAccount deletes an account that has no mailboxes any more; the caller
// deletes them first, in the same transaction. Queued mail that the account
// submitted goes on its way.
func (d *Directory) DeleteAccount(tx *db.Tx, a Account) error {
	var boxes int64
	if err := tx.Row(`SELECT count(*) FROM mailbox WHERE account = ?`, a.ID).Scan(&boxes); err != nil {
		return err
	}
	if boxes > 0 {
		return fmt.Errorf("account %s: %w: it has %d mailboxes", a.Address, ErrInUse, boxes)
	}
	if err := d.bury(tx, a.Address); err != nil {
		return err
	}
	n, err := tx.Exec(`DELETE FROM account WHERE id = ?`, a.ID)
	return d.written(tx, a, n, err)
}

func (d *Directory) written(tx *db.Tx, a Account, n int64, err error) error {
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("account %s: %w", a.Address, err)
	}
	d.Changed(tx)
	return nil
}

// Admins counts the administrators that can log in.
func (d *Directory) Admins(tx *db.Tx) (n int64, err error) {
	err = tx.Row(`SELECT count(*) FROM account WHERE admin = 1 AND state = 'active'`).Scan(&n)
	return n, err
}

// ParseList parses addresses separated by white space; a quoted local part may
// hold some itself.
func ParseList(s string) ([]mail.Address, error) {
	var out []mail.Address
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if s == "" {
			return out, nil
		}
		n, quoted := 0, false
		for ; n < len(s) && (quoted || !strings.ContainsRune(" \t\r\n", rune(s[n]))); n++ {
			switch {
			case s[n] == '"':
				quoted = !quoted
			case s[n] == '\\' && quoted && n+1 < len(s):
				n++
			}
		}
		a, err := mail.ParseAddress(s[:n])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s[:n], err)
		}
		if a.Domain == "" {
			return nil, fmt.Errorf("%q: %w: no domain", s[:n], ErrInvalid)
		}
		out = append(out, a)
		s = s[n:]
	}
}

// FormatList writes addresses as ParseList reads them.
func FormatList(list []mail.Address) string {
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = a.Wire
	}
	return strings.Join(words, " ")
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
