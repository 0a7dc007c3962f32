package main

import (
	"math/rand/v2"
	"time"

	"github.com/migiwa/migiwa/internal/edge"
)

// probe is one RCPT as a defence sees it. A defence must not look at truth and
// wanted before it has decided.
type probe struct {
	now        uint32 // seconds since the start
	source     int32  // number of the address
	ip         uint32
	named, spf bool
	domain     uint64 // of the envelope sender
	recipient  uint64
	sender     uint64
	truth      edge.Truth
	wanted     bool // what comes after the answer is a message, and no spam
}

// vouched says what speaks for the client.
func (p *probe) vouched() string {
	switch {
	case p.named && p.spf:
		return "both"
	case p.named:
		return "named"
	case p.spf:
		return "spf"
	}
	return "neither"
}

// unknown tells whether the server's answer would be 550.
func (p *probe) unknown() bool { return p.truth != edge.Exists }

// defence decides whether a client hears the truth about a recipient.
type defence interface {
	// answers decides, and then learns the outcome.
	answers(p *probe) bool
	// held tells whether the source of the last probe is under a penalty.
	held(p *probe) bool
}

// reasoner is a defence that can say why it decided so.
type reasoner interface{ why() string }

// reason counts the last decision under who asked.
func (s *sim) reason(counts map[string]int, who string) {
	if r, ok := s.defence.(reasoner); ok {
		counts[who+" "+r.why()]++
	}
}

// sim is one run: a discrete-event simulation in steps of a second.
type sim struct {
	world   *world
	seed    uint64
	defence defence
	attacks []attack
	peace   int // the day that is measured as peace
	month   bool
	days    int

	land    *land
	senders []sender
	sources []source
	bots    []bot
	post    *post

	// The calendar: for each second the first of a chain of turns. Below
	// len(bots) a turn is a bot's, from there a message's.
	heads    []int32
	next     []int32
	messages []message
	free     []int32

	probe     probe
	result    result
	everyHour func(now uint32)
}

// phase is what a message is counted under.
type phase uint8

const (
	warmUp phase = iota
	inPeace
	underAttack
	phases
)

// setting is what a run is made of.
type setting struct {
	world   world
	seed    uint64
	attacks []attack
	warm    int  // days before the day of peace
	days    int  // in all; the attack is measured on the last
	month   bool // newcomers come on any day, and every day is measured like the last
}

func newSim(st setting) *sim {
	w := st.world
	s := &sim{world: &w, seed: mix64(st.seed), attacks: st.attacks, peace: st.warm, days: st.days, month: st.month}
	s.land = newLand(&w, rand.New(rand.NewPCG(st.seed, 1)))
	s.senders, s.sources = people(&w, s.land, s.days-1)
	if st.month {
		for i := range s.senders {
			if o := &s.senders[i]; o.born > 0 {
				o.born = 1 + s.land.r.IntN(s.days-1)
			}
		}
	}
	s.post = newPost(&w, rand.New(rand.NewPCG(st.seed, 2)))
	var victims []int32
	for i := range s.senders {
		if s.senders[i].class == shared {
			victims = append(victims, s.senders[i].first)
		}
	}
	s.land.r = rand.New(rand.NewPCG(st.seed, 3))
	for i := range s.attacks {
		s.bots = append(s.bots, recruit(&w, s.land, &s.attacks[i], int32(i), victims, &s.sources)...)
		s.result.capacity += float64(s.attacks[i].bots) * 2 * s.attacks[i].rate * float64(s.attacks[i].to-s.attacks[i].from) / hour
	}
	s.result.found = make([]bool, w.directory)
	s.result.whyAnswered, s.result.whyDelayed = map[string]int{}, map[string]int{}
	s.heads = make([]int32, s.days*day)
	for i := range s.heads {
		s.heads[i] = -1
	}
	s.next = make([]int32, len(s.bots), len(s.bots)+1<<21)
	return s
}

