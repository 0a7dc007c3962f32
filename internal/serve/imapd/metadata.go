package imapd

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// maxAsked bounds the annotations of one command (RFC 5464).
const maxAsked = 500

// What the name of an entry begins with tells who has it.
const (
	privateEntry = "/private/"
	sharedEntry  = "/shared/"
)

// Entries with a meaning of their own.
const (
	useEntry   = "/private/specialuse" // RFC 6154 section 4; of mailboxes
	adminEntry = "/shared/admin"       // RFC 5464 section 6.2.1.2; of the server
)

// entryName reads the name of an entry (RFC 5464 section 3.2), in lower case,
// or one of the two that all others lie below.
func entryName(d *wire.Decoder) string {
	name := strings.ToLower(d.Astring())
	odd := strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '*' || r == '%' }) >= 0
	if odd || len(name) > mailbox.MaxEntry || strings.Contains(name, "//") || strings.HasSuffix(name, "/") ||
		!strings.HasPrefix(name+"/", privateEntry) && !strings.HasPrefix(name+"/", sharedEntry) {
		d.Fail("Not the name of an entry")
	}
	return name
}

// inquiry is which annotations are asked for.
type inquiry struct {
	entries []string
	depth   int // levels below the entries that are given, too
	maxSize int // octets of the values that are given
}

// anyDepth is "infinity": an entry has fewer levels.
const anyDepth = mailbox.MaxEntry

// parseGetMetadata is GETMETADATA. Options stand in front of the mailbox, as
// the grammar of RFC 5464 has them, or behind it, as in its examples.
func (c *conn) parseGetMetadata(d *wire.Decoder) task {
	q := inquiry{maxSize: mailbox.MaxAnnotation}
	d.SP()
	if d.Peek() == '(' {
		d.List(func() { q.option(d) })
		d.SP()
	}
	name := d.Mailbox()
	d.SP()
	q.read(d)
	if len(q.entries) == 0 && d.AcceptSP() {
		q.read(d)
	}
	if len(q.entries) == 0 {
		d.Fail("Expected entries")
	}
	d.End()
	return task{shared: true, run: func(ctx context.Context) (string, error) {
		have, err := c.annotations(ctx, name)
		if err != nil {
			return "", err
		}
		told, longest := q.choose(have)
		if err := c.tellMetadata(name, told); err != nil || longest == 0 {
			return "", err
		}
		return fmt.Sprintf("[METADATA LONGENTRIES %d] GETMETADATA completed", longest), nil
	}}
}

// read reads one entry, or entries or options in parentheses.
func (q *inquiry) read(d *wire.Decoder) {
	if d.Peek() != '(' {
		q.entries = append(q.entries, entryName(d))
		return
	}
	d.List(func() {
		if !d.IsString() && d.Peek() != '/' {
			q.option(d)
			return
		}
		if q.entries = append(q.entries, entryName(d)); len(q.entries) > maxAsked {
			d.Fail("Too many entries")
		}
	})
}

// option reads MAXSIZE or DEPTH with its value.
func (q *inquiry) option(d *wire.Decoder) {
	switch d.Word() {
	case "MAXSIZE":
		d.SP()
		q.maxSize = int(min(d.Number(), mailbox.MaxAnnotation))
	case "DEPTH":
		d.SP()
		switch d.Word() {
		case "0":
			q.depth = 0
		case "1":
			q.depth = 1
		case "INFINITY":
			q.depth = anyDepth
		default:
			d.Fail("Unknown depth")
		}
	default:
		d.Fail("Unknown option of GETMETADATA")
	}
}

// choose gives the annotations of have, sorted by entry, that are asked for;
// the value of an entry that is not there is nil. longest is the largest value
// left out because of its size, 0 when none was.
func (q *inquiry) choose(have []mailbox.Annotation) (told []mailbox.Annotation, longest int) {
	seen := map[string]bool{}
	for _, entry := range q.entries {
		if _, there := slices.BinarySearchFunc(have, entry, byEntry); !there && q.depth == 0 && !seen[entry] {
			seen[entry] = true
			told = append(told, mailbox.Annotation{Entry: entry})
		}
		for _, a := range have {
			rest, below := strings.CutPrefix(a.Entry, entry+"/")
			if a.Entry != entry && (!below || strings.Count(rest, "/") >= q.depth) || seen[a.Entry] {
				continue
			}
			seen[a.Entry] = true
			if len(a.Value) > q.maxSize {
				longest = max(longest, len(a.Value))
				continue
			}
			told = append(told, a)
		}
	}
	return told, longest
}

