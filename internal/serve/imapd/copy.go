package imapd

import (
	"context"
	"fmt"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

func (c *conn) parseCopy(d *wire.Decoder, byUID bool) task {
	t := parseTarget(d, byUID)
	d.SP()
	name := d.Mailbox()
	d.End()
	return task{run: func(ctx context.Context) (string, error) { return c.copyTo(ctx, t, name) }}
}

// maxTransfer is how many messages one COPY or MOVE takes. They go in one
// transaction, for which all others wait: a second or two for so many.
const maxTransfer = 100_000

// carried is chosen for COPY and MOVE.
func (c *conn) carried(t target) ([]uint32, error) {
	uids, err := c.chosen(t)
	if err == nil && len(uids) > maxTransfer {
		err = no("LIMIT", fmt.Sprintf("At most %d messages at a time", maxTransfer))
	}
	return uids, err
}

// copyTo is COPY (RFC 9051 section 6.4.7): all messages or none.
func (c *conn) copyTo(ctx context.Context, t target, name string) (string, error) {
	uids, err := c.carried(t)
	if err != nil {
		return "", err
	}
	to, rights, err := c.openTarget(ctx, name)
	if err != nil {
		return "", err
	}
	copied, err := c.srv.Mailboxes.Copy(ctx, c.sel.told().ID, to.ID, mailbox.Ranges(uids), shed(rights))
	c.made(to.ID, copied.To)
	if err != nil {
		return "", targetGone(err)
	}
	switch code := copyUID(copied, rights); {
	case len(copied.From) == 0:
		return "No messages to copy", nil
	case !t.byUID && len(copied.From) < len(uids):
		// COPYUID has told which ones were there.
		return code + "Some messages are gone", nil
	default:
		return code + "COPY completed", nil
	}
}

// copyUID gives the response code (RFC 9051 section 7.1) and a space, "" when
// rights do not let the client read where the messages went (RFC 4315 section
// 3).
func copyUID(c mailbox.Copied, r mailbox.Rights) string {
	if r&mailbox.ReadRight == 0 {
		return ""
	}
	return fmt.Sprintf("[COPYUID %d %s %s] ", c.UIDValidity, wire.AppendSet(nil, c.From), wire.AppendSet(nil, c.To))
}

// targetGone says what it means that a folder went away after it was found.
func targetGone(err error) error {
	if isNoFolder(err) {
		return no("TRYCREATE", "No such mailbox")
	}
	return err
}

// shed gives what copies leave behind of flags that rights do not let set where
// they go (RFC 4314 section 4).
func shed(r mailbox.Rights) mailbox.Shed {
	flags, keywords := settable(r)
	return mailbox.Shed{Flags: allSystem &^ flags, Keywords: !keywords}
}

func (c *conn) parseMove(d *wire.Decoder, byUID bool) task {
	t := parseTarget(d, byUID)
	d.SP()
	name := d.Mailbox()
	d.End()
	return task{run: func(ctx context.Context) (string, error) { return c.moveTo(ctx, t, name) }}
}

// moveTo is MOVE (RFC 6851): COPYUID is told before the messages vanish.
func (c *conn) moveTo(ctx context.Context, t target, name string) (string, error) {
	v := c.sel
	uids, err := c.carried(t)
	if err != nil {
		return "", err
	}
	if err := v.writable(mailbox.ExpungeRight); err != nil {
		return "", err
	}
	if err := v.writable(mailbox.DeleteMark); err != nil {
		return "", err
	}
	to, rights, err := c.openTarget(ctx, name)
	if err != nil {
		return "", err
	}
	tell := c.leaving(ctx, v.told(), mailbox.Ranges(uids), false)
	moved, err := c.srv.Mailboxes.Move(ctx, v.told().ID, to.ID, mailbox.Ranges(uids), shed(rights))
	tell("MOVE", to.Name, len(moved.From))
	v.owed = true
	c.made(to.ID, moved.To)
	if err != nil {
		return "", targetGone(err)
	}
	if len(moved.From) == 0 {
		return "No messages to move", nil
	}
	c.line("* OK " + copyUID(moved, rights) + "Moved")
	return c.highest(moved.ModSeq) + "MOVE completed", nil
}

// highest is the response code HIGHESTMODSEQ and a space, for who wants to know
// how far it is after messages went (RFC 7162 section 3.2.7).
func (c *conn) highest(modseq int64) string {
	if !c.enabled.qresync {
		return ""
	}
	return highest(modseq)
}

func (c *conn) parseExpunge(d *wire.Decoder) task {
	d.End()
	return task{run: func(ctx context.Context) (string, error) { return c.expunge(ctx, mailbox.Ranges(c.sel.snapshot())) }}
}

// parseUIDExpunge is RFC 4315 section 2.1.
func (c *conn) parseUIDExpunge(d *wire.Decoder) task {
	t := parseTarget(d, true)
	d.End()
	return task{run: func(ctx context.Context) (string, error) {
		uids, err := c.chosen(t)
		if err != nil {
			return "", err
		}
		return c.expunge(ctx, mailbox.Ranges(uids))
	}}
}

// expunge removes what is marked; that it is gone is told as all news are.
func (c *conn) expunge(ctx context.Context, set []mailbox.Range) (string, error) {
	v := c.sel
	if err := v.writable(mailbox.ExpungeRight); err != nil {
		return "", err
	}
	tell := c.leaving(ctx, v.told(), set, true)
	gone, modseq, err := c.srv.Mailboxes.Expunge(ctx, v.told().ID, set, true)
	tell("EXPUNGE", "", len(gone))
	v.owed = true
	if err != nil {
		return "", err
	}
	return c.highest(modseq) + "EXPUNGE completed", nil
}
