package imapd

import (
	"context"
	"slices"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// statusWords are the items of STATUS: RFC 9051 section 6.3.11 and RFC 3501,
// 7162 (HIGHESTMODSEQ), 7889 (APPENDLIMIT), 8474 (MAILBOXID), 9208
// (DELETED-STORAGE).
var statusWords = []string{"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "SIZE", "DELETED",
	"HIGHESTMODSEQ", "APPENDLIMIT", "MAILBOXID", "DELETED-STORAGE"}

// statusItems reads the items of STATUS, in the order in which they are told.
func statusItems(d *wire.Decoder) (items []string) {
	d.List(func() {
		w := d.Word()
		if !slices.Contains(statusWords, w) {
			d.Fail("Unknown status item")
		}
		if !slices.Contains(items, w) {
			items = append(items, w)
		}
	})
	if len(items) == 0 {
		d.Fail("Expected status items")
	}
	return items
}

func (c *conn) parseStatus(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	d.SP()
	items := statusItems(d)
	d.End()
	return task{shared: !slices.Contains(items, "HIGHESTMODSEQ"), run: func(ctx context.Context) (string, error) {
		f, _, err := c.find(ctx, name, mailbox.ReadRight)
		if err != nil {
			return "", err
		}
		c.statusEnables(items)
		return "", c.tellStatus(ctx, name, f, items)
	}}
}

// statusEnables turns CONDSTORE on when a client shows that it knows it
// (RFC 7162 section 3.1). Its task is not shared then.
func (c *conn) statusEnables(items []string) {
	if !slices.Contains(items, "HIGHESTMODSEQ") || c.enabled.condstore {
		return
	}
	c.enabled.condstore = true
	if c.sel != nil {
		c.line("* OK " + highest(c.sel.folder.ModSeq) + "Highest mod-sequence")
	}
}

// tellStatus writes the STATUS response of a folder.
func (c *conn) tellStatus(ctx context.Context, name string, f mailbox.Folder, items []string) error {
	var deleted, octets int64
	if slices.Contains(items, "DELETED") || slices.Contains(items, "DELETED-STORAGE") {
		var err error
		if deleted, octets, err = c.srv.Mailboxes.DeletedCount(ctx, f.ID); err != nil {
			return err
		}
	}
	var recent int
	if slices.Contains(items, "RECENT") {
		var err error
		if recent, err = c.countRecent(ctx, f); err != nil {
			return err
		}
	}
	return c.respond(func(e *wire.Encoder) error {
		e.Raw("* STATUS ")
		e.Mailbox(name)
		e.Raw(" (")
		for i, item := range items {
			if i > 0 {
				e.Raw(" ")
			}
			e.Raw(item + " ")
			switch item {
			case "MESSAGES":
				e.Number(f.Messages)
			case "RECENT":
				e.Number(int64(recent))
			case "UIDNEXT":
				e.Number(int64(f.UIDNext))
			case "UIDVALIDITY":
				e.Number(int64(f.UIDValidity))
			case "UNSEEN":
				e.Number(f.Unseen)
			case "SIZE":
				e.Number(f.Size)
			case "DELETED":
				e.Number(deleted)
			case "DELETED-STORAGE":
				e.Number(octets)
			case "HIGHESTMODSEQ":
				e.Number(f.ModSeq)
			case "APPENDLIMIT":
				e.Number(c.srv.limits.Append)
			case "MAILBOXID":
				e.Raw("(" + mailboxID(f) + ")")
			}
		}
		e.Raw(")")
		return nil
	})
}
