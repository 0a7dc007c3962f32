package mailbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Folder is one mailbox of an account and its state.
type Folder struct {
	ID          int64 // never used again: MAILBOXID (RFC 8474)
	Account     int64
	Name        string // as NormalName gives it
	Role        string // special use without backslash (RFC 6154); empty for most
	UIDValidity uint32
	UIDNext     uint32
	ModSeq      int64 // HIGHESTMODSEQ
	Forgotten   int64 // expunges up to this mod-sequence are not remembered
	Messages    int64
	Unseen      int64
	Size        int64 // octets
	Created     time.Time
}

// maxFolders bounds the folders of an account.
const maxFolders = 10_000

// roles are the special uses a folder may have (RFC 6154), and the folders
// that every account begins with.
var roles = []string{"Archive", "Drafts", junk, "Sent", trash}

const (
	junk  = "Junk"
	trash = "Trash"
)

const folderColumns = `id, account, name, role, uidvalidity, uidnext, modseq, forgotten, messages, unseen, size, created`

func scanFolder(scan func(...any) error) (Folder, error) {
	var f Folder
	var created int64
	err := scan(&f.ID, &f.Account, &f.Name, &f.Role, &f.UIDValidity, &f.UIDNext, &f.ModSeq, &f.Forgotten,
		&f.Messages, &f.Unseen, &f.Size, &created)
	f.Created = time.UnixMilli(created)
	return f, err
}

// Folders gives all folders of an account in the order of their names, and
// makes the first ones when there are none.
func (s *Store) Folders(ctx context.Context, account int64) ([]Folder, error) {
	out, err := s.readFolders(ctx, account)
	if err != nil || len(out) > 0 {
		return out, err
	}
	if err := s.DB.Write(ctx, func(tx *db.Tx) error { return s.ensure(tx, account) }); err != nil {
		return nil, fmt.Errorf("folders of account %d: %w", account, err)
	}
	return s.readFolders(ctx, account)
}

func (s *Store) readFolders(ctx context.Context, account int64) (out []Folder, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		out = nil
		return tx.Each(`SELECT `+folderColumns+` FROM mailbox WHERE account = ? ORDER BY name`, []any{account},
			func(scan func(...any) error) error {
				f, err := scanFolder(scan)
				out = append(out, f)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("folders of account %d: %w", account, err)
	}
	// The databases do not agree on the order of text.
	slices.SortFunc(out, func(a, b Folder) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Folder gives the folder of this name, or ErrNoFolder.
func (s *Store) Folder(ctx context.Context, account int64, name string) (Folder, error) {
	name, err := NormalName(name)
	if err != nil {
		return Folder{}, err
	}
	var f Folder
	get := func(tx *db.Tx) error {
		f, err = scanFolder(tx.Row(`SELECT `+folderColumns+` FROM mailbox WHERE account = ? AND name = ?`, account, name).Scan)
		return err
	}
	err = s.DB.Read(ctx, get)
	if errors.Is(err, sql.ErrNoRows) && isFirst(name) {
		err = s.DB.Write(ctx, func(tx *db.Tx) error {
			if err := s.ensure(tx, account); err != nil {
				return err
			}
			return get(tx)
		})
	}
	return f, folderError(err, name)
}

// Status gives the state of folder id as it is now.
func (s *Store) Status(ctx context.Context, id int64) (f Folder, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		f, err = scanFolder(tx.Row(`SELECT `+folderColumns+` FROM mailbox WHERE id = ?`, id).Scan)
		return err
	})
	return f, folderError(err, fmt.Sprint(id))
}

// DeletedCount gives the number of messages with \Deleted and their octets
// (STATUS DELETED, RFC 9051; DELETED-STORAGE, RFC 9208).
func (s *Store) DeletedCount(ctx context.Context, id int64) (messages, size int64, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(tx.Pick(`SELECT count(*), COALESCE(sum((SELECT size FROM message m WHERE m.mailbox = f.mailbox AND m.uid = f.uid)), 0)
			FROM message f INDEXED BY message_modseq WHERE f.mailbox = ? AND f.flags & ? <> 0`,
			`SELECT count(*), CAST(COALESCE(sum(size), 0) AS BIGINT) FROM message WHERE mailbox = ? AND flags & ? <> 0`),
			id, int64(Deleted)).Scan(&messages, &size)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count deleted messages of folder %d: %w", id, err)
	}
	return messages, size, nil
}

