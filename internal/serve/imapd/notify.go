package imapd

import (
	"context"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// notifyCommands are NOTIFY (RFC 5465).
var notifyCommands = map[string]command{
	"NOTIFY": {after, (*conn).parseNotify},
}

// events is a set of what may be told (RFC 5465 section 5).
type events uint8

const (
	messageNew events = 1 << iota
	messageExpunge
	flagChange
	mailboxName
	subscriptionChange
	mailboxMetadataChange
	serverMetadataChange

	messageEvents = messageNew | messageExpunge | flagChange
)

// eventNames are the events in the order of their bits. AnnotationChange is not
// among them: messages have no annotations.
var eventNames = []string{"MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange",
	"MailboxMetadataChange", "ServerMetadataChange"}

func eventNamed(word string) events {
	for i, name := range eventNames {
		if strings.EqualFold(name, word) {
			return 1 << i
		}
	}
	return 0
}

// errBadEvent refuses events that are not there (RFC 5465 section 3.1).
var errBadEvent = no("BADEVENT ("+strings.Join(eventNames, " ")+")", "Unknown event")

// errOverflow refuses to watch as much as that (RFC 5465 section 5.8).
var errOverflow = no("NOTIFICATIONOVERFLOW", "That is too much to watch")

// Bounds of one NOTIFY.
const (
	maxNotified = 1000 // names
	maxGroups   = 100
)

// filter says which mailboxes a group means (RFC 5465 section 6).
type filter uint8

const (
	ofSelected filter = iota
	ofSelectedDelayed
	ofPersonal
	ofSubscribed
	ofSubtree
	ofMailboxes
)

// filters by name. A rule may deliver to any mailbox of the user, so that
// INBOXES is PERSONAL (section 6.3).
var filters = map[string]filter{"SELECTED": ofSelected, "SELECTED-DELAYED": ofSelectedDelayed, "INBOXES": ofPersonal,
	"PERSONAL": ofPersonal, "SUBSCRIBED": ofSubscribed, "SUBTREE": ofSubtree, "MAILBOXES": ofMailboxes}

// eventGroup is events of some mailboxes.
type eventGroup struct {
	filter filter
	names  map[string]bool // of SUBTREE and MAILBOXES
	events events
	items  *fetching // that are told of a new message; nil: none
}

// selects tells whether the group is about the selected mailbox.
func (g *eventGroup) selects() bool { return g.filter <= ofSelectedDelayed }

// matches tells whether the group means a mailbox that is not selected.
func (g *eventGroup) matches(name string, shared, subscribed bool) bool {
	switch g.filter {
	case ofPersonal:
		return !shared
	case ofSubscribed:
		return subscribed
	case ofSubtree:
		for up := name; up != ""; up = parent(up) {
			if g.names[up] {
				return true
			}
		}
	}
	return g.names[name]
}

// wishes are what NOTIFY SET asks for.
type wishes struct {
	status  bool // STATUS at the beginning
	groups  []eventGroup
	names   int
	unknown bool // an event among them is not known
}

func (c *conn) parseNotify(d *wire.Decoder) task {
	d.SP()
	switch d.Word() {
	case "NONE":
		d.End()
		return task{run: func(context.Context) (string, error) {
			c.notifyAs(&watching{})
			return "", nil
		}}
	case "SET":
		q := &wishes{}
		d.SP()
		if d.Peek() != '(' {
			if d.Word() != "STATUS" {
				d.Fail("Expected STATUS or a group of events")
			}
			q.status = true
			d.SP()
		}
		for q.group(d); d.AcceptSP(); {
			q.group(d)
		}
		d.End()
		return task{run: func(ctx context.Context) (string, error) { return "", c.notifySet(ctx, q) }}
	}
	d.Fail("Expected SET or NONE")
	return task{}
}

// group reads one group of events.
func (q *wishes) group(d *wire.Decoder) {
	g := eventGroup{names: map[string]bool{}}
	d.Expect('(')
	f, known := filters[d.Word()]
	if !known {
		d.Fail("Unknown filter of mailboxes")
	}
	g.filter = f
	if f == ofSubtree || f == ofMailboxes {
		d.SP()
		q.mailboxes(d, &g)
	}
	d.SP()
	if d.Peek() != '(' {
		if d.Word() != "NONE" {
			d.Fail("Expected events or NONE")
		}
	} else {
		d.List(func() { q.event(d, &g) })
		g.check(d, q)
	}
	d.Expect(')')
	if g.selects() && slices.ContainsFunc(q.groups, func(o eventGroup) bool { return o.selects() }) {
		d.Fail("The selected mailbox is named once only")
	}
	q.groups = append(q.groups, g)
}

func (q *wishes) mailboxes(d *wire.Decoder, g *eventGroup) {
	one := func() {
		name := d.Mailbox()
		if q.names++; q.names <= maxNotified { // notifySet refuses the rest
			g.names[name] = true
		}
	}
	if d.Peek() != '(' {
		one()
		return
	}
	if d.List(one); len(g.names) == 0 && q.names <= maxNotified {
		d.Fail("Expected mailboxes")
	}
}

// event reads one event, and what is to be told of a new message.
func (q *wishes) event(d *wire.Decoder, g *eventGroup) {
	e := eventNamed(d.Word())
	g.events |= e
	q.unknown = q.unknown || e == 0
	if e != messageNew || !listFollows(d) {
		return
	}
	if !g.selects() {
		d.Fail("Only new messages of the selected mailbox are fetched")
	}
	d.SP()
	g.items = parseNewItems(d)
}

// listFollows tells whether a space and a list come next, where a space may
// also stand before something else.
func listFollows(d *wire.Decoder) bool {
	if d.Peek() != ' ' {
		return false
	}
	b, err := d.R.Peek(2)
	return err == nil && b[1] == '('
}

// parseNewItems reads what is to be told of new messages. They are not marked
// as read by that.
func parseNewItems(d *wire.Decoder) *fetching {
	f := &fetching{since: -1}
	d.List(func() {
		f.parseItem(d, d.Word())
		f.parseLazy(d)
	})
	if len(f.items) == 0 {
		d.Fail("Nothing to fetch")
	}
	return f
}

// check refuses events that do not go together (RFC 5465 sections 5 and 6.1).
func (g *eventGroup) check(d *wire.Decoder, q *wishes) {
	both := messageNew | messageExpunge
	switch {
	case q.unknown: // it will be refused for that
	case g.events == 0:
		d.Fail("Expected events")
	case g.selects() && g.events&^messageEvents != 0:
		d.Fail("The selected mailbox has message events only")
	case g.events&messageEvents != 0 && g.events&both != both:
		d.Fail("MessageNew and MessageExpunge go together, FlagChange goes with both")
	}
}

// notifySet carries out NOTIFY SET. When it is refused, what was asked for
// before holds on.
func (c *conn) notifySet(ctx context.Context, q *wishes) error {
	switch {
	case q.unknown:
		return errBadEvent
	case q.names > maxNotified, len(q.groups) > maxGroups:
		return errOverflow
	}
	w := &watching{}
	for _, g := range q.groups {
		if g.selects() {
			w.selected, w.immediate, w.items = g.events, g.filter == ofSelected, g.items
			continue
		}
		names := make(map[string]bool, len(g.names))
		for name := range g.names {
			name = c.notifiedName(ctx, name)
			names[name] = true
			w.shared = w.shared || strings.HasPrefix(name+"/", others+"/")
		}
		g.names = names
		w.shared = w.shared || g.filter == ofSubscribed
		w.groups, w.any = append(w.groups, g), w.any|g.events
	}
	if err := w.begin(ctx, c, q.status); err != nil {
		w.end()
		return err
	}
	c.notifyAs(w)
	if w.items != nil && w.items.modseq {
		c.enabled.condstore = true
	}
	if c.sel != nil {
		c.sel.owed = true // what came before is told now (section 3.1)
	}
	c.stir()
	return nil
}

// notifiedName gives a name as LIST does. What is no name of a mailbox matches
// none.
func (c *conn) notifiedName(ctx context.Context, name string) string {
	at, err := c.locate(ctx, name)
	if err == nil {
		return at.shown()
	}
	if normal, err := mailbox.NormalName(name); err == nil {
		return normal // a level above mailboxes of others
	}
	return name
}

// notifyAs watches what w says in place of what was watched before.
func (c *conn) notifyAs(w *watching) {
	if c.watching != nil {
		c.watching.end()
	}
	c.watching = w
	c.push.notifying.Store(w != nil && (w.selected|w.any) != 0)
}

// heard gives the events of the selected mailbox that the client wants to hear
// of. Before the first NOTIFY that is all there are (RFC 5465 section 3.1).
func (c *conn) heard() events {
	if c.watching == nil {
		return messageEvents
	}
	return c.watching.selected
}
