package mailbox

import (
	"context"
	"fmt"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Origin is where a message came from.
type Origin struct {
	UID   uint32
	Trace mail.TraceID // of the session that brought it; empty: unknown
	Size  int64        // octets
}

// MaxOrigins is of how many messages of one command events tell apart; of more
// they tell the number.
const MaxOrigins = 100

// Origins gives where the first messages of folder id with UIDs in set come
// from, limit of them at most; when marked, of those with \Deleted.
func (s *Store) Origins(ctx context.Context, id int64, set []Range, marked bool, limit int) (origins []Origin, err error) {
	var flags Flags
	if marked {
		flags = Deleted
	}
	err = s.DB.Read(ctx, func(tx *db.Tx) error {
		for p := range spans(set) {
			where, args := chosen(tx, id, p, flags)
			err := tx.Each(`SELECT uid, trace, size FROM message WHERE `+where+` ORDER BY uid LIMIT ?`, append(args, limit-len(origins)),
				func(scan func(...any) error) error {
					var o Origin
					var trace string
					err := scan(&o.UID, &trace, &o.Size)
					o.Trace = mail.TraceID(trace)
					origins = append(origins, o)
					return err
				})
			if err != nil || len(origins) >= limit {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("origins in folder %d: %w", id, err)
	}
	return origins, nil
}
