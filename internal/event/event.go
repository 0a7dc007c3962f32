// Package event records what happened to sessions and messages.
//
// # Journal
//
// Events are JSON objects, one a line, in DIR/events.jsonl. Every process of a
// node appends whole lines to it; the serving process alone closes the file at
// its size limit, by renaming it to events-TIME.jsonl, and deletes closed files
// at their age limit. The file is synced every second: a power cut loses that
// second at most, a killed process what was not written yet, some milliseconds.
// A line torn by either is closed by a newline at the next start and skipped by
// readers.
//
// Recording never waits. When the disk cannot keep up, events are dropped and
// counted, and the count is itself an event.
package event

import (
	"log/slog"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Kind names what happened. Kinds and field names are stable.
type Kind string

// The kinds of events.
const (
	Connect   Kind = "connect"   // a client connected, or was refused
	Close     Kind = "close"     // a connection ended
	Rcpt      Kind = "rcpt"      // a RCPT was answered
	Refuse    Kind = "refuse"    // another command or a message was refused
	Finding   Kind = "finding"   // a check said something of a message
	Accept    Kind = "accept"    // a message was made durable and acknowledged
	Stored    Kind = "stored"    // a message was put into a mailbox
	Attempt   Kind = "attempt"   // delivery to another host was tried
	Settled   Kind = "settled"   // a recipient will not be tried again
	Bounce    Kind = "bounce"    // a DSN was made
	Retrieve  Kind = "retrieve"  // a message was handed to its reader
	Login     Kind = "login"     // a login succeeded or failed
	Edge      Kind = "edge"      // a decision of the edge changed something: a penalty, trust, a level
	Setting   Kind = "setting"   // a setting was changed
	Admin     Kind = "admin"     // an administrator did something
	Fault     Kind = "fault"     // something of ours is broken
	Lifecycle Kind = "lifecycle" // the node started, reloaded, stopped
)

// Event is one immutable record. Empty fields are left out of the journal.
type Event struct {
	Time      time.Time    `json:"time"`
	Node      string       `json:"node,omitempty"`
	Kind      Kind         `json:"kind"`
	Trace     mail.TraceID `json:"trace,omitempty"`
	Role      string       `json:"role,omitempty"`       // mx, submission, delivery, pop3 …
	Remote    string       `json:"remote,omitempty"`     // address:port of the peer
	Helo      string       `json:"helo,omitempty"`       // what it called itself
	TLS       string       `json:"tls,omitempty"`        // version and cipher, or why there is none
	Account   string       `json:"account,omitempty"`    // who is logged in, or whose setting it is
	Actor     string       `json:"actor,omitempty"`      // who did it, when that is not Account
	From      string       `json:"from,omitempty"`       // envelope sender; "<>" for the null sender
	To        string       `json:"to,omitempty"`         // one envelope recipient
	MessageID string       `json:"message_id,omitempty"` // the header's, without angle brackets
	Queue     int64        `json:"queue,omitempty"`      // queue number
	Size      int64        `json:"size,omitempty"`       // octets
	Host      string       `json:"host,omitempty"`       // the server tried
	Code      int          `json:"code,omitempty"`       // SMTP reply
	Enhanced  string       `json:"enhanced,omitempty"`   // RFC 3463
	Text      string       `json:"text,omitempty"`       // the reply's words: ours to a stranger, or the peer's
	Verb      string       `json:"verb,omitempty"`       // the command, mechanism or action
	Reason    string       `json:"reason,omitempty"`     // why, in words; not told to strangers
	Count     int64        `json:"count,omitempty"`
	Millis    int64        `json:"millis,omitempty"` // how long it took

	// What the edge made of a RCPT, and of whom. With them `migiwa edge replay` decides it anew.
	Verdict  string  `json:"verdict,omitempty"`  // answer: the client heard the truth; defer: it did not
	Why      string  `json:"why,omitempty"`      // edge.Reason of that: calm, proven, gate, penalty …
	Truth    string  `json:"truth,omitempty"`    // exists, unknown or former; of a deferred one from the later look-up
	Ref      string  `json:"ref,omitempty"`      // the six characters that a deferred client was given
	Name     string  `json:"name,omitempty"`     // the client's forward-confirmed name; "-": it has none; empty: not looked up in time
	SPF      string  `json:"spf,omitempty"`      // RFC 7208 section 2.6: pass, fail, softfail …; empty: not looked up in time
	Identity string  `json:"identity,omitempty"` // whom it came from, where that is proven; otherwise "DOMAIN at SOURCE", a pair
	Score    float32 `json:"score,omitempty"`    // prior and findings, in nats; 0 is left out
	Evidence string  `json:"evidence,omitempty"` // in words
}

// LogValue gives the fields that are set, under the names of the journal.
func (e Event) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, f := range []struct{ name, value string }{
		{"role", e.Role}, {"remote", e.Remote}, {"helo", e.Helo}, {"tls", e.TLS}, {"account", e.Account}, {"actor", e.Actor},
		{"from", e.From}, {"to", e.To}, {"message_id", e.MessageID}, {"host", e.Host}, {"enhanced", e.Enhanced},
		{"text", e.Text}, {"verb", e.Verb}, {"reason", e.Reason},
		{"verdict", e.Verdict}, {"why", e.Why}, {"truth", e.Truth}, {"ref", e.Ref}, {"name", e.Name}, {"spf", e.SPF},
		{"identity", e.Identity}, {"evidence", e.Evidence},
	} {
		if f.value != "" {
			attrs = append(attrs, slog.String(f.name, f.value))
		}
	}
	for _, f := range []struct {
		name  string
		value int64
	}{{"queue", e.Queue}, {"size", e.Size}, {"code", int64(e.Code)}, {"count", e.Count}, {"millis", e.Millis}} {
		if f.value != 0 {
			attrs = append(attrs, slog.Int64(f.name, f.value))
		}
	}
	if e.Score != 0 {
		attrs = append(attrs, slog.Float64("score", float64(e.Score)))
	}
	return slog.GroupValue(attrs...)
}
