// Package directory knows who an address is.
package directory

import (
	"context"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Directory answers from the database, with a cache that other processes'
// changes clear through the bus.
type Directory struct {
	DB  *db.DB
	Bus *bus.Bus
}

// Status says what an address is to this installation.
type Status int

// The statuses of an address.
const (
	NotOurs  Status = iota // its domain is not ours
	Unknown                // our domain, nobody's address
	Disabled               // an account that takes no mail now
	Known                  // at least one Target
)

// Resolution is what becomes of mail to one address.
type Resolution struct {
	Status  Status
	Targets []Target // after aliases and forwarding, without repetition
}

// Target is one place that mail goes to: a mailbox of ours or another address.
type Target struct {
	Account int64        // a local account's mailbox; 0 when Forward is set
	Owner   mail.Address // the account's own address
	Detail  string       // of plus-addressing: the part behind +
	Quota   int64        // octets; 0: none
	Used    int64        // octets, as of the last look
	Forward mail.Address // where mail goes on to, outside
	Keeper  int64        // account whose mailbox keeps a forward that fails; 0: none
	Relay   bool         // the recipient itself, behind a route of ours: no SRS
}

// Resolve tells what becomes of mail to a. Addresses of postmaster without a
// domain belong to the default domain.
func (d *Directory) Resolve(ctx context.Context, a mail.Address) (Resolution, error) {
	return Resolution{}, nil
}
