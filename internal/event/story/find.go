package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/event/query"
	"github.com/migiwa/migiwa/internal/mail"
)

// Finder finds the stories that people ask for.
type Finder struct {
	Archive *archive.Archive

	// See gives what of a trace's events may be seen; nil: all. What it leaves
	// out is as if it had not happened.
	See func([]event.Event) []event.Event
}

const (
	maxHits   = 2000   // events that a question may find
	maxTraces = 50     // traces that are looked at for it
	maxEvents = 20_000 // events of one trace
	maxNodes  = 8      // hand-overs that are followed
)

// ErrNothing says that nothing is known of what was asked for.
var ErrNothing = errors.New("nothing is known of it")

// Find gives the stories that a question asks for, the newest first: an ID of
// any sort, or words such as "from taro@example.jp to hanako yesterday".
func (f *Finder) Find(ctx context.Context, question string, now time.Time) ([]*Story, archive.Result, error) {
	text, number := Question(question)
	q, err := query.Parse(text, now)
	if err != nil {
		return nil, archive.Result{}, err
	}
	var traces []mail.TraceID
	r, err := f.Archive.Find(ctx, q, maxHits, func(e event.Event) error {
		if e.Trace != "" && e.Kind != event.Search && len(traces) < maxTraces && !slices.Contains(traces, e.Trace) {
			traces = append(traces, e.Trace)
		}
		return nil
	})
	if err != nil {
		return nil, r, err
	}
	var found []*Story
	for _, t := range traces {
		stories, err := f.trace(ctx, t, map[mail.TraceID]bool{})
		if err != nil {
			return nil, r, err
		}
		for _, s := range stories {
			same := func(o *Story) bool { return o.Trace == s.Trace && o.Number == s.Number } // found from another node
			if s.meets(q) && (number == 0 || s.Number == number) && !slices.ContainsFunc(found, same) {
				found = append(found, s)
			}
		}
	}
	if found = apart(found); len(found) == 0 {
		return nil, r, fmt.Errorf("%q: %w", question, ErrNothing)
	}
	return found, r, nil
}

// apart leaves out stories that are part of another: those of the node that
// took a message over.
func apart(stories []*Story) []*Story {
	inner := map[mail.TraceID]bool{}
	for _, s := range stories {
		for _, t := range s.Sentences {
			if t.Event.Trace != s.Trace {
				inner[t.Event.Trace] = true
			}
		}
	}
	var kept []*Story
	for _, s := range stories {
		if !inner[s.Trace] {
			kept = append(kept, s)
		}
	}
	return kept
}

// trace gives the stories of a trace, from the node where the message came in.
func (f *Finder) trace(ctx context.Context, id mail.TraceID, visited map[mail.TraceID]bool) ([]*Story, error) {
	if visited[id] || len(visited) >= maxNodes {
		return nil, nil
	}
	visited[id] = true
	events, err := f.events(ctx, fmt.Sprintf("trace:%q or session:%q", id, id))
	if err != nil {
		return nil, err
	}
	stories := Stories(events)
	for _, s := range stories {
		for _, t := range slices.Clone(s.Sentences) {
			next, err := f.trace(ctx, t.Event.Next, visited)
			if t.Event.Next == "" || err != nil {
				continue
			}
			for _, n := range next {
				s.join(n)
			}
		}
	}
	return f.before(ctx, id, stories, visited)
}

// before puts the stories of nodes that handed the message over in front.
func (f *Finder) before(ctx context.Context, id mail.TraceID, stories []*Story, visited map[mail.TraceID]bool) ([]*Story, error) {
	handed, err := f.events(ctx, fmt.Sprintf("next:%q", id))
	if err != nil {
		return nil, err
	}
	for _, e := range handed {
		if visited[e.Trace] {
			continue
		}
		delete(visited, id) // told as a part of the other
		return f.trace(ctx, e.Trace, visited)
	}
	return stories, nil
}

func (f *Finder) events(ctx context.Context, text string) (events []event.Event, err error) {
	q, err := query.Parse(text, time.Now())
	if err != nil {
		return nil, err
	}
	_, err = f.Archive.Find(ctx, q, maxEvents, func(e event.Event) error {
		events = append(events, e)
		return nil
	})
	if f.See != nil {
		events = f.See(events)
	}
	return events, err
}

// join adds what another node did with the message.
func (s *Story) join(n *Story) {
	s.Sentences = append(s.Sentences, n.Sentences...)
	slices.SortStableFunc(s.Sentences, func(a, b Told) int { return a.Time.Compare(b.Time) })
	for _, r := range n.Recipients {
		mine := s.recipient(r.Address)
		mine.State, mine.Text = r.State, r.Text
	}
}

// meets tells whether one of the story's events is one that was asked for.
func (s *Story) meets(q *query.Query) bool {
	if q.Raw() {
		return true
	}
	return slices.ContainsFunc(s.Sentences, func(t Told) bool { return q.Match(&t.Event) })
}

// Question makes a query of what people ask: words such as "from X to Y
// yesterday", an ID, or an ID with #N for the Nth message of its session, whose
// number is given.
func Question(text string) (query string, number int) {
	fields := strings.Fields(text)
	if len(fields) == 1 {
		id, after, numbered := strings.Cut(fields[0], "#")
		if _, err := fmt.Sscanf(after, "%d", &number); !numbered || err != nil || number < 1 {
			id, number = fields[0], 0
		}
		if strings.Contains(id, ":") && !strings.Contains(id, "@") {
			return id, number // a word of the query language
		}
		return fmt.Sprintf("id:%s", quote(id)), number
	}
	var words []string
	for i := 0; i < len(fields); i++ {
		key := strings.ToLower(fields[i])
		switch key {
		case "yesterday", "today":
			words = append(words, "since:"+key, "until:"+key)
		case "from", "to", "subject", "ip", "since", "until", "id":
			if i+1 < len(fields) {
				i++
				words = append(words, key+":"+quote(strings.Trim(fields[i], `"`)))
			}
		case "on", "about", "with":
		default:
			if day, err := time.Parse(time.DateOnly, key); err == nil {
				words = append(words, "since:"+day.Format(time.DateOnly), "until:"+day.Format(time.DateOnly))
			} else {
				words = append(words, fields[i])
			}
		}
	}
	return strings.Join(words, " "), 0
}

// quote lets a word stand for itself in a query; patterns keep their meaning.
func quote(s string) string {
	if strings.Contains(s, "*") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
