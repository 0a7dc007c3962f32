package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	ask, number, err := Question(question, now)
	if err != nil {
		return nil, archive.Result{}, err
	}
	var traces []mail.TraceID
	r, err := f.Archive.Find(ctx, ask.Search, maxHits, func(e event.Event) error {
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
			if ask.meets(s) && (number == 0 || s.Number == number) && !slices.ContainsFunc(found, same) {
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

// Asked is what a question asks for.
type Asked struct {
	Search *query.Query   // an event of each message that is meant
	Words  []*query.Query // each is met by some event of the story
}

// meets tells whether a story is one that was asked for.
func (a *Asked) meets(s *Story) bool {
	for _, w := range a.Words {
		if !w.Raw() && !slices.ContainsFunc(s.Sentences, func(t Told) bool { return w.Match(&t.Event) }) {
			return false
		}
	}
	return true
}

// Question understands what people ask: words such as "from X to Y yesterday",
// words of the query language, an ID, or an ID with #N for the Nth message of
// its session, whose number is given.
func Question(text string, now time.Time) (a Asked, number int, err error) {
	fields := strings.Fields(text)
	var words, times []string
	if len(fields) == 1 {
		var id string
		id, number = numbered(fields[0])
		words = []string{id}
	} else {
		words, times = phrases(fields)
	}
	search := words
	// Who it is from and for stands in other events than what it is about.
	if about := subjects(words); len(about) > 0 {
		search = about
	}
	if a.Search, err = query.Parse(strings.Join(append(slices.Clone(search), times...), " "), now); err != nil {
		return a, 0, err
	}
	if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "logsql:") || strings.EqualFold(w, "or") }) {
		words = []string{strings.Join(words, " ")}
	}
	for _, w := range words {
		q, err := query.Parse(w, now)
		if err != nil {
			return a, 0, err
		}
		a.Words = append(a.Words, q)
	}
	return a, number, nil
}

func subjects(words []string) (about []string) {
	for _, w := range words {
		if strings.HasPrefix(w, "subject:") {
			about = append(about, w)
		}
	}
	return about
}

// numbered makes a word of the query language of a single word, and takes the
// number behind it.
func numbered(word string) (id string, number int) {
	id, after, sharp := strings.Cut(word, "#")
	if n, err := strconv.Atoi(after); sharp && err == nil && n > 0 {
		number = n
	} else {
		id = word
	}
	if strings.Contains(id, ":") && !strings.Contains(id, "@") {
		return id, number
	}
	return "id:" + quote(id), number
}

// phrases makes words of the query language of what people say.
func phrases(fields []string) (words, times []string) {
	for i := 0; i < len(fields); i++ {
		key := strings.ToLower(fields[i])
		switch key {
		case "yesterday", "today":
			times = append(times, "since:"+key, "until:"+key)
		case "from", "to", "subject", "ip", "id", "since", "until":
			if i+1 == len(fields) {
				break
			}
			i++
			if w := key + ":" + quote(strings.Trim(fields[i], `"`)); key == "since" || key == "until" {
				times = append(times, w)
			} else {
				words = append(words, w)
			}
		case "on", "about", "with":
		default:
			if day, err := time.Parse(time.DateOnly, key); err == nil {
				times = append(times, "since:"+day.Format(time.DateOnly), "until:"+day.Format(time.DateOnly))
			} else if strings.HasPrefix(key, "since:") || strings.HasPrefix(key, "until:") {
				times = append(times, fields[i])
			} else {
				words = append(words, fields[i])
			}
		}
	}
	return words, times
}

// quote lets a word stand for itself in a query; patterns keep their meaning.
func quote(s string) string {
	if strings.Contains(s, "*") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
