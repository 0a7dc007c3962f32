// Package mailbox keeps messages for their readers.
package mailbox

import (
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Store is all mailboxes of the installation.
type Store struct {
	DB     *db.DB
	Bodies *body.Store
	Bus    *bus.Bus
}

// NewMessage is what a mailbox takes in.
type NewMessage struct {
	Body     int64  // id in the body store
	BodySize int64  // octets
	Prefix   []byte // header fields in front of the body, each ending in CRLF
	Received time.Time
	Trace    mail.TraceID
	Flags    uint32
	Keywords []string
}

// Deliver puts a message into the folder of an account, the INBOX when folder
// is empty or does not exist, inside the caller's transaction. It adds the
// reference to the body. A full quota is a *mail.Reply 452 4.2.2.
func (s *Store) Deliver(tx *db.Tx, account int64, folder string, m NewMessage) (uid uint32, err error) {
	return 0, nil
}
