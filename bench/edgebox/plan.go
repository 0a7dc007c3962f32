package main

import (
	"errors"
	"fmt"

	"github.com/migiwa/migiwa/bench/stranger"
)

// plan says what is played. Times are scaled hours: hours of the played world,
// each 3600/Scale seconds long.
type plan struct {
	Seed     uint64
	Scale    float64
	Warmup   float64
	Peace    float64
	Attack   float64
	Recovery float64

	Bots       int
	Rate       float64 // guesses of a bot an hour: half to one and a half times this
	Hits       float64 // share of guesses that are right; 0: 0.5 to 5 %, each bot its own
	Retry      float64 // share of deferred guesses that are tried again
	Mimic      bool    // bots try again as Postfix does, one guess at a time
	Camouflage bool    // every second RCPT brings harmless mail to a known address
	Named      float64 // share of bots with a name that leads back
	SPF        float64 // share of bots that send from throw-away domains with SPF
	Adversary  bool    // also the probing of adversary.go

	Users  int
	Domain string
	Way    stranger.Way
}

// standard is the plan of the protocol, but for the size.
func standard() plan {
	return plan{
		Seed: 1, Scale: 120, Warmup: 6, Peace: 2, Attack: 6, Recovery: 4,
		Bots: 1500, Rate: 2, Retry: 0.33, Named: 0.10, SPF: 0.05,
		Users: 2000, Domain: "example.test", Way: stranger.Proxy2,
	}
}

func (p *plan) check() error {
	switch {
	case p.Scale <= 0:
		return errors.New("-scale must be positive")
	case p.Warmup < 0 || p.Peace < 0 || p.Attack <= 0 || p.Recovery < 0:
		return errors.New("phases cannot be negative, and there must be an attack")
	case p.Users < known:
		return fmt.Errorf("-users must be at least %d", known)
	case p.Bots < 0 || p.Rate <= 0:
		return errors.New("-bots cannot be negative, -rate must be positive")
	}
	return nil
}

// phase is a part of the play.
type phase string

const (
	warmup   phase = "warm-up"
	peace    phase = "peace"
	attack   phase = "attack"
	recovery phase = "recovery"
)

const hour = 3600 // scaled seconds

// begins gives the scaled second at which a phase begins.
func (p *plan) begins(ph phase) float64 {
	switch ph {
	case warmup:
		return 0
	case peace:
		return p.Warmup * hour
	case attack:
		return (p.Warmup + p.Peace) * hour
	}
	return (p.Warmup + p.Peace + p.Attack) * hour
}

// ends gives the scaled second at which everything is over.
func (p *plan) ends() float64 { return p.begins(recovery) + p.Recovery*hour }

// phaseAt gives the phase at a scaled second.
func (p *plan) phaseAt(at float64) phase {
	for _, ph := range []phase{recovery, attack, peace} {
		if at >= p.begins(ph) {
			return ph
		}
	}
	return warmup
}
