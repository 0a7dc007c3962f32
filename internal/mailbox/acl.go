package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Rights are what an account may do with a folder (RFC 4314 section 2.1).
type Rights uint16

// The rights, in the order in which they are written: lrswipkxtea.
const (
	Lookup       Rights = 1 << iota // l: the folder is listed
	ReadRight                       // r: SELECT, FETCH, SEARCH, COPY from it
	KeepSeen                        // s: \Seen
	WriteFlags                      // w: flags other than \Seen and \Deleted
	Insert                          // i: APPEND, COPY into it
	Post                            // p: mail to the folder's own address
	CreateBelow                     // k: folders below it
	DeleteFolder                    // x: DELETE, RENAME of it
	DeleteMark                      // t: \Deleted
	ExpungeRight                    // e: EXPUNGE
	Administer                      // a: SETACL

	AllRights = Administer<<1 - 1
)

const rightLetters = "lrswipkxtea"

// What RFC 2086 called c and d (RFC 4314 section 2.1.1).
const (
	obsoleteCreate = CreateBelow | DeleteFolder
	obsoleteDelete = DeleteMark | ExpungeRight
)

// String writes rights as RFC 4314 does, without the obsolete c and d.
func (r Rights) String() string {
	var b strings.Builder
	for i := range len(rightLetters) {
		if r&(1<<i) != 0 {
			b.WriteByte(rightLetters[i])
		}
	}
	return b.String()
}

// Obsolete is String with the c and d that a client of RFC 2086 looks for:
// each when one of the rights it stands for is there (RFC 4314 section 2.1.1).
func (r Rights) Obsolete() string {
	s := r.String()
	if r&obsoleteCreate != 0 {
		s += "c"
	}
	if r&obsoleteDelete != 0 {
		s += "d"
	}
	return s
}

// ParseRights reads rights. Of the obsolete letters c is k and x, d is t and e.
// It refuses with ErrRights what is no letter of a right, among that the
// digits, which this store has no use for.
func ParseRights(s string) (r Rights, err error) {
	for i := range len(s) {
		switch at := strings.IndexByte(rightLetters, s[i]); {
		case at >= 0:
			r |= 1 << at
		case s[i] == 'c':
			r |= obsoleteCreate
		case s[i] == 'd':
			r |= obsoleteDelete
		default:
			return 0, fmt.Errorf("%w: %q", ErrRights, s[i])
		}
	}
	return r, nil
}

// What changing grants may answer.
var (
	ErrRights = errors.New("no such right")
	ErrOwner  = errors.New("the owner has all rights")
	ErrGrants = errors.New("too many grants")
)

// Anyone as Grant.Account stands for every account of the owner's domain, not
// for those of other domains: one node may serve strangers to each other.
const Anyone int64 = 0

// maxGrants bounds the grants of a folder.
const maxGrants = 1000

// Grant is what an account, or Anyone, may do with a folder of another one.
type Grant struct {
	Account int64
	Rights  Rights
}

// Shared is a folder of another account.
type Shared struct {
	Folder
	Rights Rights // of who asked
}

// RightsOf gives what an account may do with a folder: its owner everything,
// others what is granted to them and to Anyone together. There are no negative
// rights (RFC 4314 section 2.1.2 leaves them to the server).
func (s *Store) RightsOf(ctx context.Context, f Folder, account int64) (r Rights, err error) {
	if f.Account == account {
		return AllRights, nil
	}
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		r = 0
		return tx.Each(`SELECT rights FROM mailbox_grant WHERE mailbox = ? AND (grantee = ? OR grantee = 0 AND
			(SELECT domain FROM account WHERE id = ?) = (SELECT domain FROM account WHERE id = ?))`,
			[]any{f.ID, account, account, f.Account}, func(scan func(...any) error) error {
				var one Rights
				err := scan(&one)
				r |= one
				return err
			})
	})
	if err != nil {
		return 0, fmt.Errorf("rights in folder %d: %w", f.ID, err)
	}
	return r, nil
}

