package smtpd

import (
	"context"
	"crypto/tls"
	"io"
	"net/netip"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Handler judges. The server asks it about every connection; what it returns
// is asked about everything that happens on that connection.
type Handler interface {
	// Connect is asked once per connection, after the PROXY header if one is
	// due and before a banner. A verdict whose reply is not positive is sent
	// in place of the banner and the connection is closed. A nil Session is
	// allowed only then.
	Connect(ctx context.Context, c *Conn) (Session, Verdict)
}

// Session is asked at each step of one dialogue, always from one goroutine.
// The zero Verdict means: go on with the usual reply.
type Session interface {
	// Hello is asked for each HELO and EHLO.
	Hello(ctx context.Context, h Hello) Verdict
	// StartTLS is asked before the 220 of STARTTLS; with a server that is
	// TLS from the start it is not asked.
	StartTLS(ctx context.Context) Verdict
	// Mail is asked with a grammatical MAIL FROM.
	Mail(ctx context.Context, env *mail.Envelope) Verdict
	// Rcpt is asked with a grammatical RCPT TO; r joins env.Recipients only
	// when the verdict is positive.
	Rcpt(ctx context.Context, env *mail.Envelope, r mail.Recipient) Verdict
	// Data is asked before the 354 of DATA, or before the first BDAT chunk.
	// Without recipients the message is refused whatever it says, but the
	// refusal may be the Session's own.
	Data(ctx context.Context, env *mail.Envelope) Verdict
	// Body reads the message, dots removed, lines ending in CRLF, up to
	// io.EOF. Any other read error means that the message must be dropped: its
	// *mail.Reply is what the peer hears, whatever Body returns. What Body
	// leaves unread the server reads and throws away. The verdict is the final
	// reply; a positive one promises that the message is on disk.
	Body(ctx context.Context, env *mail.Envelope, r io.Reader) Verdict
	// Other is asked for VRFY, EXPN, HELP, NOOP, RSET and whatever the server
	// does not know, so that scans can be noticed and answered.
	Other(ctx context.Context, verb, arg string) Verdict
	// Broken tells of a protocol fault that the server itself answers, such
	// as a bare LF, a command too long or out of order, or talk before the
	// banner. It may make the answer stronger, never weaker.
	Broken(ctx context.Context, fault Fault) Verdict
	// End is called once, when the connection is over.
	End(e Ending)
}

// Authenticator is implemented by a Session that lets peers log in. Without it
// AUTH is neither offered nor accepted.
type Authenticator interface {
	// Mechanisms are those offered now, strongest first. Empty: no AUTH.
	Mechanisms() []string
	// Auth runs one exchange. The challenges and responses are decoded; ex
	// writes a 334 and reads the answer, and gives sasl.ErrCancelled for "*".
	// initial is nil when the peer sent none.
	Auth(ctx context.Context, mechanism string, initial []byte, ex func(challenge []byte) ([]byte, error)) Verdict
}

// Verdict is the answer to one step.
type Verdict struct {
	// Reply is what the peer hears; nil leaves the usual positive reply.
	Reply *mail.Reply
	// Delay passes before the reply is written. The connection costs a
	// goroutine and no buffers meanwhile, and ends early when the peer leaves.
	// Where too many are held back for a second or more (Limits.Held) the peer
	// hears 421 at once; only the reply to a message is kept, without the wait.
	// For Connect it is the greet pause: a peer that talks in it is reported
	// to Broken as EarlyTalk.
	Delay time.Duration
	// Tarpit sends the reply in pieces over this time, as a multi-line reply
	// is allowed to come, so that a patient peer stays and a hasty one goes.
	Tarpit time.Duration
	// Close ends the connection after the reply.
	Close bool
	// After runs once the reply has left, before the next command is read; also
	// when the peer has not waited for it. It is for work whose time must not
	// show in the reply.
	After func()

	stands bool // the reply tells what became of a message: no other may take its place
}

// Hello is what HELO, EHLO said.
type Hello struct {
	Name     string // as sent, bounded, printable
	Extended bool   // EHLO
}

// Fault is a protocol fault of the peer.
type Fault string

// Faults that the server reports to Session.Broken.
const (
	EarlyTalk    Fault = "early-talk"    // bytes before the banner
	BareNewline  Fault = "bare-newline"  // CR or LF alone, in a command or in DATA
	LongLine     Fault = "long-line"     // a command or a text line over its limit
	BadSyntax    Fault = "bad-syntax"    // 501
	BadSequence  Fault = "bad-sequence"  // 503
	Pipelining   Fault = "pipelining"    // sent ahead where RFC 2920 forbids it, or over STARTTLS
	TooManyBad   Fault = "too-many-bad"  // the error limit was reached
	TooSlow      Fault = "too-slow"      // below the least byte rate or over a total time
	OtherTraffic Fault = "other-traffic" // HTTP, TLS in the clear, binary
)

// Ending sums up a connection for Session.End.
type Ending struct {
	Cause    error // nil after QUIT; io.EOF when the peer just left
	Bytes    int64 // octets read from the peer
	Commands int   // commands read
	Messages int   // messages accepted
	Duration time.Duration
}

// Conn is what is known of a connection. Its fields are set before Connect and
// do not change, but for TLS and Hello.
type Conn struct {
	Trace   mail.TraceID
	Remote  netip.AddrPort       // the client; from the PROXY header where one is used
	Local   netip.AddrPort       // where it connected to
	Proxied bool                 // Remote came from a PROXY header
	Server  string               // our name in banner and Received
	TLS     *tls.ConnectionState // nil without TLS
	Hello   Hello                // the newest HELO or EHLO
	Start   time.Time
}

// Exempt tells whether flow limits do not apply: a client on this machine that
// no balancer speaks for.
func (c *Conn) Exempt() bool { return !c.Proxied && c.Remote.Addr().Unmap().IsLoopback() }