func byEntry(a mailbox.Annotation, entry string) int { return strings.Compare(a.Entry, entry) }

// tellMetadata writes METADATA with values; the value of an entry that is not
// there is NIL.
func (c *conn) tellMetadata(name string, told []mailbox.Annotation) error {
	if len(told) == 0 {
		return nil
	}
	return c.respond(func(e *wire.Encoder) error {
		e.Raw("* METADATA ")
		e.Mailbox(name)
		for i, a := range told {
			e.Raw([]string{" (", " "}[min(i, 1)])
			e.Astring(a.Entry)
			e.Raw(" ")
			if bytes.IndexByte(a.Value, 0) < 0 {
				e.Nstring(string(a.Value), a.Value != nil)
			} else if err := e.Literal8(int64(len(a.Value)), bytes.NewReader(a.Value)); err != nil {
				return err
			}
		}
		e.Raw(")")
		return nil
	})
}

// annotated are the rights of which one is needed, beside Lookup, to see
// annotations of a mailbox (RFC 5464 section 3.3).
const annotated = mailbox.ReadRight | mailbox.KeepSeen | mailbox.WriteFlags | mailbox.Insert | mailbox.Post

// annotations gives what the user may see of the annotations of a mailbox, or
// of the server, sorted by entry.
func (c *conn) annotations(ctx context.Context, name string) ([]mailbox.Annotation, error) {
	if name == "" {
		have, err := c.srv.Mailboxes.Annotations(ctx, c.account, 0)
		if c.srv.Contact == "" || err != nil {
			return have, err
		}
		return withEntry(have, adminEntry, c.srv.Contact), nil
	}
	f, rights, err := c.find(ctx, name, mailbox.Lookup)
	if err != nil {
		return nil, err
	}
	return c.annotationsOf(ctx, f, rights)
}

func (c *conn) annotationsOf(ctx context.Context, f mailbox.Folder, rights mailbox.Rights) ([]mailbox.Annotation, error) {
	if rights&annotated == 0 {
		return nil, no("NOPERM", "You may not see annotations of this mailbox")
	}
	have, err := c.srv.Mailboxes.Annotations(ctx, c.account, f.ID)
	if f.Role == "" || f.Account != c.account || err != nil {
		return have, err
	}
	return withEntry(have, useEntry, `\`+f.Role), nil
}

// withEntry puts an entry in its place.
func withEntry(have []mailbox.Annotation, entry, value string) []mailbox.Annotation {
	i, _ := slices.BinarySearchFunc(have, entry, byEntry)
	return slices.Insert(have, i, mailbox.Annotation{Entry: entry, Value: []byte(value)})
}

func (c *conn) parseSetMetadata(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	d.SP()
	var set []mailbox.Annotation
	d.List(func() {
		a := mailbox.Annotation{Entry: entryName(d)}
		if strings.Count(a.Entry, "/") == 1 {
			d.Fail("Not the name of an entry")
		}
		d.SP()
		a.Value = d.Octets()
		if set = append(set, a); len(set) > maxAsked {
			d.Fail("Too many entries")
		}
	})
	if len(set) == 0 {
		d.Fail("Expected entries")
	}
	d.End()
	return task{run: func(ctx context.Context) (string, error) { return "", c.setMetadata(ctx, name, set) }}
}

func (c *conn) setMetadata(ctx context.Context, name string, set []mailbox.Annotation) error {
	rights, id := mailbox.Rights(0), int64(0) // of the server: only what is private
	if name == "" {
		rights = annotated &^ mailbox.WriteFlags
	} else {
		f, r, err := c.find(ctx, name, mailbox.Lookup)
		if err != nil {
			return err
		}
		rights, id = r, f.ID
	}
	for _, a := range set {
		switch {
		case rights&annotated == 0, strings.HasPrefix(a.Entry, sharedEntry) && rights&mailbox.WriteFlags == 0:
			return no("NOPERM", "You may not set this annotation")
		case a.Entry == useEntry && id != 0:
			return no("USEATTR", "Special use is set by CREATE")
		case len(a.Value) > mailbox.MaxAnnotation:
			return no(fmt.Sprintf("METADATA MAXSIZE %d", mailbox.MaxAnnotation), "Value too large")
		}
	}
	err := c.srv.Mailboxes.SetAnnotations(ctx, c.account, id, set)
	if err == nil {
		c.watching.annotate(id, set)
	}
	return err
}
