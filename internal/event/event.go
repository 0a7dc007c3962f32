// Package event records what happened to sessions and messages.
//
// # Journal
//
// Events are JSON objects, one a line, in files of three shelves: DIR/sessions-…,
// messages-… and audit-…, so that events that come in masses cannot push out
// the others. A file is named by the time it was begun, SHELF-TIME.jsonl, for good;
// the newest of a shelf grows. Every process of a node appends whole lines to it,
// under a shared lock. The serving process alone begins the next one at the size
// limit, compresses the others (SHELF-TIME.jsonl.zst, Zstandard) once nobody
// holds their locks, takes out what is too old, and deletes the oldest where a
// shelf has too much. Files are synced every second: a power cut loses that
// second at most, a killed process what was not written yet, some milliseconds.
// A line torn by either is closed by a newline at the next start and skipped by
// readers.
//
// Recording never waits. When the disk cannot keep up, events are dropped and
// counted, and the count is itself an event.
package event

import (
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Kind names what happened. Kinds and field names are stable.
type Kind string

// The kinds of events. Kinds tells what each means.
const (
	Connect   Kind = "connect"
	Close     Kind = "close"
	Rcpt      Kind = "rcpt"
	Refuse    Kind = "refuse"
	Finding   Kind = "finding"
	Accept    Kind = "accept"
	Stored    Kind = "stored"
	Attempt   Kind = "attempt"
	Settled   Kind = "settled"
	Bounce    Kind = "bounce"
	Report    Kind = "report"
	Retrieve  Kind = "retrieve"
	Remove    Kind = "remove"
	Login     Kind = "login"
	Edge      Kind = "edge"
	Setting   Kind = "setting"
	Admin     Kind = "admin"
	Search    Kind = "search"
	Expire    Kind = "expire"
	Fault     Kind = "fault"
	Lifecycle Kind = "lifecycle"
)

// Kinds are all kinds, in the order of a message's way, and what each means.
var Kinds = []struct {
	Kind Kind
	Doc  string
}{
	{Connect, "A client connected, or was refused."},
	{Close, "A connection ended."},
	{Rcpt, "A RCPT was answered."},
	{Refuse, "Another command, a message or a session was refused."},
	{Finding, "A check said something of a message."},
	{Accept, "A message was made durable and acknowledged."},
	{Stored, "A message was put into a mailbox."},
	{Attempt, "Delivery to another host was tried."},
	{Settled, "A recipient will not be tried again."},
	{Bounce, "A delivery status notification was made."},
	{Report, "Another site reported on mail of ours: a complaint, or how the mail of a domain fares."},
	{Retrieve, "A message was handed to its reader."},
	{Remove, "A message was deleted from a mailbox, or moved on."},
	{Login, "A login succeeded or failed."},
	{Edge, "A decision of the edge changed something: a penalty, trust, a level."},
	{Setting, "A setting was changed."},
	{Admin, "An administrator did something."},
	{Search, "Somebody searched the events, or read or exported them."},
	{Expire, "Events were deleted because their time was over."},
	{Fault, "Something of ours is broken."},
	{Lifecycle, "The node started, reloaded, stopped."},
}

// Event is one immutable record. Empty fields are left out of the journal.
type Event struct {
	Time      time.Time    `json:"time" doc:"When, in UTC, to the nanosecond."`
	Node      string       `json:"node,omitempty" doc:"The host name of the node."`
	Kind      Kind         `json:"kind" doc:"What happened."`
	Trace     mail.TraceID `json:"trace,omitempty" doc:"What the event belongs to: the session, with all its messages. Of what happens to a message later, the session that brought the message."`
	Session   mail.TraceID `json:"session,omitempty" doc:"The session in which it happened, when trace is another's: the one in which a reader fetched a message."`
	Next      mail.TraceID `json:"next,omitempty" doc:"The trace of the message on the node that took it over."`
	Role      string       `json:"role,omitempty" doc:"mx, submission, delivery, imap, pop3 and so on."`
	IP        netip.Addr   `json:"ip,omitzero" doc:"Address of the peer."`
	Port      uint16       `json:"port,omitempty" doc:"Port of the peer."`
	Helo      string       `json:"helo,omitempty" doc:"What the peer called itself: in HELO, or by IMAP's ID."`
	TLS       string       `json:"tls,omitempty" doc:"Version and cipher, or why there is none."`
	Account   string       `json:"account,omitempty" doc:"Who is logged in, whose mailbox or whose setting it is."`
	Actor     string       `json:"actor,omitempty" doc:"Who did it, when that is not account."`
	From      string       `json:"from,omitempty" doc:"Envelope sender, in angle brackets; <> for the null sender."`
	To        string       `json:"to,omitempty" doc:"One envelope recipient."`
	MessageID string       `json:"message_id,omitempty" doc:"The header's Message-ID, without angle brackets."`
	Subject   string       `json:"subject,omitempty" doc:"The header's Subject, decoded, at most 200 octets."`
	Mailbox   string       `json:"mailbox,omitempty" doc:"Name of the mailbox."`
	Queue     int64        `json:"queue,omitempty" doc:"Queue number."`
	Size      int64        `json:"size,omitempty" doc:"Octets."`
	Host      string       `json:"host,omitempty" doc:"Name of the server that was tried."`
	Code      int          `json:"code,omitempty" doc:"SMTP reply code, ours or the peer's (RFC 5321 section 4.2)."`
	Enhanced  string       `json:"enhanced,omitempty" doc:"Enhanced status code (RFC 3463)."`
	Text      string       `json:"text,omitempty" doc:"The words of the reply: ours to a stranger, or exactly the peer's. Of a search: why it was made."`
	Verb      string       `json:"verb,omitempty" doc:"The command, mechanism, action or state."`
	Reason    string       `json:"reason,omitempty" doc:"Why, in words. Not told to strangers."`
	Query     string       `json:"query,omitempty" doc:"What was searched for."`
	Count     int64        `json:"count,omitempty" doc:"How many: recipients, messages, hits, lost events."`
	Millis    int64        `json:"millis,omitempty" doc:"How long it took, in milliseconds."`

	// What the edge made of a RCPT, and of whom. With them `migiwa edge replay` decides it anew.
	Verdict  string  `json:"verdict,omitempty" doc:"answer: the client heard the truth; defer: it did not."`
	Why      string  `json:"why,omitempty" doc:"The edge's reason of the verdict: calm, proven, gate, penalty and so on."`
	Truth    string  `json:"truth,omitempty" doc:"exists, unknown or former; of a deferred recipient from the later look-up."`
	Ref      string  `json:"ref,omitempty" doc:"The six characters that a deferred client was given."`
	Name     string  `json:"name,omitempty" doc:"The client's forward-confirmed name; - when it has none; empty when it was not looked up in time."`
	SPF      string  `json:"spf,omitempty" doc:"pass, fail, softfail and so on (RFC 7208 section 2.6); empty when it was not looked up in time."`
	Identity string  `json:"identity,omitempty" doc:"Whom it came from, where that is proven; otherwise a pair, DOMAIN at SOURCE."`
	Score    float32 `json:"score,omitempty" doc:"Prior and findings, in nats; 0 is left out."`
	Evidence string  `json:"evidence,omitempty" doc:"The evidence, in words."`
}

// Peer gives e with the address of the other side. An invalid one leaves e as
// it is.
func (e Event) Peer(a netip.AddrPort) Event {
	e.IP, e.Port = a.Addr().Unmap(), a.Port()
	return e
}

// Remote gives the address of the other side; it is invalid when there is none.
func (e *Event) Remote() netip.AddrPort { return netip.AddrPortFrom(e.IP, e.Port) }

// LogValue gives the fields that are set, under the names of the journal, but
// for the time, the node, the kind and the trace.
func (e Event) LogValue() slog.Value {
	var attrs []slog.Attr
	v := reflect.ValueOf(e)
	for i, f := range Fields {
		if field := v.Field(i); i > 3 && !field.IsZero() {
			attrs = append(attrs, slog.Any(f.Name, field.Interface()))
		}
	}
	return slog.GroupValue(attrs...)
}
