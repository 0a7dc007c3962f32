// Package rescan looks for viruses again in mail that nobody has read yet,
// before it is handed out, when the signatures are newer than the mail.
package rescan

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/virus"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Scanner looks for viruses and knows what it uses for it.
type Scanner interface {
	virus.Scanner
	// Signatures names those in use; it changes when they do.
	Signatures(ctx context.Context) (string, error)
}

// Vetter looks at messages before they are handed out. It is safe for
// concurrent use.
type Vetter struct {
	DB        *db.DB
	Directory *directory.Directory
	Mailboxes *mailbox.Store
	Scanner   Scanner
	Default   func(name string) filter.Mode // where nobody has said
	Events    *event.Recorder

	mu      sync.RWMutex
	version string
	since   time.Time // when version was seen first
}

// lookAgain is how often the scanner is asked for its signatures.
const lookAgain = time.Minute

// Keyword is set on messages with a virus whose owner wants labels only.
const Keyword = "$Virus"

// Run watches the signatures until ctx ends.
func (v *Vetter) Run(ctx context.Context) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if err := v.Look(ctx); err != nil && ctx.Err() == nil {
			v.fault(fmt.Errorf("asking for the virus signatures: %w", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Look asks once which signatures are in use.
func (v *Vetter) Look(ctx context.Context) error {
	version, err := v.Scanner.Signatures(ctx)
	if err != nil {
		return err
	}
	v.mu.RLock()
	same := version == v.version
	v.mu.RUnlock()
	if same {
		return nil
	}
	var since int64
	err = v.DB.Write(ctx, func(tx *db.Tx) error {
		if _, err := tx.Exec(`INSERT INTO signatures (version, since) VALUES (?, ?) ON CONFLICT (version) DO NOTHING`, version, time.Now().UnixMilli()); err != nil {
			return err
		}
		return tx.Row(`SELECT since FROM signatures WHERE version = ?`, version).Scan(&since)
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.version, v.since = version, time.UnixMilli(since)
	v.mu.Unlock()
	return nil
}

func (v *Vetter) fault(err error) {
	v.Events.Record(event.Event{Kind: event.Fault, Verb: "virus", Reason: err.Error()})
}

// letter is a message that is about to be handed out.
type letter struct {
	folder  int64
	uid     uint32
	body    int64
	saved   int64
	flags   mailbox.Flags
	account int64
	owner   string
	trace   string
}

// Vet tells, by mailbox.ErrNoMessage, that the message must not be handed out:
// it is in quarantine now. What cannot be looked at is handed out.
func (v *Vetter) Vet(ctx context.Context, folder int64, uid uint32) error {
	v.mu.RLock()
	version, since := v.version, v.since
	v.mu.RUnlock()
	if version == "" {
		return nil
	}
	l, err := v.find(ctx, folder, uid)
	if err != nil || l.flags&mailbox.Seen != 0 || !time.UnixMilli(l.saved).Before(since) {
		return err
	}
	mode, err := v.mode(ctx, l)
	if err != nil || mode == filter.Off {
		return err
	}
	found, err := v.look(ctx, l, version)
	if err != nil {
		v.fault(fmt.Errorf("looking at a message again: %w", err))
		return nil
	}
	if found == "" {
		return nil
	}
	return v.act(ctx, l, mode, found)
}

func (v *Vetter) find(ctx context.Context, folder int64, uid uint32) (letter, error) {
	l := letter{folder: folder, uid: uid}
	err := v.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT m.body, m.saved, m.flags, b.account, a.addresskey, m.trace FROM message m JOIN mailbox b ON b.id = m.mailbox
			JOIN account a ON a.id = b.account WHERE m.mailbox = ? AND m.uid = ?`, folder, int64(uid)).
			Scan(&l.body, &l.saved, &l.flags, &l.account, &l.owner, &l.trace)
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = mailbox.ErrNoMessage
	}
	return l, err
}

func (v *Vetter) mode(ctx context.Context, l letter) (filter.Mode, error) {
	address, err := mail.ParseAddress(l.owner)
	if err != nil {
		return filter.Off, err
	}
	set, err := v.Directory.Consents(ctx, l.account, address.Domain)
	if err != nil {
		return filter.Off, err
	}
	return filter.ModeIn(set, "virus", v.Default), nil
}

// look gives what these signatures find in the body, from the last look with
// them if there was one.
func (v *Vetter) look(ctx context.Context, l letter, version string) (string, error) {
	var found string
	err := v.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT found FROM scan WHERE body = ? AND version = ?`, l.body, version).Scan(&found)
	})
	if !errors.Is(err, sql.ErrNoRows) {
		return found, err
	}
	r, err := v.Mailboxes.Bodies.Open(ctx, l.body)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if found, err = v.Scanner.Scan(ctx, io.NewSectionReader(r, 0, r.Size())); err != nil {
		return "", err
	}
	return found, v.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO scan (body, version, found) VALUES (?, ?, ?)
			ON CONFLICT (body) DO UPDATE SET version = excluded.version, found = excluded.found`, l.body, version, found)
		return err
	})
}

// act does what the owner has agreed to.
func (v *Vetter) act(ctx context.Context, l letter, mode filter.Mode, found string) error {
	one := []mailbox.Range{{First: l.uid, Last: l.uid}}
	done := filter.Label
	if mode >= filter.Quarantine {
		apart, err := v.quarantine(ctx, l.account)
		if err != nil || apart == l.folder { // the owner looks at it where it is
			return err
		}
		if _, err := v.Mailboxes.Move(ctx, l.folder, apart, one, mailbox.Shed{}); err != nil {
			return err
		}
		done = filter.Quarantine
	} else if mode >= filter.Label {
		change := mailbox.FlagChange{Op: mailbox.Add, Keywords: []string{Keyword}, Unless: -1}
		if _, err := v.Mailboxes.StoreFlags(ctx, l.folder, one, change); err != nil {
			return err
		}
	}
	v.Events.Record(event.Event{Kind: event.Finding, Trace: mail.TraceID(l.trace), Account: l.owner, Verb: done.String(),
		Reason: "VIRUS 100.0 (" + found + "), found by newer signatures"})
	if done == filter.Quarantine {
		return mailbox.ErrNoMessage
	}
	return nil
}

// quarantine gives the folder, which is made when it is not there.
func (v *Vetter) quarantine(ctx context.Context, account int64) (int64, error) {
	f, err := v.Mailboxes.Folder(ctx, account, mailbox.Quarantine)
	if errors.Is(err, mailbox.ErrNoFolder) {
		f, err = v.Mailboxes.Create(ctx, account, mailbox.Quarantine, "")
	}
	return f.ID, err
}
