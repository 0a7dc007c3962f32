package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/migiwa/migiwa/bench/stranger"
)

// game is one play of a world against a server.
type game struct {
	plan   *plan
	world  *world
	dialer stranger.Dialer
	agenda *agenda

	mu   sync.Mutex
	log  []attempt
	sent int // messages begun
}

// message is one recipient of one sender, tried until it is settled.
type message struct {
	id    int
	party *party
	host  int // of the party's
	from  string
	to    recipient
	guess bool
	body  bool
	waits []float64 // before further attempts
	tries int
	test  int    // an adversary's
	role  string // in it

	// settled is told the last attempt, when not nil.
	settled func(a attempt)
}

// play plays the whole plan against the server and gives the log.
func play(p *plan, w *world, server string) []attempt {
	g := &game{plan: p, world: w, dialer: stranger.Dialer{Server: server, Way: p.Way}, agenda: newAgenda(p.Scale)}
	for i, party := range w.parties {
		switch party.kind {
		case knownMTA, firstSeen, provider:
			g.agenda.at(party.first+party.gap(), func(at float64) { g.correspond(party, at) })
		case newsletter:
			g.agenda.at(float64(1+i%2*2)*hour, func(at float64) { g.blast(party, at) })
		case bot:
			g.agenda.at(party.first, func(at float64) { g.guess(party, at) })
		}
	}
	if p.Adversary {
		g.adversaries()
	}
	g.agenda.run(p.ends())
	return g.log
}

// gap is a random wait until the next message or guess.
func (p *party) gap() float64 { return p.rand.ExpFloat64() / p.rate * hour }

// correspond plans the next message and sends one.
func (g *game) correspond(p *party, at float64) {
	g.agenda.at(at+p.gap(), func(at float64) { g.correspond(p, at) })
	g.try(g.letter(p, g.world.recipient(p.rand, p.wrong)), at)
}

// blast sends the whole list over an hour, again and again.
func (g *game) blast(p *party, at float64) {
	for i, r := range p.list {
		m := g.letter(p, r)
		m.from = "bounce@" + p.domain
		g.agenda.at(at+blastTakes*float64(i)/float64(len(p.list)), func(at float64) { g.try(m, at) })
	}
	g.agenda.at(at+blastEvery, func(at float64) { g.blast(p, at) })
}

// letter is an honest message. A party of several addresses sends from any.
func (g *game) letter(p *party, to recipient) *message {
	m := g.message(p, to)
	m.body, m.waits = true, p.schedule
	return m
}

func (g *game) message(p *party, to recipient) *message {
	g.mu.Lock()
	g.sent++
	id := g.sent
	g.mu.Unlock()
	return &message{id: id, party: p, host: p.rand.IntN(len(p.hosts)), to: to,
		from: fmt.Sprintf("user%d@%s", p.rand.IntN(20), p.domain)}
}

// guess makes one guess and sees to the next. A mimic waits until it is
// settled, as one queue would.
func (g *game) guess(p *party, at float64) {
	if at >= g.plan.begins(recovery) {
		return
	}
	m := g.message(p, g.world.recipient(p.rand, p.wrong))
	m.guess = true
	if g.plan.Mimic || p.rand.Float64() < g.plan.Retry {
		m.waits = p.schedule
	}
	next := func(from float64) {
		g.agenda.at(from+p.gap(), func(at float64) { g.guess(p, at) })
	}
	if g.plan.Mimic {
		m.settled = func(a attempt) { next(a.At) }
	} else {
		next(at)
	}
	if g.plan.Camouflage {
		veil := g.letter(p, recipient{fmt.Sprintf("u%d", p.rand.IntN(known)), true})
		g.agenda.at(at+p.rand.Float64()*hour/p.rate/2, func(at float64) { g.try(veil, at) })
	}
	g.try(m, at)
}

// try makes one attempt in a session of its own, and plans the next where it
// was deferred.
func (g *game) try(m *message, at float64) {
	p := m.party
	if g.ceased(p, at) {
		return
	}
	late := time.Duration((g.agenda.now() - at) / g.agenda.scale * 1e9)
	h := p.hosts[m.host]
	to := m.to.local + "@" + g.plan.Domain
	text := ""
	if m.body {
		text = g.text(m, to)
	}
	begin := time.Now()
	o := g.dialer.Try(h, m.from, to, text)
	m.tries++
	a := attempt{At: at, Kind: p.kind, Message: m.id, Try: m.tries, Guess: m.guess,
		To: m.to.local, Valid: m.to.valid, Test: m.test, Role: m.role,
		Step: o.Step, Class: classify(o), Took: o.Took, Quit: o.Quit, Spent: time.Since(begin), Late: late, Answered: g.agenda.now()}
	a.Text = mask(o, h, m.from, to)
	again := (a.Class == deferred || a.Class == failed) && m.tries <= len(m.waits)
	a.Last = !again
	g.mu.Lock()
	g.log = append(g.log, a)
	g.mu.Unlock()
	if again {
		if p.kind == provider {
			m.host = p.rand.IntN(len(p.hosts))
		}
		g.agenda.at(a.Answered+m.waits[m.tries-1], func(at float64) { g.try(m, at) })
	} else if m.settled != nil {
		m.settled(a)
	}
}

// ceased tells whether p has stopped: bots do with the attack.
func (g *game) ceased(p *party, at float64) bool {
	return p.kind == bot && at >= g.plan.begins(recovery)
}

func (g *game) text(m *message, to string) string {
	return fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: Number %d\r\nDate: %s\r\nMessage-ID: <%d.%d@%s>\r\n\r\nDear %s,\r\n\r\nall is well here.\r\n",
		m.from, to, m.id, time.Now().Format(time.RFC1123Z), m.id, g.plan.Seed, m.party.domain, m.to.local)
}

// mask gives the text of a reply without what the client itself said and
// without the reference number, which differ in any case.
func mask(o stranger.Outcome, h stranger.Host, from, to string) string {
	if o.Err != nil {
		return fmt.Sprintf("no reply at %s", o.Step)
	}
	text := strings.NewReplacer(to, "TO", from, "FROM", h.Addr.String(), "ADDR", h.Hello, "HELLO").Replace(o.Reply.Text)
	before, rest, ok := strings.Cut(text, "(ref ")
	if _, after, closed := strings.Cut(rest, ")"); ok && closed {
		text = before + "(ref *)" + after
	}
	return fmt.Sprintf("%d %s", o.Reply.Code, text)
}
