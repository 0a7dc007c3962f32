package main

import (
	"math"

	"github.com/migiwa/migiwa/internal/edge"
)

// botWorld is what is assumed of every attacker.
type botWorld struct {
	hit        [2]float64          // share of valid guesses of a bot, from and to
	retry      float64             // share that tries a deferred guess again
	retries    uint8               // so often
	retryAfter [2]float64          // minutes, from and to
	named      float64             // share with a name that leads back
	spf        float64             // share whose envelope domain passes SPF …
	domains    uint64              // … with one of so many throw-away domains
	dictionary uint64              // names in the list that all share; 0: guesses have nothing in common
	online     float64             // hours after which a bot goes and comes back with another address; 0: it stays
	hours      func(h int) float64 // how busy they are at an hour of the day, 1 on average; nil: the same
	mimic      schedule            // when one that behaves as a mail server tries again
}

func botsA() botWorld {
	return botWorld{
		hit: [2]float64{0.005, 0.05}, retry: 0.33, retries: 3, retryAfter: [2]float64{5, 30},
		named: 0.10, spf: 0.05, domains: 50,
		mimic: every(67, 12*60, 5, 10, 20, 40, 73),
	}
}

func botsB() botWorld {
	return botWorld{
		hit: [2]float64{0.002, 0.08}, retry: 0.50, retries: 2, retryAfter: [2]float64{1, 60},
		named: 0.25, spf: 0.10, domains: 500, dictionary: 3_000_000, online: 8,
		hours: func(h int) float64 { return 1 + 0.7*math.Sin(float64(h-14)/24*2*math.Pi) },
		mimic: every(120, 24*60, 10, 30, 60, 120),
	}
}

// attack is one campaign. The zero values of its shares stand for the world's.
type attack struct {
	name       string
	bots       int
	from, to   int     // seconds since the start
	rate       float64 // times the one to three guesses an hour of each bot; 0: 1
	retry      float64 // share that tries again a few times; negative: the world's
	mimic      float64 // share that behaves as a mail server, for half a day
	named, spf float64 // shares; negative: the world's
	camouflage float64 // share of recipients that are known addresses, with good mail
	delivers   float64 // share of valid hits whose mail is sent and taken for good
}

// bot is one address of an attacker.
type bot struct {
	source int32
	wave   int32  // number of its attack
	draws  uint32 // random numbers drawn
	number uint32 // of the recipient being tried
	begun  uint32 // when it was first tried
	moved  uint32 // since when it has its address, hours
	kind   uint8  // of the recipient; 0: none is being tried
	tries  uint8
	style  style
	hit    uint16  // share of valid guesses, in 1/65536
	rate   float32 // guesses an hour
	domain uint16  // throw-away domain with SPF; 0: none
}

type style uint8

const (
	drops style = iota // never tries again
	retries
	mimics
)

// recruit makes the bots of an attack. The first ones sit behind the addresses
// of honest servers that share theirs.
func recruit(w *world, l *land, a *attack, wave int32, victims []int32, sources *[]source) []bot {
	r, b := l.r, &w.bots
	share := func(own, ofWorld float64) float64 {
		if own < 0 {
			return ofWorld
		}
		return own
	}
	bots := make([]bot, a.bots)
	*sources = append(make([]source, 0, len(*sources)+a.bots), *sources...)
	for i := range bots {
		t := &bots[i]
		t.wave = wave
		t.hit = uint16((b.hit[0] + (b.hit[1]-b.hit[0])*r.Float64()) * 65536)
		t.rate = float32((1 + 2*r.Float64()) * a.rate)
		switch u := r.Float64(); {
		case u < a.mimic:
			t.style = mimics
		case u < a.mimic+share(a.retry, b.retry):
			t.style = retries
		}
		if r.Float64() < share(a.spf, b.spf) {
			t.domain = uint16(1 + r.Uint64N(b.domains))
		}
		named := r.Float64() < share(a.named, b.named)
		if i < len(victims) && i <= a.bots/100 {
			t.source = victims[i]
			continue
		}
		t.source = int32(len(*sources))
		*sources = append(*sources, source{l.bot(), named})
	}
	return bots
}

// random is the next random number of a bot. It depends on the bot and on how
// many it has drawn, not on what others do.
func (s *sim) random(id int32, b *bot) uint64 {
	b.draws++
	return mix64(s.seed ^ uint64(id)<<32 ^ uint64(b.draws))
}

