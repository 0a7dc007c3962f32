package edge

import (
	"context"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// class is what a log as a whole shows of a source.
type class uint8

const (
	unclear class = iota
	attacker
	sender
)

// classRule is how the classes are told apart, as the report says it.
const classRule = "Senders are sources that had a message accepted somewhere in these files, or whose proven identity had. " +
	"Attackers are others at least half of whose RCPTs were for unknown recipients. The rest is unclear."

// census is what the first reading finds out.
type census struct {
	sources    map[uint64]sourceTally // by Source.key
	identities map[string]bool        // proven ones whose messages were accepted
}

// sourceTally counts for one source, each up to 255.
type sourceTally struct {
	accepted, exists, unknown uint8
	class                     class // the highest that one of its attempts had
}

// visitor is what the census keeps of an open session.
type visitor struct {
	source   uint64
	identity string // if proven
}

func (p *player) takeCensus(ctx context.Context, files []string) (*census, error) {
	c := &census{sources: map[uint64]sourceTally{}, identities: map[string]bool{}}
	var open sessions[visitor]
	return c, p.each(ctx, files, func(ev *event.Event) {
		switch ev.Kind {
		case event.Rcpt:
			if !ev.IP.IsValid() || !judged(ev) {
				return
			}
			v := open.at(ev.Trace)
			v.source, v.identity = SourceOf(ev.IP).key, provenIdentity(ev)
			c.count(v.source, ev.Truth)
		case event.Accept:
			if v := open.get(ev.Trace); v != nil {
				c.accept(v)
			}
		case event.Close:
			open.drop(ev.Trace)
		}
	})
}

// provenIdentity gives the identity of an event where it is more than a pair.
func provenIdentity(ev *event.Event) string {
	if ev.SPF == "pass" || ev.From == "<>" {
		return ev.Identity
	}
	return ""
}

func (c *census) count(source uint64, truth string) {
	t := c.sources[source]
	switch t2, known := truthOf(truth); {
	case !known || t2 == Former:
	case t2 == Exists:
		saturate(&t.exists)
	default:
		saturate(&t.unknown)
	}
	// The proportion is kept when a count is full.
	if t.exists == 255 || t.unknown == 255 {
		t.exists /= 2
		t.unknown /= 2
	}
	c.sources[source] = t
}

func (c *census) accept(v *visitor) {
	t := c.sources[v.source]
	saturate(&t.accepted)
	c.sources[v.source] = t
	if v.identity != "" {
		c.identities[v.identity] = true
	}
}

func saturate(n *uint8) {
	if *n < 255 {
		*n++
	}
}

// class tells what the source of an attempt is, and counts it among those.
func (c *census) class(ev *event.Event, a *Attempt) class {
	t := c.sources[a.Source.key]
	is := unclear
	switch {
	case t.accepted > 0 || c.identities[provenIdentity(ev)]:
		is = sender
	case t.unknown > 0 && t.unknown >= t.exists:
		is = attacker
	}
	if is > t.class {
		t.class = is
		c.sources[a.Source.key] = t
	}
	return is
}

// sizes gives the number of sources of each class.
func (c *census) sizes() (attackers, unclears, senders int) {
	var n [3]int
	for _, t := range c.sources {
		n[t.class]++
	}
	return n[attacker], n[unclear], n[sender]
}

// sessions keeps something for each open session, the newest some hundred
// thousand: an end may be missing in a log.
type sessions[T any] struct{ young, old map[mail.TraceID]*T }

const sessionLimit = 1 << 17

func (s *sessions[T]) get(id mail.TraceID) *T {
	if v := s.young[id]; v != nil {
		return v
	}
	return s.old[id]
}

// at gives what is kept for id, or makes it.
func (s *sessions[T]) at(id mail.TraceID) *T {
	v := s.get(id)
	if v == nil {
		v = new(T)
	}
	if s.young[id] == nil {
		if s.young == nil || len(s.young) >= sessionLimit {
			s.young, s.old = map[mail.TraceID]*T{}, s.young
		}
		s.young[id] = v
	}
	return v
}

func (s *sessions[T]) drop(id mail.TraceID) {
	delete(s.young, id)
	delete(s.old, id)
}