func folderError(err error, name string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: %s", ErrNoFolder, name)
	}
	if err != nil {
		return fmt.Errorf("folder %s: %w", name, err)
	}
	return nil
}

// Create makes a folder, with the special use role when that is not empty.
// ErrExists when the name or, in another folder, the role is taken.
func (s *Store) Create(ctx context.Context, account int64, name, role string) (f Folder, err error) {
	name, err = NormalName(name)
	if err != nil {
		return f, err
	}
	if role != "" && !slices.Contains(roles, role) {
		return f, fmt.Errorf("%w: special use %q", ErrName, role)
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if err := s.ensure(tx, account); err != nil {
			return err
		}
		var same, all int64
		err := tx.Row(`SELECT count(*), CAST(COALESCE(sum(CASE WHEN name = ? OR (role <> '' AND role = ?) THEN 1 ELSE 0 END), 0) AS BIGINT)
			FROM mailbox WHERE account = ?`, name, role, account).Scan(&all, &same)
		if err != nil {
			return err
		}
		if same > 0 {
			return ErrExists
		}
		if all >= maxFolders {
			return ErrTooMany
		}
		f, err = s.create(tx, account, name, role)
		return err
	})
	if err != nil {
		return Folder{}, fmt.Errorf("create folder %s: %w", name, err)
	}
	return f, nil
}

// ensure makes the first folders of an account that has none.
func (s *Store) ensure(tx *db.Tx, account int64) error {
	err := lockAccount(tx, account)
	if err != nil {
		return err
	}
	var n int64
	if err := tx.Row(`SELECT count(*) FROM mailbox WHERE account = ? AND name = ?`, account, inbox).Scan(&n); err != nil || n > 0 {
		return err
	}
	if _, err := s.create(tx, account, inbox, ""); err != nil {
		return err
	}
	if err := subscribe(tx, account, inbox); err != nil {
		return err
	}
	for _, r := range roles {
		if _, err := s.create(tx, account, r, r); err != nil {
			return err
		}
		if err := subscribe(tx, account, r); err != nil {
			return err
		}
	}
	return nil
}

func isFirst(name string) bool { return name == inbox || slices.Contains(roles, name) }

func (s *Store) create(tx *db.Tx, account int64, name, role string) (Folder, error) {
	now := time.Now()
	v, err := newValidity(tx, account, now)
	if err != nil {
		return Folder{}, err
	}
	f := Folder{Account: account, Name: name, Role: role, UIDValidity: v, UIDNext: 1, ModSeq: 1, Created: time.UnixMilli(now.UnixMilli())}
	f.ID, err = tx.Insert(`INSERT INTO mailbox (account, name, role, uidvalidity, created) VALUES (?, ?, ?, ?, ?) RETURNING id`,
		account, name, role, int64(v), now.UnixMilli())
	if err != nil {
		return Folder{}, fmt.Errorf("create %s: %w", name, err)
	}
	if err := inherit(tx, f); err != nil {
		return Folder{}, fmt.Errorf("create %s: %w", name, err)
	}
	s.changed(tx, Change{Account: account, Folder: f.ID, ModSeq: f.ModSeq})
	return f, nil
}

// newValidity gives a UIDVALIDITY larger than all the account had.
func newValidity(tx *db.Tx, account int64, now time.Time) (uint32, error) {
	var v int64
	err := tx.Row(`UPDATE account SET uidvalid = CASE WHEN uidvalid >= ? THEN uidvalid + 1 ELSE ? END WHERE id = ? RETURNING uidvalid`,
		now.Unix(), now.Unix(), account).Scan(&v)
	if err != nil {
		return 0, fmt.Errorf("new UIDVALIDITY: %w", err)
	}
	return uint32(v), nil
}