// push puts a turn into the calendar; false: it lies after the end.
func (s *sim) push(id int32, at int) bool {
	if at >= len(s.heads) {
		return false
	}
	s.next[id] = s.heads[at]
	s.heads[at] = id
	return true
}

// run plays all days.
func (s *sim) run(d defence) *result {
	s.defence = d
	start := time.Now()
	for i := range s.bots {
		b := &s.bots[i]
		from := s.attacks[b.wave].from
		s.push(int32(i), from+int(s.random(int32(i), b)%uint64(s.gap(int32(i), b, uint32(from)))))
	}
	for now := range uint32(len(s.heads)) {
		if now%day == 0 {
			s.morning(int(now))
		}
		if now%hour == 0 && s.everyHour != nil {
			s.everyHour(now)
		}
		for id := s.heads[now]; id >= 0; {
			following := s.next[id]
			s.result.events++
			if int(id) < len(s.bots) {
				s.botTurn(id, &s.bots[id], now)
			} else {
				s.messageTurn(id, now)
			}
			id = following
		}
	}
	s.result.took = time.Since(start)
	return &s.result
}

// morning posts the honest mail of a day.
func (s *sim) morning(base int) {
	ph := warmUp
	switch number := base / day; {
	case number == s.days-1, s.month:
		ph = underAttack
	case number == s.peace:
		ph = inPeace
	}
	for i := range s.senders {
		o := &s.senders[i]
		if base/day < o.born {
			continue
		}
		s.post.day(int32(i), o, base, ph, s.send)
	}
}

func (s *sim) send(m message) {
	var k int32
	if n := len(s.free); n > 0 {
		k, s.free = s.free[n-1], s.free[:n-1]
		s.messages[k] = m
	} else {
		k = int32(len(s.messages))
		s.messages = append(s.messages, m)
		s.next = append(s.next, -1)
	}
	s.push(int32(len(s.bots))+k, int(m.sent))
}

// messageTurn is a try to deliver an honest message.
func (s *sim) messageTurn(id int32, now uint32) {
	k := id - int32(len(s.bots))
	m := &s.messages[k]
	o := &s.senders[m.sender]
	if o.pool && m.attempt > 0 {
		m.source = o.first + int32(mix64(uint64(m.number)<<16^uint64(m.attempt))%uint64(o.n))
	}
	src := s.sources[m.source]
	s.probe = probe{now: now, source: m.source, ip: src.ip, named: src.named, spf: o.spf,
		domain: mix64(0xd2<<40 | uint64(m.sender)), recipient: address(uint64(m.kind), uint64(m.number)),
		sender: mix64(uint64(m.sender) ^ 0x5e), truth: truthOf(m.kind), wanted: !m.spam}
	if o.class == provider { // a domain that many share is nobody's identity
		s.probe.domain = mix64(s.probe.domain ^ uint64(m.number)%5000)
	}
	c := &s.result.honest[m.phase][o.class]
	if m.attempt == 0 {
		c.sent(&s.probe)
	}
	vouched := src.named || o.spf
	if s.defence.answers(&s.probe) {
		c.answered(&s.probe, m.attempt, now-m.sent, vouched, o.born > 0)
		s.free = append(s.free, k)
		return
	}
	c.deferred(&s.probe, m.attempt, s.defence.held(&s.probe))
	if m.attempt == 0 && m.phase == underAttack {
		s.reason(s.result.whyDelayed, s.probe.vouched()+" "+o.class.String())
	}
	if int(m.attempt) >= len(o.retries) {
		c.lost++
		s.free = append(s.free, k)
		return
	}
	at := int(m.sent) + int(o.retries[m.attempt])*60 + int(mix64(uint64(m.number)^uint64(now))%30)
	m.attempt++
	if !s.push(id, max(at, int(now)+30)) {
		c.waiting(uint32(len(s.heads))-m.sent, vouched, o.born > 0)
		s.free = append(s.free, k)
	}
}
