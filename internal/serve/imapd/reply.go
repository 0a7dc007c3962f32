package imapd

import (
	"context"
	"errors"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// refusal is NO or BAD as the client hears it.
type refusal struct {
	kind string // NO, BAD
	code string // response code without brackets (RFC 9051 section 7.1, RFC 5530); "": none
	text string
	last bool // the connection ends behind it
}

// Error gives the response without its tag.
func (r *refusal) Error() string {
	if r.code == "" {
		return r.kind + " " + r.text
	}
	return r.kind + " [" + r.code + "] " + r.text
}

func no(code, text string) *refusal { return &refusal{kind: "NO", code: code, text: text} }

func bad(text string) *refusal { return &refusal{kind: "BAD", text: text} }

// refusals are the errors of the store that a client is told.
var refusals = []struct {
	err        error
	code, text string
}{
	{mailbox.ErrNoFolder, "NONEXISTENT", "No such mailbox"},
	{mailbox.ErrExists, "ALREADYEXISTS", "Mailbox exists already"},
	{mailbox.ErrName, "CANNOT", "Mailbox name not allowed"},
	{mailbox.ErrInbox, "CANNOT", "Not possible with INBOX"},
	{mailbox.ErrNoMessage, "EXPUNGEISSUED", "Message is gone"},
	{mailbox.ErrKeyword, "LIMIT", "Invalid or too many keywords"},
	{mailbox.ErrTooMany, "LIMIT", "Too many mailboxes"},
	{mailbox.ErrUIDs, "LIMIT", "Mailbox takes no more messages"},
	{mailbox.ErrAnnotations, "METADATA TOOMANY", "Too many annotations"},
	{mailbox.ErrGrants, "LIMIT", "Rights are given to too many already"},
	{blob.ErrFull, "UNAVAILABLE", "No room, try again later"},
	{db.ErrFull, "UNAVAILABLE", "No room, try again later"},
}

// refuse makes a refusal of any error: what is wrong with us is logged, and the
// client hears that it may try again.
func (c *conn) refuse(name string, err error) *refusal {
	if r := new(refusal); errors.As(err, &r) {
		return r
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return no(r.code, r.text)
		}
	}
	if r := new(mail.Reply); errors.As(err, &r) && r.Enhanced == "4.2.2" {
		return no("OVERQUOTA", "Mailbox is full")
	}
	if !errors.Is(err, context.Canceled) {
		c.srv.Logger.Error("imap command", "command", name, "account", c.name, "trace", string(c.trace), "err", err)
	}
	return no("UNAVAILABLE", "Temporary problem, try again later")
}

// tagged ends a command.
func (c *conn) tagged(tag, name, text string, err error) error {
	switch {
	case errors.Is(err, errEnd):
		if text != "" {
			c.line(tag + " OK " + text)
		}
		return err
	case err != nil:
		r := c.refuse(name, err)
		if r.last {
			c.line("* BYE Too many failures")
			c.line(tag + " " + r.Error())
			return errEnd
		}
		text = r.Error()
	case text == "":
		text = "OK " + name + " completed"
	default:
		text = "OK " + text
	}
	return c.respond(func(e *wire.Encoder) error { e.Raw(tag + " " + text); return nil })
}
