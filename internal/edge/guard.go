package edge

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	mrand "math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// Guard stands at the edge of a node: the engine, and what it must be told of
// the world. The receiving role asks it at every step of a dialogue (Visit);
// so do the milter and the policy service. Its fields are set before use. A nil
// Guard judges nothing.
type Guard struct {
	Engine   *Engine
	Clock    *Clock
	Resolver dns.Resolver // nil: nothing is looked up
	Events   *event.Recorder
	// Exists tells what a recipient is, and what it leads to as Told has it. It
	// is asked after the reply, for recipients that were deferred; answered ones
	// the caller looks up itself. nil: deferred recipients are no evidence.
	Exists func(ctx context.Context, rcpt mail.Address) (t Truth, mailbox string, err error)
	Flow   *Flow // nil: nothing is limited
	// Load tells what share of the room for connections is taken, from 0 to 1;
	// nil: none.
	Load func() float64
	// GreetPause is how long suspects wait for their greeting, Tarpit over how
	// long a reply to a client in penalty is spread; 0: not at all.
	GreetPause, Tarpit time.Duration
	// LookupWait is the longest that a decision waits for DNS, default 1 s.
	LookupWait time.Duration

	once    sync.Once
	shadows chan shadow
	checks  chan struct{} // SPF checks that go on
	dropped counter       // shadows that nobody looked up
}

// Client is who connected.
type Client struct {
	Trace  mail.TraceID
	Role   string // of the events
	Remote netip.AddrPort
	Exempt bool // on this machine: not judged

	Name *dns.Confirmation // the search for its name, which somebody began; nil: see MTAName
	// MTAName is the confirmed name as a mail server in front of us gives it,
	// "" for none; it counts when Name is nil and Looked is set.
	MTAName string
	Looked  bool
}

// The sizes of what happens behind a reply: a look-up is dropped rather than
// let others wait.
const (
	shadowQueue   = 4096
	shadowWorkers = 4
	shadowLimit   = 5 * time.Second
	shadowPause   = 300 * time.Millisecond
)

// shadow is the look-up of a recipient whose sender was not told.
type shadow struct {
	ruling *Ruling
	event  event.Event
}

func (g *Guard) open() {
	g.once.Do(func() {
		g.shadows, g.checks = make(chan shadow, shadowQueue), make(chan struct{}, spfMost)
		if g.LookupWait == 0 {
			g.LookupWait = time.Second
		}
	})
}

// Run looks deferred recipients up until ctx ends. It does so some time later,
// in batches: right behind the reply, what a look-up costs would show in the
// time of the next one.
func (g *Guard) Run(ctx context.Context) {
	g.open()
	var wg sync.WaitGroup
	for range shadowWorkers {
		wg.Go(func() {
			for {
				select {
				case <-time.After(shadowPause + mrand.N(shadowPause)):
				case <-ctx.Done():
					return
				}
				for more := true; more; {
					select {
					case s := <-g.shadows:
						g.look(ctx, s)
					default:
						more = false
					}
				}
			}
		})
	}
	wg.Wait()
}

// look finds out what a deferred recipient is, and learns from it.
func (g *Guard) look(ctx context.Context, s shadow) {
	ctx, cancel := context.WithTimeout(ctx, shadowLimit)
	defer cancel()
	truth, mailbox, err := g.Exists(ctx, s.ruling.to)
	if err != nil {
		s.event.Reason = err.Error()
		g.Events.Record(s.event)
		return
	}
	s.event.Truth = truth.String()
	g.Events.Record(s.event)
	g.learn(s.ruling, truth, mailbox)
}

// learn takes what a recipient turned out to be. One that exists is, from now
// on, the mailbox it leads to: a thousand addresses of one speak for nobody as
// often as a thousand people do.
func (g *Guard) learn(r *Ruling, t Truth, mailbox string) {
	r.reached = r.attempt.Recipient
	if mailbox != "" {
		r.reached = g.Engine.Hash("mailbox " + mailbox)
	}
	a := r.attempt
	if t == Exists {
		a.Recipient = r.reached
	}
	g.tell(r, g.Engine.Learn(&a, &r.decision, t))
}

// later queues the look-up of a deferred recipient. Under load it is dropped:
// the event then tells no truth.
func (g *Guard) later(s shadow) {
	if g.Exists != nil {
		select {
		case g.shadows <- s:
			return
		default:
			g.dropped.add(1)
		}
	}
	g.Events.Record(s.event)
}

// tell records what an outcome changed.
func (g *Guard) tell(r *Ruling, c Change) {
	if c.Kind == None {
		return
	}
	e := r.about
	e.Kind, e.Verb, e.From, e.Ref = event.Edge, c.Kind.String(), r.from.Path(), r.ref
	e.Evidence = g.Engine.words(&r.attempt, c)
	if c.Identity {
		e.Identity = r.identity
	}
	if c.Until != 0 {
		e.Reason = "until " + g.Clock.Wall(c.Until).UTC().Format(time.RFC3339)
	}
	g.Events.Record(e)
}

// Close frees the tables. No visit may be open any more.
func (g *Guard) Close() {
	g.Engine.Close()
	if g.Flow != nil {
		g.Flow.Close()
	}
}

// Dropped counts the look-ups of deferred recipients that load prevented.
func (g *Guard) Dropped() int64 { return g.dropped.Load() }

// grid is the raster on which deferring replies leave. It is that of the clock,
// not of the command: then a client that waits for each reply sees the same
// time between two, however long the server took.
const grid = 5 * time.Millisecond

// onGrid gives the point of the grid on which a reply leaves, at least half a
// step from now.
func onGrid(now time.Time) time.Time {
	return now.Add(grid / 2).Truncate(grid).Add(grid)
}

var refText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newRef makes the six characters by which a deferred client can be asked for.
func newRef() string {
	var b [4]byte
	rand.Read(b[:])
	return refText.EncodeToString(b[:])[:6]
}

// Replies of limits. They say nothing of recipients.
var (
	tooManyConnections = mail.Reply{Code: 421, Enhanced: "4.7.0", Text: "Too many connections, try again later", Close: true}
	tooManyMessages    = mail.Reply{Code: 450, Enhanced: "4.7.1", Text: "Too many messages, try again later"}
	tooManyRecipients  = mail.Reply{Code: 450, Enhanced: "4.7.1", Text: "Too many recipients, try again later"}
)

// deferral is the one reply of a held client, the same for every recipient.
func deferral(ref string) *mail.Reply {
	return &mail.Reply{Code: 451, Enhanced: "4.7.1", Text: "Try again later (ref " + ref + ")"}
}
