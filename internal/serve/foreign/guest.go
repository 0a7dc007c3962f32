package foreign

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// Guest is one client of the other server. Its methods may be called side by
// side: what belongs to one client comes by several connections.
type Guest struct {
	desk   *Desk
	client Client
	trace  mail.TraceID
	seen   time.Time // guarded by desk.mu

	mu      sync.Mutex
	visit   *edge.Visit // nil: not judged, or gone
	away    *mail.Reply // with which it is turned away
	helo    string
	open    bool // a transaction is open: tr
	tr      Transaction
	full    *mail.Reply // with which the transaction is refused
	asked   []asked
	silence *time.Timer
}

// Transaction is one message of a client as the other server names it.
type Transaction struct {
	ID   string // the server's name of it, "" where it has none yet
	From mail.Address
	Size int64 // octets, as far as told
}

// asked is a recipient about which the client may hear the truth.
type asked struct {
	to     mail.Address
	ruling *edge.Ruling
	visit  *edge.Visit
	about  event.Event
	silent bool // that nobody tells is an answer, too
}

// Hello tells the name of HELO or EHLO, once or again. The reply, if any, turns
// the client away.
func (g *Guest) Hello(name string) *mail.Reply {
	g.mu.Lock()
	defer g.mu.Unlock()
	if name != g.helo {
		g.reset()
		g.helo = name
		g.visit.Hello(name)
	}
	return g.away
}

// Begin opens a transaction and ends the one before it. The reply, if any,
// refuses it for now.
func (g *Guest) Begin(tr Transaction) *mail.Reply {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.begin(tr)
}

func (g *Guest) begin(tr Transaction) *mail.Reply {
	g.reset()
	g.open, g.tr = true, tr
	if g.full = g.away; g.full == nil {
		g.full = g.visit.Mail(tr.From, tr.Size)
	}
	return g.full
}

// join makes tr the open transaction, unless it is.
func (g *Guest) join(tr Transaction) {
	if g.open && g.tr.From.Key() == tr.From.Key() && (g.tr.ID == tr.ID || g.tr.ID == "" || tr.ID == "") {
		if g.tr.ID == "" {
			g.tr.ID = tr.ID
		}
		return
	}
	g.begin(tr)
}

// Left is to be called once the reply of a ruling is on its way.
func Left(r *edge.Ruling) {
	if r.After != nil {
		r.After()
	}
}

// Ask puts a recipient to the edge, before anybody looks it up. Where the
// ruling has a reply the client must hear that, not before At, and Left is to
// be called behind it. Otherwise the server may tell the client the truth, and
// us by Tell; with silent, telling nothing means that the recipient is unknown.
func (g *Guest) Ask(ctx context.Context, tr Transaction, to mail.Address, silent bool) *edge.Ruling {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settle()
	g.join(tr)
	if g.full != nil {
		return &edge.Ruling{Reply: g.full}
	}
	r := g.visit.Rcpt(ctx, to, false)
	if r.Reply != nil || g.visit == nil || len(g.asked) >= maxAsked {
		return r
	}
	about := event.Event{
		Kind: event.Rcpt, Role: g.client.Role, Trace: g.trace, Helo: g.helo,
		From: tr.From.Path(), To: to.String(),
	}.Peer(g.client.Remote)
	r.Describe(&about)
	g.asked = append(g.asked, asked{to, r, g.visit, about, silent})
	if silent {
		g.wait()
	}
	return r
}

// Tell takes what a recipient turned out to be that was asked for in the open
// transaction; of others nothing is learnt.
func (g *Guest) Tell(to mail.Address, t edge.Truth) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := len(g.asked) - 1; i >= 0; i-- {
		if a := g.asked[i]; a.to.Key() == to.Key() {
			g.asked = append(g.asked[:i], g.asked[i+1:]...)
			g.learn(a, t)
			return
		}
	}
}

// Staged is Tell of the second stage of a policy list, which only recipients
// that exist come to. A nil Guest learns nothing.
func (g *Guest) Staged(to mail.Address) {
	if g == nil {
		return
	}
	g.desk.staged.Store(true)
	g.Tell(to, edge.Exists)
}

// Seen takes a recipient that nobody was asked about before the server told the
// client the truth. What the edge would have said of it is the same as nothing.
func (g *Guest) Seen(ctx context.Context, tr Transaction, to mail.Address, t edge.Truth) {
	r := g.Ask(ctx, tr, to, false)
	if r.Reply != nil {
		Left(r)
		return
	}
	g.Tell(to, t)
}

// Accepted takes that the server has the message of the open transaction. A nil
// Guest accepts nothing.
func (g *Guest) Accepted(size int64) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.desk.ends.Store(true)
	if g.open {
		g.settle()
		g.visit.Accepted(size)
		g.open, g.asked = false, nil
	}
}

// Reset ends the open transaction without a message.
func (g *Guest) Reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reset()
}

func (g *Guest) reset() {
	g.settle()
	if g.open {
		g.visit.Reset()
		g.open, g.asked, g.full = false, nil, nil
	}
}

// leave ends the visit.
func (g *Guest) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reset()
	g.visit.Close()
	g.visit = nil
}

// wait lets silence become an answer after a while.
func (g *Guest) wait() {
	if g.silence != nil {
		g.silence.Stop()
	}
	after := settle
	if g.desk.Guard.Exists != nil {
		after = lookSoon
	}
	g.silence = time.AfterFunc(after, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.settle()
	})
}

// settle takes silence as an answer: the server would have come to the second
// stage by now.
func (g *Guest) settle() {
	if g.silence != nil {
		g.silence.Stop()
		g.silence = nil
	}
	kept := g.asked[:0]
	for _, a := range g.asked {
		switch {
		case !a.silent:
			kept = append(kept, a)
		case g.desk.Guard.Exists != nil:
			g.look(a)
		case g.desk.staged.Load():
			g.learn(a, edge.Unknown)
		}
	}
	g.asked = kept
}

// look finds out what a recipient is that the server said nothing about. One
// that exists was refused for another reason, which tells nothing.
func (g *Guest) look(a asked) {
	d := g.desk
	d.init()
	if d.ctx.Err() != nil || d.looks.Load() >= maxLooks {
		return
	}
	d.looks.Add(1)
	d.wg.Go(func() {
		defer d.looks.Add(-1)
		ctx, cancel := context.WithTimeout(d.ctx, calloutLimit)
		defer cancel()
		t, _, err := d.Guard.Exists(ctx, a.to)
		if err != nil || t == edge.Exists {
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.learn(a, t)
	})
}

func (g *Guest) learn(a asked, t edge.Truth) {
	a.about.Truth = t.String()
	g.desk.Guard.Events.Record(a.about)
	if t == edge.Exists && !g.desk.ends.Load() {
		return // whoever brings no message for it would be taken to probe
	}
	a.visit.Told(a.ruling, t, "")
}

// Address reads an address as mail servers hand it on: not always quoted as RFC
// 5321 wants it, and postmaster perhaps without a domain. Every text gives one.
func Address(s string) mail.Address {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">")
	if s == "" {
		return mail.Address{}
	}
	if a, err := mail.ParseAddress(s); err == nil {
		return a
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return mail.MakeAddress(s, "")
	}
	domain, err := mail.ParseDomain(s[at+1:])
	if err != nil {
		domain = mail.Domain(strings.ToLower(s[at+1:]))
	}
	return mail.MakeAddress(s[:at], domain)
}
