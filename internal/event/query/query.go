// Package query is the small language in which people search events.
//
// A query is words separated by spaces; all of them must be met.
//
//	from:taro@example.jp  to:@example.jp  ip:192.0.2.0/24  subject:invoice
//	id:ywd6h4yczhzk99wy   code:5xx        kind:rcpt        verdict:defer
//	since:2h  until:2026-11-25T14:00  -node:mx2  "mailbox is full"  code:451 or code:452
//
// FIELD:VALUE looks at one field of the events; from, to, account and actor
// take an address, a local part, @domain, or a pattern with *; ip an address or a network; id
// anything by which a message is known; code a reply code, 4xx or an enhanced
// code; verdict the verdict, its reason or its truth; subject and free words
// whole words, in small letters or capitals, and with *…* parts of words. Other fields are compared whole, or by a pattern with
// *. A minus before a word turns it round, or between two of them means either.
// Values with spaces stand in double quotes. Times are a span before now, a
// date, a date with a time, today or yesterday, in the time zone of the reader.
// logsql: takes the rest of the line as a filter of LogsQL.
//
// A query is at once text of LogsQL, for the log store, and a function of one
// event, for journals; both mean the same.
package query

import (
	"fmt"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
)

// maxQuery is the longest query, in octets.
const maxQuery = 4096

// Query is a query that was understood.
type Query struct {
	Text string // as it was written
	Span logstore.Span

	any [][]test // either of which, all of whose tests are met
	raw string   // LogsQL given by hand
}

// test is one word of a query.
type test struct {
	logsql string
	meets  func(*event.Event) bool
}

// Error tells what of a query was not understood.
type Error struct {
	Word string
	Why  string
}

func (e *Error) Error() string { return fmt.Sprintf("%q: %s", e.Word, e.Why) }

// Parse reads a query at a time. Its error is an *Error.
func Parse(text string, now time.Time) (*Query, error) {
	if len(text) > maxQuery {
		return nil, &Error{text[:20] + "…", fmt.Sprintf("a query has %d octets at most", maxQuery)}
	}
	q := &Query{Text: text, any: make([][]test, 1)}
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		if raw, ok := strings.CutPrefix(rest, "logsql:"); ok {
			q.raw = strings.TrimSpace(raw)
			return q, checkRaw(q.raw)
		}
		w, after, err := nextWord(rest)
		if err != nil {
			return nil, err
		}
		rest = after
		if err := q.add(w, now); err != nil {
			return nil, err
		}
	}
	if len(q.any) > 1 && len(q.any[len(q.any)-1]) == 0 {
		return nil, &Error{"or", "nothing stands behind it"}
	}
	return q, nil
}

// word is one word of the text.
type word struct {
	text   string // as written
	not    bool
	field  string // empty: a free word
	value  string
	quoted bool
}

// nextWord takes a word from the text.
func nextWord(text string) (w word, rest string, err error) {
	var value strings.Builder
	quoted := false
	i := 0
	for ; i < len(text) && (quoted || text[i] != ' ' && text[i] != '\t' && text[i] != '\n'); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
			w.quoted = true
		case c == '\\' && quoted && i+1 < len(text):
			i++
			value.WriteByte(text[i])
		case c == ':' && !quoted && w.field == "" && !w.quoted && isFieldName(strings.TrimPrefix(value.String(), "-")):
			w.field, w.not = strings.ToLower(strings.TrimPrefix(value.String(), "-")), strings.HasPrefix(value.String(), "-")
			value.Reset()
		default:
			value.WriteByte(c)
		}
	}
	w.text, w.value = text[:i], value.String()
	if quoted {
		return w, "", &Error{w.text, "the closing quote is missing"}
	}
	if w.field == "" && text[0] != '"' && strings.HasPrefix(w.value, "-") && len(w.value) > 1 {
		w.not, w.value = true, w.value[1:]
	}
	if w.value == "" {
		return w, "", &Error{w.text, "there is nothing to look for"}
	}
	return w, text[i:], nil
}

func isFieldName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' {
			return false
		}
	}
	return s != ""
}

// add takes a word into the query.
func (q *Query) add(w word, now time.Time) error {
	last := &q.any[len(q.any)-1]
	switch {
	case w.field == "" && !w.quoted && strings.EqualFold(w.value, "or"):
		if len(*last) == 0 {
			return &Error{w.text, "nothing stands before it"}
		}
		q.any = append(q.any, nil)
		return nil
	case w.field == "since" || w.field == "until":
		return q.bound(w, now)
	}
	t, err := compile(w)
	if err != nil {
		return err
	}
	if w.not {
		meets := t.meets
		t = test{"!(" + t.logsql + ")", func(e *event.Event) bool { return !meets(e) }}
	}
	*last = append(*last, t)
	return nil
}

// bound takes since and until.
func (q *Query) bound(w word, now time.Time) error {
	from, to, err := ParseTime(w.value, now)
	switch {
	case err != nil:
		return &Error{w.text, err.Error()}
	case w.not:
		return &Error{w.text, "a time cannot be turned round"}
	case w.field == "since":
		q.Span.From = from
	default:
		q.Span.To = to
	}
	return nil
}

// Within gives the query bounded by a time span, as far as it has no bounds of
// its own.
func (q *Query) Within(span logstore.Span) *Query {
	bounded := *q
	if bounded.Span.From.IsZero() {
		bounded.Span.From = span.From
	}
	if bounded.Span.To.IsZero() {
		bounded.Span.To = span.To
	}
	return &bounded
}

// LogsQL gives the query as a filter for the log store, without its time span.
func (q *Query) LogsQL() string {
	if q.raw != "" {
		return q.raw
	}
	var either []string
	for _, all := range q.any {
		var parts []string
		for _, t := range all {
			parts = append(parts, t.logsql)
		}
		if len(parts) > 0 {
			either = append(either, strings.Join(parts, " "))
		}
	}
	switch len(either) {
	case 0:
		return "*"
	case 1:
		return either[0]
	}
	return "(" + strings.Join(either, ") or (") + ")"
}

// Raw tells whether the query is LogsQL, which only a log store understands.
func (q *Query) Raw() bool { return q.raw != "" }

// Match tells whether an event meets the query and lies within its time span.
func (q *Query) Match(e *event.Event) bool {
	if e.Time.Before(q.Span.From) || !q.Span.To.IsZero() && !e.Time.Before(q.Span.To) {
		return false
	}
	for _, all := range q.any {
		met := true
		for _, t := range all {
			met = met && t.meets(e)
		}
		if met {
			return true
		}
	}
	return false
}
