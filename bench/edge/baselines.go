package main

import "math"

// What others do, each with the settings it is shipped or usually run with, and
// without the lists of exceptions that operators keep by hand. All count by
// address, exactly and without forgetting for want of room.

// column keeps one value for each source.
type column[T any] []T

func (c *column[T]) of(p *probe) *T {
	for int(p.source) >= len(*c) {
		*c = append(*c, make([]T, len(*c)+1<<16)...)
	}
	return &(*c)[p.source]
}

// none is a server without any defence.
type none struct{}

func (none) answers(*probe) bool { return true }
func (none) held(*probe) bool    { return false }

// perSession refuses the rest of a session when of four recipients or more over
// half were unknown. What comes within five seconds is one session.
type perSession struct {
	column[struct {
		last       uint32
		n, unknown uint8
	}]
}

func (d *perSession) answers(p *probe) bool {
	s := d.of(p)
	if p.now-s.last > 5 || s.n >= 50 {
		s.n, s.unknown = 0, 0
	}
	s.last = p.now
	ok := s.n < 4 || 2*s.unknown <= s.n
	s.n++
	if p.unknown() {
		s.unknown++
	}
	return ok
}

func (d *perSession) held(*probe) bool { return false }

// perHour counts unknown recipients of an address in each hour by the clock, as
// appliances do, and refuses from the limit to the hour's end.
type perHour struct {
	limit uint16
	column[struct {
		hour  uint32
		count uint16
	}]
}

func (d *perHour) answers(p *probe) bool {
	s := d.of(p)
	if h := p.now/hour + 1; s.hour != h {
		s.hour, s.count = h, 0
	}
	if s.count >= d.limit {
		return false
	}
	if p.unknown() {
		s.count++
	}
	return true
}

func (d *perHour) held(p *probe) bool { return d.of(p).count >= d.limit }

// average is Exim's ratelimit on unknown recipients: an exponentially weighted
// rate over a period, and refusal while it is over the limit (leaky).
type average struct {
	limit, period float64
	column[struct {
		rate float32
		last uint32
	}]
}

func (d *average) rate(p *probe) float64 {
	s := d.of(p)
	if s.last == 0 {
		return 0
	}
	return float64(s.rate) * math.Exp(-float64(p.now+1-s.last)/d.period)
}

func (d *average) answers(p *probe) bool {
	if d.rate(p) >= d.limit {
		return false
	}
	if !p.unknown() {
		return true
	}
	s := d.of(p)
	rate := 1.0
	if s.last != 0 {
		x := math.Max(1e-9, float64(p.now+1-s.last)) / d.period
		a := math.Exp(-x)
		rate = math.Max(1, (1-a)/x+a*float64(s.rate))
	}
	s.rate, s.last = float32(rate), p.now+1
	return true
}

func (d *average) held(p *probe) bool { return d.rate(p) >= d.limit }

// ban refuses an address for a time after so many unknown recipients within
// another, as fail2ban does, and with a day and 35 Stalwart.
type ban struct {
	retries      int
	find, length uint32
	column[struct {
		until uint32
		times []uint32 // of the last unknown recipients, oldest first
	}]
}

func (d *ban) answers(p *probe) bool {
	s := d.of(p)
	if p.now < s.until {
		return false
	}
	if !p.unknown() {
		return true
	}
	if len(s.times) == d.retries {
		s.times = append(s.times[:0], s.times[1:]...)
	}
	s.times = append(s.times, p.now)
	if len(s.times) == d.retries && p.now-s.times[0] <= d.find {
		s.until, s.times = p.now+d.length, s.times[:0]
	}
	return true
}

func (d *ban) held(p *probe) bool { return p.now < d.of(p).until }

// greylist defers each triplet of /24, sender and recipient for five minutes;
// an address that came back once is never asked again.
type greylist struct {
	known column[bool]
	first map[uint64]uint32
}

func (d *greylist) answers(p *probe) bool {
	ok := d.known.of(p)
	if *ok {
		return true
	}
	key := mix64(uint64(p.ip>>8)<<32 ^ p.recipient ^ p.sender)
	first, seen := d.first[key]
	switch {
	case !seen:
		d.first[key] = p.now
	case p.now-first >= 300:
		*ok = true
		delete(d.first, key)
	}
	return *ok
}

func (d *greylist) held(*probe) bool { return false }

// sequential is the sequential test of each address alone (Jung, Paxson, Berger
// and Balakrishnan, 2004), with a day's penalty.
type sequential struct {
	column[struct {
		nats  float32
		until uint32
	}]
}

func (d *sequential) answers(p *probe) bool {
	s := d.of(p)
	if p.now < s.until {
		return false
	}
	switch {
	case p.unknown():
		s.nats += 2.2
	case p.wanted:
		s.nats = max(s.nats-1.5, -12)
	}
	if s.nats >= 6 {
		s.nats, s.until = 0, p.now+day
	}
	return true
}

func (d *sequential) held(p *probe) bool { return p.now < d.of(p).until }
