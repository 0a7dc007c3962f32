package imapd

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

func isNoFolder(err error) bool { return errors.Is(err, mailbox.ErrNoFolder) }

// storing is one STORE (RFC 9051 section 6.4.6, RFC 7162 section 3.1.3).
type storing struct {
	target
	op     mailbox.Op
	silent bool
	unless int64 // UNCHANGEDSINCE; -1: none
	flags  flagSet
}

func (c *conn) parseStore(d *wire.Decoder, byUID bool) task {
	s := &storing{target: parseTarget(d, byUID), unless: -1}
	d.SP()
	if d.Peek() == '(' {
		d.List(func() {
			if d.Word() != "UNCHANGEDSINCE" {
				d.Fail("Unknown STORE modifier")
			}
			d.SP()
			s.unless = d.Number64()
		})
		d.SP()
	}
	s.parseItem(d)
	d.SP()
	s.flags = parseFlags(d, d.Flags())
	d.End()
	return task{sync: s.sync(), run: func(ctx context.Context) (string, error) { return c.store(ctx, s) }}
}

func (s *storing) parseItem(d *wire.Decoder) {
	switch d.Word() {
	case "FLAGS":
		s.op = mailbox.Replace
	case "FLAGS.SILENT":
		s.op, s.silent = mailbox.Replace, true
	case "+FLAGS":
		s.op = mailbox.Add
	case "+FLAGS.SILENT":
		s.op, s.silent = mailbox.Add, true
	case "-FLAGS":
		s.op = mailbox.Remove
	case "-FLAGS.SILENT":
		s.op, s.silent = mailbox.Remove, true
	default:
		d.Fail("Unknown STORE item")
	}
}

// store changes flags as far as the rights go: who may change some of those
// named changes these (RFC 4314 section 4).
func (c *conn) store(ctx context.Context, s *storing) (string, error) {
	v := c.sel
	uids, err := c.chosen(s.target)
	if err != nil {
		return "", err
	}
	if s.unless >= 0 {
		c.useCondstore()
	}
	if err := v.writable(mailbox.KeepSeen | mailbox.WriteFlags | mailbox.DeleteMark); err != nil {
		return "", err
	}
	change, err := s.change(v.rights)
	if err != nil {
		return "", err
	}
	res, err := c.srv.Mailboxes.StoreFlags(ctx, v.told().ID, mailbox.Ranges(uids), change)
	v.hush(s.known(res, v.told().ModSeq))
	if err == nil && len(change.Keywords) > 0 { // a new one is told of before it is seen
		err = v.tellNewKeywords(ctx, c)
	}
	if e := c.tellStored(ctx, s, res); err == nil {
		err = e
	}
	if err != nil {
		return "", err
	}
	switch {
	case len(res.Modified) > 0:
		return "[MODIFIED " + string(wire.AppendSet(nil, s.named(v, res.Modified))) + "] Conditional STORE failed", nil
	case !s.byUID && len(res.Changed)+len(res.Same) < len(uids):
		return "[EXPUNGEISSUED] Some messages are gone", nil
	}
	return "", nil
}

// known gives the messages of which the client knows all flags when the command
// has ended. With .SILENT it does not know what others changed since told, the
// mod-sequence up to which it was told.
func (s *storing) known(res mailbox.FlagResult, told int64) []mailbox.Message {
	if !s.silent {
		return res.Changed
	}
	var known []mailbox.Message
	for i, m := range res.Changed {
		if res.Was[i] <= told {
			known = append(known, m)
		}
	}
	return known
}

// change gives what the store is asked to do.
func (s *storing) change(r mailbox.Rights) (mailbox.FlagChange, error) {
	may := s.flags.within(r)
	asked := s.flags.flags != 0 || len(s.flags.keywords) > 0
	if asked && may.flags == 0 && len(may.keywords) == 0 {
		return mailbox.FlagChange{}, no("NOPERM", "You may not change these flags")
	}
	change := mailbox.FlagChange{Op: s.op, Flags: may.flags, Keywords: may.keywords, Unless: s.unless}
	flags, keywords := settable(r)
	change.Keep, change.KeepKeywords = allSystem&^flags, !keywords
	return change, nil
}

// named gives UIDs as the command named messages.
func (t target) named(v *view, uids []uint32) []uint32 {
	if t.byUID {
		return uids
	}
	numbers := make([]uint32, 0, len(uids))
	view := v.snapshot()
	for _, u := range uids {
		if n := seq(view, u); n != 0 {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// tellStored tells the flags, or with .SILENT only the new mod-sequences.
func (c *conn) tellStored(ctx context.Context, s *storing, res mailbox.FlagResult) error {
	told := res.Changed
	if s.silent && !c.enabled.condstore {
		return nil
	}
	if !s.silent && len(res.Same) > 0 {
		told = slices.Clone(told)
		for m, err := range c.srv.Mailboxes.Items(ctx, c.sel.told().ID, mailbox.Ranges(res.Same), 0) {
			if err != nil {
				return err
			}
			told = append(told, m.Message)
		}
		slices.SortFunc(told, func(a, b mailbox.Message) int { return cmp.Compare(a.UID, b.UID) })
	}
	view := c.sel.snapshot()
	for _, m := range told {
		if n := seq(view, m.UID); n != 0 {
			c.respond(func(e *wire.Encoder) error { c.writeStored(e, s, n, m); return nil })
		}
	}
	return nil
}

func (c *conn) writeStored(e *wire.Encoder, s *storing, n uint32, m mailbox.Message) {
	c.fetchHead(e, n, m.UID)
	sep := ""
	if !c.enabled.uidOnly && (s.byUID || c.enabled.qresync) {
		e.Rawf("%sUID %d", sep, m.UID)
		sep = " "
	}
	if !s.silent {
		e.Raw(sep + "FLAGS ")
		e.List(c.flagWords(m))
		sep = " "
	}
	if c.enabled.condstore {
		e.Rawf("%sMODSEQ (%d)", sep, m.ModSeq)
	}
	e.Raw(")")
}
