// Package node builds the rooms of one node from its configuration, starts the
// roles it has, reloads and drains them. It is the only place where the rooms
// meet; commands and tests stand on the same Rooms as the serving process.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// JournalName is the directory of the journal in that of the data.
const JournalName = "journal"

// Rooms is the memory of a node, open. The serving process and the commands
// beside it each have their own on the same directory.
type Rooms struct {
	Config    *config.Config
	DB        *db.DB
	Blobs     *blob.Disk
	Bodies    *body.Store
	Bus       *bus.Bus
	Events    *event.Recorder
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Fulltext  *fulltext.Index
	Queue     *queue.Queue
	Edge      *edge.Desk // what the serving process knows of strangers
	Admin     *admin.Admin
}

// OpenRooms opens the data directory of cfg and makes it when it is new.
func OpenRooms(ctx context.Context, cfg *config.Config) (*Rooms, error) {
	return openRooms(ctx, cfg, event.Options{Node: cfg.Hostname})
}

func openRooms(ctx context.Context, cfg *config.Config, journal event.Options) (_ *Rooms, err error) {
	r := &Rooms{Config: cfg}
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	dir := func(name string) string { return filepath.Join(cfg.DataDir, name) }
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	dsn := cfg.Store.DSN
	if dsn == "" {
		dsn = "sqlite:" + dir("migiwa.db")
	}
	if r.DB, err = db.Open(ctx, dsn); err != nil {
		return nil, err
	}
	if r.Blobs, err = blob.OpenDisk(dir("bodies")); err != nil {
		return nil, err
	}
	r.Blobs.Reserve = int64(cfg.Store.Reserve)
	// What is needed to rewrite a segment, half of one, then fits the reserve.
	r.Blobs.SegmentSize = min(r.Blobs.SegmentSize, r.Blobs.Reserve)
	if r.Bus, err = bus.Open(dir("bus")); err != nil {
		return nil, err
	}
	journal.Dir = dir(JournalName)
	// The rest is for what makes room: deleting mail and rewriting segments.
	// Asked at this moment: within a second a flood of refused mail writes a
	// megabyte of events.
	journal.Full = func() bool { return r.Blobs.RoomNow() < r.Blobs.Reserve/4*3 }
	if r.Events, err = openJournal(journal); err != nil {
		return nil, err
	}
	r.Bodies = &body.Store{DB: r.DB, Blobs: r.Blobs}
	r.Directory = &directory.Directory{DB: r.DB, Bus: r.Bus, DefaultDomain: mail.Domain(cfg.Domain)}
	r.Directory.SetRoutes(relayDomains(cfg))
	r.Mailboxes = &mailbox.Store{DB: r.DB, Bodies: r.Bodies, Bus: r.Bus}
	r.Fulltext = &fulltext.Index{DB: r.DB, Mailboxes: r.Mailboxes}
	r.Queue = &queue.Queue{DB: r.DB, Bodies: r.Bodies, Bus: r.Bus}
	r.Edge = &edge.Desk{Path: edgeSnapshot(cfg), Bus: r.Bus, Rules: EdgeRules(cfg), Scale: float64(cfg.Edge.TimeScale)}
	log, err := newArchive(cfg)
	if err != nil {
		return nil, err
	}
	r.Admin = &admin.Admin{
		DB: r.DB, Directory: r.Directory, Queue: r.Queue, Edge: r.Edge, Events: r.Events, Log: log, LogReason: cfg.Log.RequireReason, Reporter: cfg.Report.Address,
		DeleteMail: r.Mailboxes.DeleteAll, Reindex: r.Fulltext.Rebuild,
	}
	return r, nil
}

// Close closes what is open.
func (r *Rooms) Close() error {
	var errs []error
	if r.Directory != nil {
		r.Directory.Close()
	}
	if r.Events != nil {
		errs = append(errs, r.Events.Close())
	}
	if r.Bus != nil {
		errs = append(errs, r.Bus.Close())
	}
	if r.DB != nil {
		errs = append(errs, r.DB.Close())
	}
	if r.Blobs != nil {
		errs = append(errs, r.Blobs.Close())
	}
	return errors.Join(errs...)
}
