package smtpd

import "time"

// Limits bounds one connection and the whole server. A zero field stands for
// its default, a negative one for no limit where the field says so.
type Limits struct {
	Connections int // at a time, default 20,000; negative: no limit
	PerAddress  int // connections at a time of one IPv4 address or IPv6 /64, default 50; negative: no limit
	Held        int // connections at a time that wait for a Delay or Tarpit of a second or more, default 2,000; negative: no limit

	CommandLine int // octets with CR LF, default 2,048 (RFC 5321 asks for 512 and room for parameters)
	AuthLine    int // octets of an AUTH command or response, default 12,288 (RFC 4954 section 4)
	TextLine    int // octets of a line of a message with CR LF, default 65,536

	Commands    int   // a connection, default 5,000; negative: no limit
	Errors      int   // faults of protocol a connection, default 10
	Messages    int   // a connection, default 1,000; negative: no limit. Told as MAILMAX (RFC 9422)
	Recipients  int   // a message, default 1,000. Told as RCPTMAX
	MessageSize int64 // octets, default 50 MiB. Told as SIZE (RFC 1870)

	Header    time.Duration // for a PROXY header, default 5 s
	Handshake time.Duration // for a TLS handshake, default 30 s
	Idle      time.Duration // for the next command, and between two reads of a message, default 5 min (RFC 5321 section 4.5.3.2)
	Write     time.Duration // for a reply to leave, default 1 min
	Total     time.Duration // for a connection, default 2 h

	// ByteRate is the least number of octets a second at which a message must
	// come, on average once Grace has passed. Defaults: 256 a second, 1 min.
	ByteRate int
	Grace    time.Duration
}

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	fill(&l.Connections, 20_000)
	fill(&l.PerAddress, 50)
	fill(&l.Held, 2000)
	fill(&l.CommandLine, 2048)
	fill(&l.AuthLine, 12_288)
	fill(&l.TextLine, 65_536)
	fill(&l.Commands, 5000)
	fill(&l.Errors, 10)
	fill(&l.Messages, 1000)
	fill(&l.Recipients, 1000)
	fill(&l.MessageSize, 50<<20)
	fill(&l.Header, 5*time.Second)
	fill(&l.Handshake, 30*time.Second)
	fill(&l.Idle, 5*time.Minute)
	fill(&l.Write, time.Minute)
	fill(&l.Total, 2*time.Hour)
	fill(&l.ByteRate, 256)
	fill(&l.Grace, time.Minute)
	// A line must fit the borrowed buffer.
	l.CommandLine = min(l.CommandLine, bigSize)
	l.AuthLine = min(l.AuthLine, bigSize)
	return l
}

func fill[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
