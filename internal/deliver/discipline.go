package deliver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db"
)

// What a user hears instead of 250. He has logged in, so he may know why.
var (
	SendingStopped = mail.Reply{Code: 451, Enhanced: "4.7.1",
		Text: "Sending is stopped for this account: unusual activity. Change your password or wait; see the notice in your mailbox"}
	sendingLimit = mail.Reply{Code: 450, Enhanced: "4.7.1", Text: "This account may not send more for now, try again later"}
)

// Discipline holds the accounts whose password seems to be stolen
// (edge.Outbound): it brings what they do and what becomes of their mail to
// Outbound, writes down the holds that follow, and ends them. The hold is in
// the database, where every node sees it; what is usual of an account each node
// learns by itself and saves every minute. A nil Discipline judges nothing,
// but a hold that another node began counts with it, too (Intake.Accept).
type Discipline struct {
	Outbound   *edge.Outbound
	Clock      *edge.Clock
	Intake     *Intake
	Node       string       // whose learning it is
	Postmaster mail.Address // is told of each hold
	Log        *slog.Logger

	mu      sync.RWMutex // for writing: states leave the memory
	loading sync.Mutex
	pending sync.Map // account → *edge.Alarm: holds that could not be written yet
}

// within runs fn while the state of the account is in memory. Without its
// state, nothing is judged.
func (d *Discipline) within(ctx context.Context, account int64, fn func(now edge.Time)) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.load(ctx, account); err != nil {
		d.Log.Error("cannot read what is known of an account's sending", "account", account, "error", err)
		return
	}
	fn(d.Clock.Now())
}

func (d *Discipline) load(ctx context.Context, account int64) error {
	if d.Outbound.Has(account) {
		return nil
	}
	d.loading.Lock()
	defer d.loading.Unlock()
	if d.Outbound.Has(account) {
		return nil
	}
	var saved []byte
	err := d.Intake.DB.Read(ctx, func(tx *db.Tx) error {
		return tx.Row(`SELECT state FROM sending WHERE node = ? AND account = ?`, d.Node, account).Scan(&saved)
	})
	if errors.Is(err, sql.ErrNoRows) {
		d.Outbound.Begin(account)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read sending: %w", err)
	}
	if err := d.Outbound.Restore(account, saved); err != nil {
		d.Intake.Events.Record(event.Event{Time: time.Now(), Kind: event.Fault, Role: "submission", Verb: "sending", Reason: err.Error()})
		d.Outbound.Begin(account)
	}
	return nil
}

// Login takes that an account has logged in from an address, to send.
func (d *Discipline) Login(ctx context.Context, account int64, from netip.Addr) {
	if d != nil {
		d.within(ctx, account, func(now edge.Time) { d.Outbound.Login(account, from, now) })
	}
}

// Mail asks leave for a message. acct is as the database has it now.
func (d *Discipline) Mail(ctx context.Context, acct directory.Account) *mail.Reply {
	now := time.Now()
	if acct.Hold.Active(now) {
		if d != nil {
			d.Intake.Metrics.putOff("held")
		}
		return SendingStopped.Because(errors.New(acct.Hold.Reason))
	}
	if d == nil {
		return nil
	}
	if _, waiting := d.pending.Load(acct.ID); waiting {
		return d.reply(edge.Stopped)
	}
	leave := edge.Granted
	d.within(ctx, acct.ID, func(at edge.Time) {
		d.Outbound.Standing(acct.ID, 0, acct.Hold.Vouched.After(now), at)
		leave = d.Outbound.Message(acct.ID, at)
	})
	return d.reply(leave)
}

func (d *Discipline) reply(l edge.Leave) *mail.Reply {
	switch l {
	case edge.TooMany:
		d.Intake.Metrics.putOff("limit")
		return &sendingLimit
	case edge.Stopped:
		d.Intake.Metrics.putOff("held")
		return &SendingStopped
	}
	return nil
}

// Rcpt asks leave for a recipient, which a client at from named and which was
// found to be what fate says. It may be what holds the account.
func (d *Discipline) Rcpt(ctx context.Context, account int64, from netip.Addr, to mail.Address, fate edge.Fate) *mail.Reply {
	if d == nil {
		return nil
	}
	leave := edge.Granted
	var alarm *edge.Alarm
	d.within(ctx, account, func(now edge.Time) { leave, alarm = d.Outbound.Recipient(account, from, to.Key(), fate, now) })
	if alarm != nil {
		d.raise(alarm)
	}
	return d.reply(leave)
}

// settled takes what became of a message's recipients elsewhere.
func (d *Discipline) settled(ctx context.Context, s *settlement) {
	if d == nil || s.message.Account == 0 || s.message.Origin != queue.Submission {
		return
	}
	for i := range s.results {
		res := &s.results[i]
		unknown := unknownRecipient(res.Outcome)
		if res.State != queue.Delivered && !(res.State == queue.Failed && unknown) {
			continue
		}
		var alarm *edge.Alarm
		d.within(ctx, s.message.Account, func(now edge.Time) {
			alarm = d.Outbound.Outcome(s.message.Account, s.items[i].Key(), res.State == queue.Failed, now)
		})
		if alarm != nil {
			d.raise(alarm)
		}
	}
}

// unknownRecipient tells whether a failure says that there is no such address,
// or none any more.
func unknownRecipient(o queue.Outcome) bool {
	switch o.Enhanced {
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1":
		return true
	case "", "5.0.0":
		return o.Code == 550 || o.Code == 551 || o.Code == 553
	}
	return false
}

// Run saves what was learnt and ends holds until ctx ends, and saves once more
// then.
func (d *Discipline) Run(ctx context.Context) {
	last := time.Now()
	for sleep(ctx, max(d.Clock.Span(disciplineTick), 200*time.Millisecond)) {
		d.pending.Range(func(_, alarm any) bool { d.raise(alarm.(*edge.Alarm)); return true })
		if err := d.endHolds(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("cannot end holds", "error", err)
		}
		if time.Since(last) >= d.Clock.Span(saveEvery) {
			last = time.Now()
			d.save(ctx)
		}
	}
	d.save(context.WithoutCancel(ctx))
}

const (
	disciplineTick = 5 * time.Second
	saveEvery      = time.Minute
)

// save writes the states that changed, some in each transaction, so that mail
// need not wait for all of them.
func (d *Discipline) save(ctx context.Context) {
	states := d.Outbound.Save()
	part := map[int64][]byte{}
	for id, state := range states {
		if part[id] = state; len(part) < 64 {
			continue
		}
		d.write(ctx, part)
		part = map[int64][]byte{}
	}
	d.write(ctx, part)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Outbound.Forget(d.Clock.Now())
}

func (d *Discipline) write(ctx context.Context, states map[int64][]byte) {
	if len(states) == 0 {
		return
	}
	err := d.Intake.DB.Write(ctx, func(tx *db.Tx) error {
		for id, state := range states {
			_, err := tx.Exec(`INSERT INTO sending (node, account, state, saved) SELECT ?, id, ?, ? FROM account WHERE id = ?
				ON CONFLICT (node, account) DO UPDATE SET state = excluded.state, saved = excluded.saved`,
				d.Node, state, time.Now().UnixMilli(), id)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.Outbound.Unsaved(states)
		d.Log.Error("cannot save what is known of accounts' sending", "error", err)
	}
}