// choose draws the next recipient.
func (s *sim) choose(id int32, b *bot, now uint32) {
	a, w := &s.attacks[b.wave], s.world
	b.tries, b.begun = 0, now
	x := s.random(id, b)
	if a.camouflage > 0 && unit(s.random(id, b)) < a.camouflage {
		b.kind, b.number = uint8(befriended), uint32(x%1000)
		return
	}
	s.result.guesses++
	hit := uint16(x) < b.hit
	switch {
	case hit:
		b.kind, b.number = uint8(valid), uint32((x>>16)%uint64(w.directory))
		s.result.validGuesses++
	case unit(s.random(id, b)) < float64(b.hit)/65536*w.former:
		b.kind, b.number = uint8(formerly), uint32(x>>32)
	default:
		b.kind, b.number = uint8(typo), uint32(x>>32)
		if w.bots.dictionary > 0 { // all go through one list, its first names most often
			b.number = uint32(sq(unit(x)) * float64(w.bots.dictionary))
		}
	}
}

// gap is the time to the next guess.
func (s *sim) gap(id int32, b *bot, now uint32) int {
	mean := hour / float64(b.rate)
	if f := s.world.bots.hours; f != nil {
		mean /= math.Max(f(int(now%day/hour)), 0.1)
	}
	return 1 + int(mean*(0.5+unit(s.random(id, b))))
}

// botTurn is what a bot does at its time: one recipient, and then it goes on.
func (s *sim) botTurn(id int32, b *bot, now uint32) {
	a := &s.attacks[b.wave]
	if int(now) >= a.to {
		return
	}
	if b.kind == 0 {
		s.move(id, b, now)
		s.choose(id, b, now)
	}
	s.fillBot(id, b, now, a)
	s.result.tries++
	if s.defence.answers(&s.probe) {
		s.result.botAnswered(b, now)
		if uint64(b.kind) != befriended {
			s.reason(s.result.whyAnswered, s.probe.vouched())
		}
		b.kind = 0
		s.push(id, int(now)+s.gap(id, b, now))
		return
	}
	if next, ok := s.botRetry(id, b, now); ok {
		b.tries++
		s.push(id, next)
		return
	}
	b.kind = 0
	s.push(id, int(now)+s.gap(id, b, now))
}

// botRetry tells when a deferred recipient is tried again, if at all.
func (s *sim) botRetry(id int32, b *bot, now uint32) (at int, ok bool) {
	w := &s.world.bots
	switch {
	case b.style == retries && b.tries < w.retries:
		after := w.retryAfter[0] + (w.retryAfter[1]-w.retryAfter[0])*unit(s.random(id, b))
		return int(now) + int(after*60), true
	case b.style == mimics && int(b.tries) < len(w.mimic):
		at := int(b.begun) + int(w.mimic[b.tries])*60 + int(s.random(id, b)%60)
		return max(at, int(now)+60), true
	}
	return 0, false
}

// move gives a bot that was long enough in one place another address.
func (s *sim) move(id int32, b *bot, now uint32) {
	stay := s.world.bots.online
	if stay == 0 {
		return
	}
	if b.moved == 0 {
		b.moved = now/hour + 1
	}
	if x := s.random(id, b); unit(x) < float64(now/hour+1-b.moved)/stay/8 {
		old := s.sources[b.source]
		b.source = int32(len(s.sources))
		s.sources = append(s.sources, source{s.land.again(old.ip), old.named})
		b.moved = now/hour + 1
	}
}

// fillBot writes what the server sees.
func (s *sim) fillBot(id int32, b *bot, now uint32, a *attack) {
	src := s.sources[b.source]
	s.probe = probe{now: now, source: b.source, ip: src.ip, named: src.named,
		recipient: address(uint64(b.kind), uint64(b.number)), sender: mix64(uint64(id) ^ 0xb07), truth: truthOf(b.kind)}
	if b.domain != 0 {
		s.probe.spf, s.probe.domain = true, mix64(0xd0<<40|uint64(b.wave)<<16|uint64(b.domain))
	} else {
		s.probe.domain = mix64(0xd1<<40 | uint64(id))
	}
	switch uint64(b.kind) {
	case befriended:
		s.probe.wanted = true
	case valid:
		s.probe.wanted = a.delivers > 0 && unit(s.random(id, b)) < a.delivers
	}
}

func truthOf(kind uint8) edge.Truth {
	switch uint64(kind) {
	case valid, befriended:
		return edge.Exists
	case formerly:
		return edge.Former
	}
	return edge.Unknown
}
