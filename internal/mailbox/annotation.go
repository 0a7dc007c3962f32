package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/store/db"
)

// Bounds of annotations.
const (
	MaxAnnotation  = 64 << 10 // octets of a value
	MaxEntry       = 1000     // octets of a name
	maxAnnotations = 1000     // of an account
	maxAnnotated   = 4 << 20  // octets of an account's names and values
)

// What SetAnnotations may answer.
var (
	ErrEntry          = errors.New("invalid annotation name")
	ErrAnnotationSize = errors.New("annotation too large")
	ErrAnnotations    = errors.New("too many annotations")
)

// Annotation is one entry of metadata (RFC 5464).
type Annotation struct {
	Entry string // in lower case, /private/… or /shared/…
	Value []byte // nil: none
}

// Annotations gives what an account sees of the annotations of folder id, or of
// the server when id is 0: its own private ones, and those that are shared
// with the folder. They are sorted by entry.
func (s *Store) Annotations(ctx context.Context, account, id int64) (all []Annotation, err error) {
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		all = nil
		return tx.Each(`SELECT entry, value FROM annotation WHERE mailbox = ? AND (account = ? OR substr(entry, 1, 8) = '/shared/')`,
			[]any{id, account}, func(scan func(...any) error) error {
				var a Annotation
				err := scan(&a.Entry, &a.Value)
				if a.Value == nil {
					a.Value = []byte{}
				}
				all = append(all, a)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("annotations of folder %d: %w", id, err)
	}
	slices.SortFunc(all, func(a, b Annotation) int { return strings.Compare(a.Entry, b.Entry) })
	return all, nil
}

// SetAnnotations changes annotations of folder id, or of the server as the
// account sees it when id is 0: all of them, or none and an error. A nil value
// removes the entry. Private ones belong to the account, shared ones to the
// folder's owner; the server has no shared ones: ErrEntry.
func (s *Store) SetAnnotations(ctx context.Context, account, id int64, set []Annotation) error {
	own, shared := 0, 0
	for _, a := range set {
		if err := a.check(); err != nil {
			return err
		}
		if a.shared() {
			shared++
		} else {
			own++
		}
	}
	if id == 0 && shared > 0 {
		return fmt.Errorf("%w: the server has no shared ones", ErrEntry)
	}
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		f, err := lockAnnotated(tx, account, id)
		if err != nil {
			return err
		}
		for _, a := range set {
			if err := a.put(tx, account, f); err != nil {
				return err
			}
		}
		if own > 0 {
			err = annotatedWithin(tx, account)
		}
		if err == nil && shared > 0 {
			err = annotatedWithin(tx, f.Account)
		}
		if err == nil && id == 0 {
			s.changed(tx, Change{Account: account})
		} else if err == nil {
			s.changed(tx, Change{Account: f.Account, Folder: id, ModSeq: f.ModSeq})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("annotate folder %d: %w", id, err)
	}
	return nil
}

func (a Annotation) shared() bool { return strings.HasPrefix(a.Entry, "/shared/") }

// check tells whether the store takes an annotation (RFC 5464 section 3.2).
func (a Annotation) check() error {
	switch {
	case len(a.Entry) > MaxEntry, !a.shared() && !strings.HasPrefix(a.Entry, "/private/"), strings.HasSuffix(a.Entry, "/"), strings.Contains(a.Entry, "//"):
		return fmt.Errorf("%w: %.100q", ErrEntry, a.Entry)
	case len(a.Value) > MaxAnnotation:
		return fmt.Errorf("%w: %d octets", ErrAnnotationSize, len(a.Value))
	}
	for i := range len(a.Entry) {
		if c := a.Entry[i]; c <= ' ' || c >= 0x7f || c == '*' || c == '%' || c >= 'A' && c <= 'Z' {
			return fmt.Errorf("%w: %.100q", ErrEntry, a.Entry)
		}
	}
	return nil
}

// lockAnnotated takes the account and that of folder id in the order of their
// ids, then the folder, if there is one.
func lockAnnotated(tx *db.Tx, account, id int64) (f Folder, err error) {
	if id == 0 {
		return f, lockAccount(tx, account)
	}
	if err := tx.Row(`SELECT account FROM mailbox WHERE id = ?`, id).Scan(&f.Account); err != nil {
		return f, folderError(err, fmt.Sprint(id))
	}
	if err := lockAccount(tx, min(account, f.Account)); err != nil {
		return f, err
	}
	if account != f.Account {
		if err := lockAccount(tx, max(account, f.Account)); err != nil {
			return f, err
		}
	}
	return lockFolder(tx, id)
}

// put writes or removes one annotation.
func (a Annotation) put(tx *db.Tx, account int64, f Folder) error {
	if a.shared() {
		account = f.Account
	}
	if a.Value == nil {
		_, err := tx.Exec(`DELETE FROM annotation WHERE account = ? AND mailbox = ? AND entry = ?`, account, f.ID, a.Entry)
		return err
	}
	_, err := tx.Exec(`INSERT INTO annotation (account, mailbox, entry, value) VALUES (?, ?, ?, ?)
		ON CONFLICT (account, mailbox, entry) DO UPDATE SET value = excluded.value`, account, f.ID, a.Entry, a.Value)
	return err
}

// annotatedWithin tells whether an account keeps to its bounds.
func annotatedWithin(tx *db.Tx, account int64) error {
	var n, octets int64
	err := tx.Row(`SELECT count(*), CAST(COALESCE(sum(length(entry) + length(value)), 0) AS BIGINT) FROM annotation WHERE account = ?`,
		account).Scan(&n, &octets)
	if err == nil && (n > maxAnnotations || octets > maxAnnotated) {
		err = fmt.Errorf("%w: %d with %d octets", ErrAnnotations, n, octets)
	}
	return err
}
