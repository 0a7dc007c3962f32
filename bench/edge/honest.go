package main

import (
	"math"
	"math/rand/v2"
	"sort"
)

// class is a kind of honest sender.
type class uint8

const (
	provider   class = iota // a pool of many addresses, people who mistype
	newsletter              // blasts to lists with dead addresses
	small                   // a server of its own
	fresh                   // the same, first seen on the day of the attack
	shared                  // the same, behind one address with a bot
	classes
)

func (c class) String() string {
	return [...]string{"providers", "newsletters", "small servers", "new servers", "sharing with a bot"}[c]
}

// honestWorld is what is assumed of honest senders.
type honestWorld struct {
	providers      int
	providerMail   float64 // messages a day of all of them
	newsletters    int
	blasts         float64    // a newsletter and day
	dead           [2]float64 // share of dead addresses in a list, from and to
	formerDead     float64    // share of these that once were addresses here
	newNewsletters float64    // share first seen on the day of the attack
	servers        int
	typos          [2]float64 // share of wrong addresses of small servers
	newServers     float64    // share first seen on the day of the attack
	sharing        float64    // share behind one address with a bot
	hosted         float64    // share in the /24 of hosting companies
	named, spf     float64    // shares with a name, with SPF
	spam           float64    // share of honest mail that is taken for spam
	schedules      []schedule
	provSchedules  []schedule
	mix            []float64           // cumulative shares of schedules among small servers
	list           schedule            // of newsletters
	weight         func(h int) float64 // of an hour of the day
}

// shrink makes the world of honest senders smaller, for short runs.
func (h *honestWorld) shrink(factor float64) {
	h.providerMail *= factor
	h.newsletters = int(float64(h.newsletters) * factor)
	h.servers = int(float64(h.servers) * factor)
}

// schedule is when a sender tries again: minutes after the first time.
type schedule []int32

// every continues a schedule in equal steps up to an end, in minutes.
func every(step, end int32, first ...int32) schedule {
	s := append(schedule{}, first...)
	for at := first[len(first)-1] + step; at <= end; at += step {
		s = append(s, at)
	}
	return s
}

// honestA has the schedules that Postfix, Exim, sendmail and Exchange ship with,
// and those that were measured of Gmail, Outlook.com and Yahoo (Pagani et al.).
// One in sixty-six small servers never tries again.
func honestA() honestWorld {
	return honestWorld{
		providers: 30, providerMail: 600_000,
		newsletters: 400, blasts: 1.5, dead: [2]float64{0.05, 0.10}, newNewsletters: 0.10,
		servers: 15_000, typos: [2]float64{0.01, 0.05}, newServers: 0.05, sharing: 0.01, hosted: 0.6,
		named: 0.92, spf: 0.85, spam: 0.02,
		schedules: []schedule{
			every(67, 5760, 5, 10, 20, 40, 73),                                     // Postfix
			every(360, 5760, 15, 30, 45, 60, 75, 90, 105, 120, 180, 270, 405, 608), // Exim
			every(30, 5760, 30), // sendmail
			every(15, 2880, 1, 2, 3, 4, 5, 6, 16, 26, 36, 46, 56, 66), // Exchange
			{}, // broken
		},
		mix: []float64{0.45, 0.65, 0.72, 0.985, 1},
		provSchedules: []schedule{
			every(120, 4320, 6, 29, 57, 99, 162, 230, 309, 435), // Gmail
			every(4, 1440, 1, 2, 3, 5, 8, 12, 16),               // Outlook.com
			every(430, 4320, 2, 6, 13, 27, 55, 110, 217, 431),   // Yahoo
		},
		list:   every(640, 2880, 5, 15, 35, 75, 155, 315, 635),
		weight: func(h int) float64 { return 1 + 0.6*math.Sin(float64(h-8)/24*2*math.Pi) },
	}
}

// honestB: other shares, and schedules as of qmail (400 s times the square of
// the try), of servers that double from ten minutes, and of hourly queue runs.
func honestB() honestWorld {
	return honestWorld{
		providers: 12, providerMail: 350_000,
		newsletters: 250, blasts: 2.5, dead: [2]float64{0.02, 0.12}, newNewsletters: 0.08,
		servers: 20_000, typos: [2]float64{0.005, 0.08}, newServers: 0.08, sharing: 0.02, hosted: 0.8,
		named: 0.85, spf: 0.70, spam: 0.05,
		schedules: []schedule{
			every(500, 7200, 7, 27, 60, 107, 167, 240, 327, 427, 540, 667), // qmail
			every(240, 4320, 10, 20, 40, 80, 160, 320),
			every(60, 4320, 60),
			every(20, 2880, 20),
			{},
		},
		mix: []float64{0.15, 0.55, 0.75, 0.97, 1},
		provSchedules: []schedule{
			every(240, 4320, 10, 30, 70, 150, 310),
			every(60, 2880, 3, 9, 20, 45, 90),
		},
		list: every(240, 2880, 10, 30, 60, 120, 240),
		weight: func(h int) float64 { // two peaks, and a quiet night
			return 0.2 + math.Exp(-sq(float64(h-10))/8) + 0.8*math.Exp(-sq(float64(h-20))/6)
		},
	}
}

