package order

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// Threads are messages in trees.
type Threads struct {
	roots []*node
}

// node is a message, or with number 0 a dummy that holds messages together
// whose parent is missing. Dummies stand at the top only.
type node struct {
	number  uint32
	place   int32 // in the order of sequence numbers
	reply   bool
	sent    int64
	subject string // base subject, collated
	kids    []*node
}

// first is the message that a thread is sorted by and named after.
func (n *node) first() *node {
	if n.number == 0 {
		return n.kids[0]
	}
	return n
}

// bySent compares by the sent date, then by sequence number.
func bySent(a, b *node) int {
	a, b = a.first(), b.first()
	if c := cmp.Compare(a.sent, b.sent); c != 0 {
		return c
	}
	return cmp.Compare(a.place, b.place)
}

// maxReferences bounds the identifiers that a thread is made of, beyond the
// last few of each message: see Threader.references.
const (
	maxReferences  = 2_000_000
	lastReferences = 2
)

// Threader makes threads of messages. Its memory is the identifiers and
// subjects of the messages and a few words for each.
type Threader struct {
	byReference bool
	nodes       []node
	ids         map[string]int32 // place in table by identifier
	table       []container
	references  int
}

// container stands for an identifier (the ID table of RFC 5256 section 3).
type container struct {
	message int32 // place in nodes, -1 for none: a dummy
	parent  int32 // place in table, -1 for none
	kids    int32 // how many
}

// NewThreader begins threads by References (THREAD=REFERENCES), or else by
// subject alone (THREAD=ORDEREDSUBJECT).
func NewThreader(byReference bool) *Threader {
	return &Threader{byReference: byReference, ids: map[string]int32{}}
}

// Add adds a message. Messages must come in the order of their sequence
// numbers.
func (t *Threader) Add(m Message) {
	e := m.envelope()
	base, reply := BaseSubject(mail.DecodeText(e.Subject))
	t.nodes = append(t.nodes, node{
		number: m.Number, place: int32(len(t.nodes)), reply: reply, sent: m.sent(), subject: strings.Clone(Collate(base)),
	})
	if t.byReference {
		t.link(m)
	}
}

// link is step 1: the message under the last of its references, and these
// under each other.
func (t *Threader) link(m Message) {
	here := t.own(m.envelope().MessageID)
	parent := int32(-1)
	for _, id := range t.referred(m) {
		next := t.container(id)
		if parent >= 0 && t.table[next].parent < 0 && !t.within(parent, next) { // 1.A
			t.setParent(next, parent)
		}
		parent = next
	}
	t.setParent(here, -1) // 1.B
	if parent >= 0 && !t.within(parent, here) {
		t.setParent(here, parent)
	}
}

// own gives the container of a message, a new one when another message has its
// identifier already or it has none.
func (t *Threader) own(messageID string) int32 {
	message := int32(len(t.nodes) - 1)
	if ids := mail.MessageIDs(messageID); len(ids) > 0 {
		c := t.container(plainID(ids[0]))
		if t.table[c].message < 0 {
			t.table[c].message = message
			return c
		}
	}
	t.table = append(t.table, container{message: message, parent: -1})
	return int32(len(t.table) - 1)
}

func (t *Threader) container(id string) int32 {
	if c, ok := t.ids[id]; ok {
		return c
	}
	c := int32(len(t.table))
	t.table = append(t.table, container{message: -1, parent: -1})
	t.ids[strings.Clone(id)] = c
	return c
}

// referred gives the references of a message, the oldest first. When all
// messages together have more than anybody could have written, only the last
// ones of each still count.
func (t *Threader) referred(m Message) []string {
	var ids []string
	if m.Outline != nil {
		ids = slices.Clone(m.Outline.References)
	}
	if len(ids) == 0 {
		if ids = mail.MessageIDs(m.envelope().InReplyTo); len(ids) > 1 {
			ids = ids[:1]
		}
	}
	if t.references += len(ids); t.references > maxReferences {
		ids = ids[max(0, len(ids)-lastReferences):]
	}
	for i, id := range ids {
		ids[i] = plainID(id)
	}
	return ids
}

