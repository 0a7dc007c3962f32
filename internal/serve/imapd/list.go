package imapd

import (
	"context"
	"slices"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Bounds of the patterns of one LIST: each is tried on each name.
const (
	maxPatterns      = 100
	maxPatternOctets = 8 << 10 // of all
)

// listing is a LIST as it was asked (RFC 9051 section 6.3.9, RFC 5258).
type listing struct {
	extended  bool // in the syntax of RFC 5258
	lsub      bool // LSUB of RFC 3501
	reference string
	patterns  []string
	octets    int // of the patterns

	// Selection: all of what is set must hold.
	subscribed, specialUse bool
	recursive              bool // RECURSIVEMATCH

	// What else is told.
	tellSubscribed, tellRights bool     // RFC 5258, RFC 8440
	status                     []string // RFC 5819
	metadata                   inquiry  // RFC 9590
}

func (c *conn) parseList(d *wire.Decoder) task {
	l := listing{metadata: inquiry{maxSize: mailbox.MaxAnnotation}}
	d.SP()
	if d.Peek() == '(' {
		l.extended = true
		d.List(func() { l.selection(d) })
		if l.recursive && !l.subscribed && !l.specialUse {
			d.Fail("RECURSIVEMATCH needs another selection option")
		}
		d.SP()
	}
	l.reference = d.Mailbox()
	d.SP()
	if d.Peek() == '(' {
		l.extended = true
		d.List(func() { l.pattern(d) })
	} else {
		l.pattern(d)
	}
	if d.AcceptSP() {
		l.extended = true
		if d.Word() != "RETURN" {
			d.Fail("Expected RETURN")
		}
		d.SP()
		d.List(func() { l.returns(d) })
	}
	d.End()
	return task{shared: !slices.Contains(l.status, "HIGHESTMODSEQ"), run: func(ctx context.Context) (string, error) { return c.list(ctx, &l) }}
}

// parseLsub is LSUB of RFC 3501.
func (c *conn) parseLsub(d *wire.Decoder) task {
	l := listing{lsub: true, subscribed: true}
	d.SP()
	l.reference = d.Mailbox()
	d.SP()
	l.pattern(d)
	d.End()
	return task{shared: true, run: func(ctx context.Context) (string, error) { return c.list(ctx, &l) }}
}

func (l *listing) pattern(d *wire.Decoder) {
	p := d.ListPattern()
	l.patterns = append(l.patterns, p)
	if l.octets += len(l.reference) + len(p); len(l.patterns) > maxPatterns || l.octets > maxPatternOctets {
		d.Fail("Too many patterns")
	}
}

// selection reads a selection option.
func (l *listing) selection(d *wire.Decoder) {
	switch d.Word() {
	case "SUBSCRIBED":
		l.subscribed, l.tellSubscribed = true, true
	case "REMOTE":
		// adds remote mailboxes, of which there are none
	case "SPECIAL-USE":
		l.specialUse = true
	case "RECURSIVEMATCH":
		l.recursive = true
	default:
		d.Fail("Unknown selection option")
	}
}

// returns reads a return option. Children and special use are told always.
func (l *listing) returns(d *wire.Decoder) {
	switch d.Word() {
	case "SUBSCRIBED":
		l.tellSubscribed = true
	case "CHILDREN", "SPECIAL-USE":
	case "MYRIGHTS":
		l.tellRights = true
	case "STATUS":
		d.SP()
		l.status = statusItems(d)
	case "METADATA":
		d.SP()
		if l.metadata.read(d); len(l.metadata.entries) == 0 {
			d.Fail("Expected entries")
		}
	default:
		d.Fail("Unknown return option")
	}
}

// list answers LIST and LSUB.
func (c *conn) list(ctx context.Context, l *listing) (string, error) {
	if !l.extended && l.patterns[0] == "" {
		c.tellRoot(l)
		return "", nil
	}
	c.statusEnables(l.status)
	var ps patterns
	for _, text := range l.patterns {
		ps = append(ps, newPattern(l.reference, text))
	}
	all, err := c.catalogue(ctx, l.subscribed || l.tellSubscribed)
	if err != nil {
		return "", err
	}
	if err := all.choose(ctx, l, ps); err != nil {
		return "", err
	}
	for _, e := range all.sorted() {
		if e.matched && (e.chosen || e.leads && l.leads()) {
			if err := c.tellEntry(ctx, l, e); err != nil {
				return "", err
			}
		}
	}
	return "", nil
}

// leads tells whether names are given that are not chosen themselves, but lead
// to one that is and that no pattern fits.
func (l *listing) leads() bool {
	return l.recursive || l.lsub || !l.subscribed && !l.specialUse
}

// tellRoot gives the separator and the root of a reference.
func (c *conn) tellRoot(l *listing) {
	verb, root := "LIST", ""
	if l.lsub {
		verb = "LSUB"
	}
	if len(l.reference) > len(others) && l.reference[:len(others)+1] == others+"/" {
		root = others + "/"
	}
	c.line("* " + verb + ` (\Noselect) "/" "` + root + `"`)
}

// tellEntry writes LIST for one name and what was asked for with it.
func (c *conn) tellEntry(ctx context.Context, l *listing, e *entry) error {
	err := c.respond(func(w *wire.Encoder) error {
		if l.lsub {
			w.Raw("* LSUB ")
		} else {
			w.Raw("* LIST ")
		}
		w.List(l.attributes(e, c.enabled.rev2))
		w.Raw(` "/" `)
		w.Mailbox(e.name)
		if l.recursive && e.below {
			w.Raw(` ("CHILDINFO" (`)
			w.Raw(l.childInfo())
			w.Raw("))")
		}
		return nil
	})
	if err != nil || e.folder.ID == 0 || l.lsub {
		return err
	}
	return c.tellMore(ctx, l, e)
}

// tellMore writes what LIST was asked to return with a mailbox. What the user
// has no right to is left out.
func (c *conn) tellMore(ctx context.Context, l *listing, e *entry) error {
	if l.tellRights {
		if err := c.tellMyRights(e.name, e.rights); err != nil {
			return err
		}
	}
	if len(l.metadata.entries) > 0 && e.rights&annotated != 0 {
		have, err := c.annotationsOf(ctx, e.folder, e.rights)
		if err != nil {
			return err
		}
		told, _ := l.metadata.choose(have)
		if err := c.tellMetadata(e.name, told); err != nil {
			return err
		}
	}
	if len(l.status) > 0 && e.rights&mailbox.ReadRight != 0 {
		return c.tellStatus(ctx, e.name, e.folder, l.status)
	}
	return nil
}

// childInfo names the selection options that something below a name fulfils.
func (l *listing) childInfo() string {
	switch {
	case l.subscribed && l.specialUse:
		return `"SUBSCRIBED" "SPECIAL-USE"`
	case l.specialUse:
		return `"SPECIAL-USE"`
	}
	return `"SUBSCRIBED"`
}

// attributes gives the attributes of a name (RFC 9051 section 7.3.1). Who asks
// in the old way hears \Noselect, too: it need not know \NonExistent.
func (l *listing) attributes(e *entry, rev2 bool) (words []string) {
	if l.lsub {
		if !e.chosen {
			words = append(words, `\Noselect`)
		}
		return words
	}
	if e.folder.ID == 0 {
		words = append(words, `\NonExistent`)
		if !l.extended && !rev2 {
			words = append(words, `\Noselect`)
		}
	}
	if e.children {
		words = append(words, `\HasChildren`)
	} else if e.folder.ID != 0 {
		words = append(words, `\HasNoChildren`)
	}
	if l.tellSubscribed && e.subscribed {
		words = append(words, `\Subscribed`)
	}
	if e.use() != "" {
		words = append(words, `\`+e.use())
	}
	return words
}
