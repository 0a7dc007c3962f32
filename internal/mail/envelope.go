package mail

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// Envelope is what travels beside a message (RFC 5321 section 2.3.1).
type Envelope struct {
	From       Address
	Recipients []Recipient
	Size       int64    // SIZE parameter in octets, 0 when not given (RFC 1870)
	Body       BodyType // BODY parameter (RFC 6152, RFC 3030)
	SMTPUTF8   bool     // RFC 6531
	Ret        string   // "FULL", "HDRS" or "" (RFC 3461 section 4.3)
	EnvID      string   // decoded xtext, at most 100 octets (RFC 3461 section 4.4)
	Auth       string   // AUTH parameter, decoded (RFC 4954); never trusted
}

// BodyType is the BODY parameter of MAIL FROM.
type BodyType string

// Body types. The empty BodyType means 7BIT.
const (
	Body7Bit   BodyType = "7BIT"
	Body8Bit   BodyType = "8BITMIME"
	BodyBinary BodyType = "BINARYMIME"
)

// Recipient is one RCPT TO with its DSN parameters (RFC 3461 section 4).
type Recipient struct {
	Address
	Notify Notify
	ORcpt  string // "addr-type;address", decoded; empty when not given
}

// Notify is the NOTIFY parameter as a set; zero when it was not given.
type Notify uint8

// Members of Notify. NotifyNever stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// String gives the parameter's value, "" for zero.
func (n Notify) String() string {
	if n&NotifyNever != 0 {
		return "NEVER"
	}
	var out []string
	for i, word := range []string{"SUCCESS", "FAILURE", "DELAY"} {
		if n&(NotifySuccess<<i) != 0 {
			out = append(out, word)
		}
	}
	return strings.Join(out, ",")
}

// Failure tells whether a failure of this recipient is to be reported: asked
// for, or left to the default (RFC 3461 section 4.1).
func (n Notify) Failure() bool { return n == 0 || n&NotifyFailure != 0 }

// Delay tells whether a delay may be reported.
func (n Notify) Delay() bool { return n == 0 || n&NotifyDelay != 0 }

// TraceID is shared by all events of one session and of the messages it
// carried.
type TraceID string

var traceText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// Valid tells whether t may be one that NewTraceID gave.
func (t TraceID) Valid() bool {
	_, err := traceText.DecodeString(string(t))
	return err == nil && len(t) == 16
}

// NewTraceID gives 16 characters of 80 random bits.
func NewTraceID() TraceID {
	var b [10]byte
	rand.Read(b[:])
	return TraceID(traceText.EncodeToString(b[:]))
}
