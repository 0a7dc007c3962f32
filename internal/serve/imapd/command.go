package imapd

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Where a command may be given (RFC 9051 section 3).
type place uint8

const (
	anywhere place = iota
	before         // login
	after          // login
	selected       // a mailbox
)

// command has its arguments read by parse, which may not look at the state of
// the session: commands before it may still run. What it does is the task's.
type command struct {
	place place
	parse func(c *conn, d *wire.Decoder) task
}

// task is a command that has been read.
type task struct {
	// shared says that it changes nothing and may run beside others of its
	// kind (RFC 9051 section 5.5).
	shared bool
	// run carries it out, writes untagged responses, and gives the text of OK,
	// with a response code if it has one; "" is "COMMAND completed". Its
	// error becomes NO or BAD (refusal).
	run func(ctx context.Context) (ok string, err error)
	// sync says which news of the selected mailbox are told before the tagged
	// response. The zero value tells all.
	sync syncing
	// drop gives up what parse has begun where run is not called. May be nil.
	drop func()
}

// syncing is what a task allows to be told of the selected mailbox.
type syncing uint8

const (
	syncAll       syncing = iota
	syncNoExpunge         // FETCH, STORE, SEARCH by sequence number (RFC 9051 section 7.5.1)
	syncNone              // the task has told all itself, or there is nothing selected after it
)

// commands by name; those that begin with UID have it in theirs. Each family
// adds its own in its file.
func commands(name string) (command, bool) {
	for _, family := range []map[string]command{sessionCommands, selectCommands, folderCommands, messageCommands, searchCommands, shareCommands, notifyCommands} {
		if cmd, ok := family[name]; ok {
			return cmd, true
		}
	}
	return command{}, false
}

// next reads one command, whose first octet is there, and runs it. An error ends the connection.
func (c *conn) next(ctx context.Context) (err error) {
	defer c.guard(&err)
	c.reading(true)
	defer c.reading(false)
	if c.idle != "" {
		return c.endIdle(ctx)
	}
	c.open.Add(1)
	d := &c.dec
	d.Next()
	tag := d.Tag()
	c.tag = tag
	d.SP()
	name := d.Word()
	if name == "UID" {
		d.SP()
		name += " " + d.Word()
	}
	if d.Err() != nil {
		return c.reject(tag, d.Err())
	}
	cmd, known := commands(name)
	if !known {
		d.Fail("Unknown command")
		return c.reject(tag, d.Err())
	}
	t := cmd.parse(c, d)
	if err := d.Err(); err != nil {
		return c.reject(tag, err)
	}
	c.faults = 0
	return c.begin(ctx, tag, name, cmd.place, t)
}

// reject answers a command that is wrong, and reads over what is left of it.
func (c *conn) reject(tag string, err error) error {
	c.open.Add(-1)
	var syntax *wire.SyntaxError
	var big *wire.TooBigError
	if tag == "" {
		tag = "*"
	}
	switch {
	case errors.As(err, &syntax):
		c.line(tag + " BAD " + syntax.Text)
	case errors.As(err, &big):
		c.line(tag + " NO [TOOBIG] " + big.Error())
	default:
		return c.why(err)
	}
	if err := c.dec.Drain(); err != nil {
		return c.why(err)
	}
	most := c.srv.limits.Faults
	if c.name == "" { // strangers who do not speak IMAP
		most = max(1, most/4)
	}
	if c.faults++; c.faults >= most {
		return errFaults
	}
	return nil
}

// begin runs a task, beside others if it may.
func (c *conn) begin(ctx context.Context, tag, name string, at place, t task) error {
	if !t.shared {
		c.running.Wait()
		c.work.Lock()
		defer c.work.Unlock()
		text, err := c.carryOut(ctx, name, at, t)
		switch {
		case errors.Is(err, errStartTLS):
			c.open.Add(-1)
			return c.startTLS(ctx, tag)
		case errors.Is(err, errIdling):
			c.idle = tag
			return nil
		case errors.Is(err, errCompress):
			c.open.Add(-1)
			return c.compress(tag, text)
		}
		return c.finish(ctx, tag, name, t.sync, text, err)
	}
	if c.slots == nil {
		c.slots = make(chan struct{}, maxBeside)
	}
	c.slots <- struct{}{}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		defer func() { <-c.slots }()
		c.beside(ctx, tag, name, at, t)
	}()
	return nil
}

// beside runs a task while others of its kind may run.
func (c *conn) beside(ctx context.Context, tag, name string, at place, t task) {
	c.work.RLock()
	text, err := c.carryOut(ctx, name, at, t)
	c.work.RUnlock()
	// Numbers may change only while no other command can be using them.
	if t.sync == syncAll && c.work.TryLock() {
		defer c.work.Unlock()
		if c.open.Load() > 1 {
			t.sync = syncNoExpunge
		}
	} else {
		c.work.RLock()
		defer c.work.RUnlock()
		t.sync = max(t.sync, syncNoExpunge)
	}
	if err := c.finish(ctx, tag, name, t.sync, text, err); err != nil {
		c.hangUp(err)
		return
	}
	c.out.flush()
}

// numbered are the commands that name messages by number, which UIDONLY (RFC
// 9586 section 3.4) forbids; their UID variants do not.
var numbered = map[string]bool{
	"FETCH": true, "STORE": true, "SEARCH": true, "SORT": true, "THREAD": true, "COPY": true, "MOVE": true, "REPLACE": true,
}

// errUIDRequired refuses numbers under UIDONLY.
var errUIDRequired = &refusal{kind: "BAD", code: "UIDREQUIRED", text: "Message numbers are not used after ENABLE UIDONLY"}

// carryOut runs a task in its place.
func (c *conn) carryOut(ctx context.Context, name string, at place, t task) (text string, err error) {
	defer c.guard(&err)
	err = c.fits(at)
	if err == nil && c.enabled.uidOnly && numbered[name] {
		err = errUIDRequired
	}
	if err == nil && at == selected {
		err = c.mayStill(ctx, !t.shared)
	}
	if err == nil {
		return t.run(ctx)
	}
	if t.drop != nil {
		t.drop()
	}
	return "", err
}

// finish tells what is new and writes the tagged response. An error ends the
// connection.
func (c *conn) finish(ctx context.Context, tag, name string, sync syncing, text string, err error) (end error) {
	defer c.guard(&end)
	if b := new(broken); errors.As(err, &b) {
		return b.error
	}
	var lost error
	if c.sel != nil && sync != syncNone && !errors.Is(err, errEnd) {
		switch e := c.sel.tell(ctx, c, sync == syncAll, newest); {
		case errors.Is(e, mailbox.ErrNoFolder):
			lost = errDeleted
		case err == nil:
			err = e
		}
		c.sel.tellBehind(c)
	}
	c.open.Add(-1)
	if err := c.tagged(tag, name, text, err); err != nil {
		return err
	}
	return lost
}

// guard makes a panic an error that ends the connection, and no other.
func (c *conn) guard(err *error) {
	if p := recover(); p != nil {
		c.srv.Logger.Error("panic in an IMAP session", "account", c.name, "trace", string(c.trace), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = &broken{errPanic}
	}
}

// fits tells whether a command may be given now.
func (c *conn) fits(at place) error {
	switch {
	case at == before && c.name != "":
		return bad("Already logged in")
	case at >= after && c.name == "":
		return bad("Log in first")
	case at == selected && c.sel == nil:
		return bad("No mailbox is selected")
	}
	return nil
}
