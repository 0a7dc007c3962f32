package main

import (
	"time"

	"github.com/migiwa/migiwa/bench/stranger"
)

// class is what a client can tell of an answer.
type class int

const (
	taken    class = iota // 2xx
	unknown               // 550 5.1.1
	refused               // any other 5xx
	deferred              // 4xx
	failed                // the connection failed
	classes
)

var classNames = [classes]string{"2xx", "550 5.1.1", "other 5xx", "4xx", "failed"}

func (c class) String() string { return classNames[c] }

// MarshalText implements encoding.TextMarshaler.
func (c class) MarshalText() ([]byte, error) { return []byte(classNames[c]), nil }

// truthful tells whether c depends on the recipient.
func (c class) truthful() bool { return c == taken || c == unknown }

func classify(o stranger.Outcome) class {
	switch {
	case o.Err != nil:
		return failed
	case o.Reply.Code/100 == 2:
		return taken
	case o.Reply.Code == 550 && o.Reply.Enhanced() == "5.1.1":
		return unknown
	case o.Reply.Code/100 == 4:
		return deferred
	}
	return refused
}

// attempt is one session as the client saw it, a line of the log.
type attempt struct {
	At       float64 // scaled seconds since the start, as planned
	Answered float64
	Kind     kind
	Message  int
	Try      int // 1: the first
	Last     bool
	Guess    bool // by a bot
	To       string
	Valid    bool   // the recipient exists
	Test     int    // an adversary's test it belongs to
	Role     string // in that test
	Step     stranger.Step
	Class    class
	Text     string        // of the reply, masked
	Took     time.Duration // the reply to RCPT; 0 when it did not come to that
	Quit     time.Duration // the end of the session
	Spent    time.Duration // the whole session
	Late     time.Duration // after the planned time
}
