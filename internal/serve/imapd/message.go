package imapd

import (
	"context"
	"strings"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// messageCommands are FETCH, STORE, COPY, APPEND and their kind.
var messageCommands = map[string]command{
	"FETCH":       {selected, func(c *conn, d *wire.Decoder) task { return c.parseFetch(d, false) }},
	"UID FETCH":   {selected, func(c *conn, d *wire.Decoder) task { return c.parseFetch(d, true) }},
	"STORE":       {selected, func(c *conn, d *wire.Decoder) task { return c.parseStore(d, false) }},
	"UID STORE":   {selected, func(c *conn, d *wire.Decoder) task { return c.parseStore(d, true) }},
	"COPY":        {selected, func(c *conn, d *wire.Decoder) task { return c.parseCopy(d, false) }},
	"UID COPY":    {selected, func(c *conn, d *wire.Decoder) task { return c.parseCopy(d, true) }},
	"MOVE":        {selected, func(c *conn, d *wire.Decoder) task { return c.parseMove(d, false) }},
	"UID MOVE":    {selected, func(c *conn, d *wire.Decoder) task { return c.parseMove(d, true) }},
	"EXPUNGE":     {selected, (*conn).parseExpunge},
	"UID EXPUNGE": {selected, (*conn).parseUIDExpunge},
	"APPEND":      {after, (*conn).parseAppend},
	"REPLACE":     {selected, func(c *conn, d *wire.Decoder) task { return c.parseReplace(d, false) }},
	"UID REPLACE": {selected, func(c *conn, d *wire.Decoder) task { return c.parseReplace(d, true) }},
}

// target is the messages that a command names.
type target struct {
	set   wire.Set
	byUID bool
}

// parseTarget reads the set in front of a command's other arguments.
func parseTarget(d *wire.Decoder, byUID bool) target {
	d.SP()
	return target{d.Set(), byUID}
}

// sync says what may be told at the end of a command with sequence numbers,
// where a number may not come to mean another message (RFC 9051 section
// 7.5.1).
func (t target) sync() syncing {
	if t.byUID {
		return syncAll
	}
	return syncNoExpunge
}

// chosen gives the UIDs of a target, in order.
func (c *conn) chosen(t target) ([]uint32, error) { return c.sel.resolve(t.set, t.byUID) }

// told gives the selected folder; mod-sequence and next UID are as far as the
// client was told.
func (v *view) told() mailbox.Folder {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.folder
}

// writable tells whether messages of the selected mailbox may be changed by
// who has one of the rights.
func (v *view) writable(one mailbox.Rights) error {
	switch {
	case v.readOnly:
		return no("READ-ONLY", "Mailbox was opened read-only")
	case v.rights&one == 0:
		return no("NOPERM", "You may not do that with this mailbox")
	}
	return nil
}

// useCondstore begins to tell mod-sequences, as every command does that names
// one (RFC 7162 section 3.1).
func (c *conn) useCondstore() {
	if c.enabled.condstore {
		return
	}
	c.enabled.condstore = true
	c.line("* OK " + highest(c.sel.told().ModSeq) + "Highest mod-sequence")
}

// flagSet is flags as a client names them.
type flagSet struct {
	flags    mailbox.Flags
	keywords []string
}

// allSystem is every system flag.
const allSystem = mailbox.Seen | mailbox.Answered | mailbox.Flagged | mailbox.Deleted | mailbox.Draft

// parseFlags makes a flagSet of words. \Recent, which no server of
// IMAP4rev2 knows and no client may set, is passed over.
func parseFlags(d *wire.Decoder, words []string) (s flagSet) {
	for _, w := range words {
		if !strings.HasPrefix(w, `\`) {
			s.keywords = append(s.keywords, w)
			continue
		}
		bit := systemFlag(w)
		if bit == 0 && !strings.EqualFold(w, `\Recent`) {
			d.Fail("Invalid system flag")
		}
		s.flags |= bit
	}
	return s
}

func systemFlag(name string) mailbox.Flags {
	for _, f := range systemFlags {
		if strings.EqualFold(f.name, name) {
			return f.bit
		}
	}
	return 0
}

// settable gives the system flags that rights let change, and whether keywords
// are among what they do (RFC 4314 section 4).
func settable(r mailbox.Rights) (flags mailbox.Flags, keywords bool) {
	for _, f := range systemFlags {
		if r&f.right != 0 {
			flags |= f.bit
		}
	}
	return flags, r&mailbox.WriteFlags != 0
}

// within leaves of a flagSet what rights let set.
func (s flagSet) within(r mailbox.Rights) flagSet {
	flags, keywords := settable(r)
	s.flags &= flags
	if !keywords {
		s.keywords = nil
	}
	return s
}

// openTarget gives the mailbox that messages are to go to; that there is none
// is NO [TRYCREATE] (RFC 9051 section 6.3.12).
func (c *conn) openTarget(ctx context.Context, name string) (mailbox.Folder, mailbox.Rights, error) {
	f, rights, err := c.find(ctx, name, mailbox.Insert)
	if isNoFolder(err) {
		err = no("TRYCREATE", "No such mailbox")
	}
	return f, rights, err
}