func sq(x float64) float64 { return x * x }

// sender is one honest organisation.
type sender struct {
	class    class
	pool     bool // tries again from any of its addresses
	spf      bool
	retries  schedule
	first, n int32 // its addresses
	wrong    float64
	rate     float64 // messages a day; of a newsletter, blasts
	born     int     // first day
}

// people builds the honest senders. The newest are born on the last day.
func people(w *world, l *land, lastDay int) (senders []sender, sources []source) {
	h, r := &w.honest, l.r
	between := func(v [2]float64) float64 { return v[0] + (v[1]-v[0])*r.Float64() }
	sum := 0.0
	for i := range h.providers {
		sum += 1 / float64(i+1)
	}
	for i := range h.providers {
		share := 1 / float64(i+1) / sum
		s := sender{class: provider, pool: true, spf: true, retries: h.provSchedules[i%len(h.provSchedules)],
			first: int32(len(sources)), n: int32(20 + share*2400), wrong: 0.005 + 0.025*r.Float64(), rate: h.providerMail * share}
		sources = append(sources, block(l, int(s.n), 64)...)
		senders = append(senders, s)
	}
	for range h.newsletters {
		s := sender{class: newsletter, spf: r.Float64() < 0.98, retries: h.list,
			first: int32(len(sources)), n: int32(2 + r.IntN(7)), wrong: between(h.dead), rate: h.blasts}
		if r.Float64() < h.newNewsletters {
			s.born = lastDay
		}
		sources = append(sources, block(l, int(s.n), 64)...)
		senders = append(senders, s)
	}
	hosts := make([]uint32, h.servers/6)
	for i := range hosts {
		hosts[i] = l.anywhere()
	}
	for range h.servers {
		s := sender{class: small, first: int32(len(sources)), n: 1, wrong: between(h.typos),
			rate: math.Min(2000, 2*math.Exp(1.5*r.NormFloat64())), spf: r.Float64() < h.spf}
		s.retries = h.schedules[sort.SearchFloat64s(h.mix, r.Float64())]
		net := l.anywhere()
		if r.Float64() < h.hosted {
			net = hosts[r.IntN(len(hosts))]
		}
		if u := r.Float64(); u < h.newServers {
			s.born, s.class = lastDay, fresh
		} else if u < h.newServers+h.sharing {
			s.class = shared
		}
		sources = append(sources, source{net | uint32(1+r.IntN(250)), r.Float64() < h.named})
		senders = append(senders, s)
	}
	return senders, sources
}

// block gives n addresses with names, so many in each /24.
func block(l *land, n, each int) (s []source) {
	var net uint32
	for k := range n {
		if k%each == 0 {
			net = l.clean()
		}
		s = append(s, source{net + uint32(1+k%each), true})
	}
	return s
}

// message is one message of an honest sender, to one recipient.
type message struct {
	sender  int32
	source  int32
	sent    uint32 // seconds since the start
	number  uint32 // of the recipient
	kind    uint8  // of the recipient
	spam    bool   // is taken for it
	attempt uint16
	phase   phase
}

// post is the mail of one day.
type post struct {
	w     *world
	r     *rand.Rand
	hours []float64 // cumulative weights
}

func newPost(w *world, r *rand.Rand) *post {
	p, sum := &post{w: w, r: r}, 0.0
	for h := range 24 {
		sum += w.honest.weight(h)
		p.hours = append(p.hours, sum)
	}
	return p
}

// second draws a second of the day.
func (p *post) second() int {
	return sort.SearchFloat64s(p.hours, p.r.Float64()*p.hours[23])*hour + p.r.IntN(hour)
}

// day gives the messages of one sender on a day that begins at `base`.
func (p *post) day(number int32, s *sender, base int, ph phase, send func(message)) {
	one := func(at int) {
		m := message{sender: number, source: s.first + int32(p.r.IntN(int(s.n))), sent: uint32(min(at, base+day-1)), phase: ph}
		m.kind, m.number = p.recipient(s)
		m.spam = p.r.Float64() < p.w.honest.spam
		send(m)
	}
	n := poisson(p.r, s.rate)
	if s.class != newsletter {
		for range n {
			one(base + p.second())
		}
		return
	}
	for range n {
		size := int(math.Min(20_000, 300*math.Exp(1.2*p.r.NormFloat64())))
		start, length := base+p.second(), 600+p.r.IntN(1200)
		for range size {
			one(start + p.r.IntN(length))
		}
	}
}

// recipient draws whom a message is for: some people get much mail, some little.
func (p *post) recipient(s *sender) (kind uint8, number uint32) {
	if p.r.Float64() >= s.wrong {
		return uint8(valid), uint32(sq(p.r.Float64()) * float64(p.w.directory))
	}
	switch {
	case s.class != newsletter:
		return uint8(typo), p.r.Uint32()
	case p.r.Float64() < p.w.honest.formerDead:
		return uint8(formerly), p.r.Uint32()
	}
	return uint8(dead), p.r.Uint32()
}

func poisson(r *rand.Rand, mean float64) int {
	if mean > 50 {
		return int(math.Max(0, math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	limit, n := math.Exp(-mean), 0
	for p := r.Float64(); p > limit; p *= r.Float64() {
		n++
	}
	return n
}