// lockAccount takes the account's row, the first of every change that counts.
func lockAccount(tx *db.Tx, account int64) error {
	var id int64
	err := tx.Row(tx.Pick(`SELECT id FROM account WHERE id = ?`, `SELECT id FROM account WHERE id = ? FOR UPDATE`), account).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNoAccount
	}
	return err
}

// lockFolder takes the row of a folder and gives its state.
func lockFolder(tx *db.Tx, id int64) (Folder, error) {
	f, err := scanFolder(tx.Row(tx.Pick(`SELECT `+folderColumns+` FROM mailbox WHERE id = ?`,
		`SELECT `+folderColumns+` FROM mailbox WHERE id = ? FOR UPDATE`), id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return f, ErrNoFolder
	}
	return f, err
}

// lockBoth takes the account of folder id, then the folder.
func lockBoth(tx *db.Tx, id int64) (Folder, error) {
	var account int64
	err := tx.Row(`SELECT account FROM mailbox WHERE id = ?`, id).Scan(&account)
	if errors.Is(err, sql.ErrNoRows) {
		return Folder{}, ErrNoFolder
	}
	if err != nil {
		return Folder{}, err
	}
	if err := lockAccount(tx, account); err != nil {
		return Folder{}, err
	}
	return lockFolder(tx, id)
}

// lockPair takes the accounts of two folders in the order of their ids, then
// the folders in that of theirs.
func lockPair(tx *db.Tx, one, two int64) (a, b Folder, err error) {
	var accounts []int64
	err = tx.Each(`SELECT DISTINCT account FROM mailbox WHERE id IN (?, ?) ORDER BY account`, []any{one, two}, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		accounts = append(accounts, id)
		return err
	})
	for _, id := range accounts {
		if err == nil {
			err = lockAccount(tx, id)
		}
	}
	if err == nil {
		a, err = lockFolder(tx, min(one, two))
	}
	if err == nil {
		b, err = lockFolder(tx, max(one, two))
	}
	if one > two {
		a, b = b, a
	}
	return a, b, err
}

// Subscribe puts a name on the account's list of subscriptions, whether or not
// there is such a folder, or takes it off (RFC 9051 sections 6.3.7, 6.3.8).
func (s *Store) Subscribe(ctx context.Context, account int64, name string, on bool) error {
	name, err := NormalName(name)
	if err != nil {
		return err
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if err := s.ensure(tx, account); err != nil {
			return err
		}
		s.changed(tx, Change{Account: account})
		if on {
			return subscribe(tx, account, name)
		}
		_, err := tx.Exec(`DELETE FROM subscription WHERE account = ? AND name = ?`, account, name)
		return err
	})
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", name, err)
	}
	return nil
}

func subscribe(tx *db.Tx, account int64, name string) error {
	var n int64
	if err := tx.Row(`SELECT count(*) FROM subscription WHERE account = ?`, account).Scan(&n); err != nil {
		return err
	}
	if n >= maxFolders {
		return ErrTooMany
	}
	_, err := tx.Exec(`INSERT INTO subscription (account, name) VALUES (?, ?) ON CONFLICT DO NOTHING`, account, name)
	return err
}

// Subscriptions gives the names the account subscribed to, in order.
func (s *Store) Subscriptions(ctx context.Context, account int64) (names []string, err error) {
	if _, err := s.Folder(ctx, account, inbox); err != nil {
		return nil, err
	}
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		names = nil
		return tx.Each(`SELECT name FROM subscription WHERE account = ?`, []any{account}, func(scan func(...any) error) error {
			var n string
			err := scan(&n)
			names = append(names, n)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("subscriptions of account %d: %w", account, err)
	}
	slices.Sort(names)
	return names, nil
}