// plainID takes needless quotes off the left side of a message identifier
// (RFC 5256 section 2.2 wants identifiers compared by what they mean).
func plainID(id string) string {
	if !strings.HasPrefix(id, `<"`) {
		return id
	}
	quoted, domain, ok := strings.Cut(id[2:], `"@`)
	if !ok || strings.ContainsAny(quoted, "\" ()<>@,;:[]") {
		return id
	}
	return "<" + strings.ReplaceAll(quoted, `\`, "") + "@" + domain
}

// within tells whether c is root or somewhere under it.
func (t *Threader) within(c, root int32) bool {
	if c == root {
		return true
	}
	if t.table[root].kids == 0 {
		return false
	}
	for c >= 0 && c != root {
		c = t.table[c].parent
	}
	return c == root
}

func (t *Threader) setParent(c, parent int32) {
	if old := t.table[c].parent; old >= 0 {
		t.table[old].kids--
	}
	t.table[c].parent = parent
	if parent >= 0 {
		t.table[parent].kids++
	}
}

// Threads gives the threads of all messages that were added.
func (t *Threader) Threads() *Threads {
	nodes := make([]*node, len(t.nodes))
	for i := range t.nodes {
		nodes[i] = &t.nodes[i]
	}
	if !t.byReference {
		return orderedSubject(nodes)
	}
	slices.SortFunc(nodes, bySent)
	roots := mergeSubjects(t.prune(nodes))
	slices.SortFunc(roots, bySent) // step 6
	return &Threads{roots}
}

// prune is steps 2 to 4. It drops dummies, but those at the top that hold
// several messages together. As nodes are sorted, all kids are.
func (t *Threader) prune(nodes []*node) (roots []*node) {
	home := make([]int32, len(t.nodes)) // container of a message
	for c, in := range t.table {
		if in.message >= 0 {
			home[in.message] = int32(c)
		}
	}
	groups := map[int32]*node{}
	above := t.above()
	for _, n := range nodes {
		c := above[home[n.place]]
		switch {
		case c < 0:
			roots = append(roots, n)
		case t.table[c].message >= 0:
			p := &t.nodes[t.table[c].message]
			p.kids = append(p.kids, n)
		default:
			if groups[c] == nil {
				groups[c] = &node{}
				roots = append(roots, groups[c])
			}
			groups[c].kids = append(groups[c].kids, n)
		}
	}
	for i, n := range roots {
		if n.number == 0 && len(n.kids) == 1 {
			roots[i] = n.kids[0]
		}
	}
	return roots
}

// above gives for each container the nearest one above that has a message, or
// else the topmost dummy above, or -1.
func (t *Threader) above() []int32 {
	const unknown = -2
	out := make([]int32, len(t.table))
	for i := range out {
		out[i] = unknown
	}
	var way []int32
	for c := range t.table {
		at := int32(c)
		for way = way[:0]; at >= 0 && out[at] == unknown; at = t.table[at].parent {
			way = append(way, at)
		}
		for _, w := range slices.Backward(way) {
			p := t.table[w].parent
			switch {
			case p < 0:
				out[w] = -1
			case t.table[p].message >= 0 || out[p] < 0:
				out[w] = p
			default:
				out[w] = out[p]
			}
		}
	}
	return out
}

// mergeSubjects is step 5: threads of one subject become one.
func mergeSubjects(roots []*node) []*node {
	table := map[string]*node{}
	for _, n := range roots { // 5.B
		subject := n.first().subject
		if subject == "" {
			continue
		}
		old := table[subject]
		if old == nil || old.number != 0 && (n.number == 0 || old.reply && !n.reply) {
			table[subject] = n
		}
	}
	m := merger{table: table, moved: map[*node]bool{}, grown: map[*node]bool{}}
	for _, n := range roots { // 5.C
		if subject := n.first().subject; subject != "" && table[subject] != n && !m.moved[n] {
			m.merge(n, table[subject], subject)
		}
	}
	out := slices.DeleteFunc(append(roots, m.made...), func(n *node) bool { return m.moved[n] })
	for n := range m.grown {
		slices.SortFunc(n.kids, bySent)
	}
	return out
}

// merger is what step 5 changed.
type merger struct {
	table map[string]*node // thread by subject
	moved map[*node]bool   // no longer at the top
	grown map[*node]bool   // got kids
	made  []*node          // dummies
}

// merge puts thread n together with the one of its subject in the table.
func (m *merger) merge(n, old *node, subject string) {
	m.moved[n] = true
	switch {
	case old.number == 0 && n.number == 0:
		old.kids = append(old.kids, n.kids...)
	case old.number == 0, n.reply && !old.reply:
		old.kids = append(old.kids, n)
	default:
		m.moved[old] = true
		dummy := &node{kids: []*node{old, n}}
		m.made = append(m.made, dummy)
		m.table[subject], old = dummy, dummy
	}
	m.grown[old] = true
}

// orderedSubject makes threads of the messages of one subject, the others
// below the first (RFC 5256 section 3, ORDEREDSUBJECT).
func orderedSubject(nodes []*node) *Threads {
	slices.SortFunc(nodes, bySent)
	first := map[string]*node{}
	t := &Threads{}
	for _, n := range nodes {
		if f := first[n.subject]; f != nil {
			f.kids = append(f.kids, n)
			continue
		}
		first[n.subject] = n
		t.roots = append(t.roots, n)
	}
	return t
}

// Append writes threads as THREAD has them (RFC 5256 section 4): nothing when
// there are none.
func (t *Threads) Append(b []byte) []byte {
	for _, n := range t.roots {
		b = n.append(append(b, '('))
		b = append(b, ')')
	}
	return b
}

// append writes a message and what is below it. Only where a thread branches
// does it call itself.
func (n *node) append(b []byte) []byte {
	for {
		if n.number != 0 {
			b = strconv.AppendUint(b, uint64(n.number), 10)
		}
		switch {
		case len(n.kids) == 0:
			return b
		case n.number != 0:
			b = append(b, ' ')
		}
		if len(n.kids) > 1 {
			for _, k := range n.kids {
				b = k.append(append(b, '('))
				b = append(b, ')')
			}
			return b
		}
		n = n.kids[0]
	}
}
