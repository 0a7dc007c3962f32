// Package order puts messages in the order that SORT asks for (RFC 5256
// section 3, RFC 5957) and into the threads of THREAD. It is given what is
// known of each message, one after the other by their sequence numbers, and
// knows no store.
//
// # Text
//
// Subjects, names and addresses are decoded, then compared as i;unicode-casemap
// does (RFC 5051): Collate makes octets that compare so.
//
// # Threads
//
// References follows RFC 5256 section 3 step by step; thread.go names the
// steps. Every message that was added stands in the threads exactly once,
// whatever its References say.
package order

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mail/outline"
)

// Message is what order is told of a message.
type Message struct {
	Number  uint32 // by which it is named in the result
	Arrival time.Time
	Size    int64
	Outline *outline.Outline // nil is as if its header were empty
}

// sent is the sent date of RFC 5256 section 2.2.
func (m *Message) sent() int64 {
	if m.Outline == nil || m.Outline.Sent.IsZero() {
		return m.Arrival.Unix()
	}
	return m.Outline.Sent.Unix()
}

// envelope of m, an empty one where there is none.
func (m *Message) envelope() *outline.Envelope {
	if m.Outline == nil {
		return &outline.Envelope{}
	}
	return &m.Outline.Envelope
}

// Key is a sort key.
type Key uint8

// The keys of RFC 5256 and RFC 5957.
const (
	Arrival Key = iota
	Cc
	Date
	From
	Size
	Subject
	To
	DisplayFrom
	DisplayTo
)

// keys by their names.
var keys = map[string]Key{"ARRIVAL": Arrival, "CC": Cc, "DATE": Date, "FROM": From, "SIZE": Size, "SUBJECT": Subject,
	"TO": To, "DISPLAYFROM": DisplayFrom, "DISPLAYTO": DisplayTo}

// KeyNamed gives the key of that name, in capitals.
func KeyNamed(name string) (Key, bool) {
	k, ok := keys[name]
	return k, ok
}

// Criterion is a key and its direction.
type Criterion struct {
	Key     Key
	Reverse bool
}

// NeedsOutline tells whether messages must be added with their outlines.
func NeedsOutline(criteria []Criterion) bool {
	return slices.ContainsFunc(criteria, func(c Criterion) bool { return c.Key != Arrival && c.Key != Size })
}

// Sorter sorts messages. Its memory is a few words a message and the text that
// is sorted by.
type Sorter struct {
	columns []column
	numbers []uint32
}

// column holds one criterion of all messages: numbers or text.
type column struct {
	Criterion
	numbers []int64
	texts   []string
}

// NewSorter begins a sort by criteria, the first of them first.
func NewSorter(criteria []Criterion) *Sorter {
	s := &Sorter{}
	for _, c := range criteria {
		s.columns = append(s.columns, column{Criterion: c})
	}
	return s
}

// Add adds a message.
func (s *Sorter) Add(m Message) {
	s.numbers = append(s.numbers, m.Number)
	for i := range s.columns {
		s.columns[i].add(&m)
	}
}

func (c *column) add(m *Message) {
	e := m.envelope()
	switch c.Key {
	case Arrival:
		c.numbers = append(c.numbers, m.Arrival.UnixMilli())
	case Date:
		c.numbers = append(c.numbers, m.sent())
	case Size:
		c.numbers = append(c.numbers, m.Size)
	case Subject:
		base, _ := BaseSubject(mail.DecodeText(e.Subject))
		c.texts = append(c.texts, strings.Clone(Collate(base)))
	case From:
		c.texts = append(c.texts, strings.Clone(mailboxOf(e.From)))
	case To:
		c.texts = append(c.texts, strings.Clone(mailboxOf(e.To)))
	case Cc:
		c.texts = append(c.texts, strings.Clone(mailboxOf(e.Cc)))
	case DisplayFrom:
		c.texts = append(c.texts, strings.Clone(displayOf(e.From)))
	case DisplayTo:
		c.texts = append(c.texts, strings.Clone(displayOf(e.To)))
	}
}

func (c *column) compare(a, b int) int {
	n := 0
	if c.texts != nil {
		n = strings.Compare(c.texts[a], c.texts[b])
	} else {
		n = cmp.Compare(c.numbers[a], c.numbers[b])
	}
	if c.Reverse {
		return -n
	}
	return n
}

// Numbers gives the numbers of the messages, sorted. Where the criteria find no
// difference the smaller number comes first.
func (s *Sorter) Numbers() []uint32 {
	places := make([]int, len(s.numbers))
	for i := range places {
		places[i] = i
	}
	slices.SortFunc(places, func(a, b int) int {
		for i := range s.columns {
			if n := s.columns[i].compare(a, b); n != 0 {
				return n
			}
		}
		return cmp.Compare(s.numbers[a], s.numbers[b])
	})
	out := make([]uint32, len(places))
	for i, p := range places {
		out[i] = s.numbers[p]
	}
	return out
}

// Collate gives octets that compare as i;unicode-casemap compares s (RFC 5051
// section 2): title case, then decomposed as far as Unicode has it.
func Collate(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return norm.NFKD.String(strings.Map(unicode.ToTitle, s))
		}
	}
	return strings.ToUpper(s)
}