// Grants gives the grants of folder id, Anyone's first, then by account.
func (s *Store) Grants(ctx context.Context, id int64) (grants []Grant, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		grants = nil
		return tx.Each(`SELECT grantee, rights FROM mailbox_grant WHERE mailbox = ? ORDER BY grantee`, []any{id},
			func(scan func(...any) error) error {
				var g Grant
				err := scan(&g.Account, &g.Rights)
				grants = append(grants, g)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("grants of folder %d: %w", id, err)
	}
	return grants, nil
}

// SetGrant gives an account, or Anyone, those rights in folder id that change
// makes of the ones granted before; none removes the grant. change may be called
// more than once. The owner's rights cannot be changed: ErrOwner.
func (s *Store) SetGrant(ctx context.Context, id, account int64, change func(now Rights) Rights) error {
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		f, err := lockGrant(tx, id, account)
		if err != nil {
			return err
		}
		var now Rights
		err = tx.Row(`SELECT COALESCE(max(rights), 0) FROM mailbox_grant WHERE mailbox = ? AND grantee = ?`, id, account).Scan(&now)
		if err != nil {
			return err
		}
		if r := change(now) & AllRights; r == 0 {
			_, err = tx.Exec(`DELETE FROM mailbox_grant WHERE mailbox = ? AND grantee = ?`, id, account)
		} else {
			_, err = tx.Exec(`INSERT INTO mailbox_grant (mailbox, grantee, rights) VALUES (?, ?, ?)
				ON CONFLICT (mailbox, grantee) DO UPDATE SET rights = excluded.rights`, id, account, int64(r))
		}
		if err == nil {
			s.changed(tx, Change{Account: f.Account, Folder: id, ModSeq: f.ModSeq})
			s.changed(tx, Change{Account: account})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("grant rights in folder %d: %w", id, err)
	}
	return nil
}

// lockGrant takes the account that is to be granted something, which may not
// go away meanwhile, then the folder.
func lockGrant(tx *db.Tx, id, account int64) (f Folder, err error) {
	if account != Anyone {
		err = lockAccount(tx, account)
	}
	if err == nil {
		f, err = lockFolder(tx, id)
	}
	if err != nil {
		return f, err
	}
	if account == f.Account {
		return f, ErrOwner
	}
	var others int64
	err = tx.Row(`SELECT count(*) FROM mailbox_grant WHERE mailbox = ? AND grantee <> ?`, id, account).Scan(&others)
	if err == nil && others >= maxGrants {
		err = ErrGrants
	}
	return f, err
}

// inherit gives a new folder the grants of the nearest folder above it. What
// the grantee of CreateBelow makes belongs to the owner, as all does below it.
func inherit(tx *db.Tx, f Folder) error {
	for name := f.Name; ; {
		at := strings.LastIndexByte(name, '/')
		if at < 0 {
			return nil
		}
		name = name[:at]
		var above []int64
		err := tx.Each(`SELECT id FROM mailbox WHERE account = ? AND name = ?`, []any{f.Account, name}, func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			above = append(above, id)
			return err
		})
		if err != nil {
			return err
		}
		if len(above) > 0 {
			_, err := tx.Exec(`INSERT INTO mailbox_grant (mailbox, grantee, rights)
				SELECT CAST(? AS BIGINT), grantee, rights FROM mailbox_grant WHERE mailbox = ?`, f.ID, above[0])
			return err
		}
	}
}

// SharedWith gives the folders of other accounts that an account may look up,
// by account, then name.
func (s *Store) SharedWith(ctx context.Context, account int64) (shared []Shared, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		shared = nil
		return tx.Each(`SELECT `+folderColumns+`, rights FROM mailbox JOIN mailbox_grant g ON g.mailbox = mailbox.id
			WHERE account <> ? AND (grantee = ? OR grantee = 0 AND account IN (SELECT o.id FROM account o WHERE o.domain =
			(SELECT me.domain FROM account me WHERE me.id = ?))) ORDER BY account, mailbox.id`,
			[]any{account, account, account}, func(scan func(...any) error) error {
				var one Shared
				var err error
				one.Folder, err = scanFolder(func(to ...any) error { return scan(append(to, &one.Rights)...) })
				if n := len(shared); n > 0 && shared[n-1].ID == one.ID {
					shared[n-1].Rights |= one.Rights
				} else {
					shared = append(shared, one)
				}
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("folders shared with account %d: %w", account, err)
	}
	shared = slices.DeleteFunc(shared, func(f Shared) bool { return f.Rights&Lookup == 0 })
	slices.SortFunc(shared, func(a, b Shared) int {
		if a.Account != b.Account {
			return int(a.Account - b.Account)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return shared, nil
}
