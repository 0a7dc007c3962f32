package foreign

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc/peertest"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
)

func newDesk(t *testing.T) *Desk {
	t.Helper()
	engine, err := edge.NewSeeded(edge.DefaultRules(), edge.Sizes{Sources: 4096}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return &Desk{Guard: &edge.Guard{Engine: engine, Clock: edge.NewClock(1, 0)}}
}

func client(port int) Client {
	return Client{Role: "test", Remote: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), uint16(port)), Looked: true}
}

func tr(id string) Transaction { return Transaction{ID: id, From: Address("x@far.test")} }

func guess(n int) mail.Address { return Address(fmt.Sprintf("guess%d@example.test", n)) }

// held tells whether the client of the desk is held.
func held(t *testing.T, d *Desk) bool {
	t.Helper()
	return d.Guest(client(9999)).Ask(t.Context(), tr("probe"), Address("ann@example.test"), false).Reply != nil
}

// TestSilence: recipients that the server says nothing of are unknown once it
// has been seen to say something of others, and at the next request or after a
// while, not at once.
func TestSilence(t *testing.T) {
	for _, staged := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			if staged {
				other := d.Guest(Client{Remote: netip.MustParseAddrPort("192.0.2.1:1")})
				other.Ask(t.Context(), tr("s"), Address("ann@example.test"), true)
				other.Staged(Address("ann@example.test"))
			}
			for n := range 5 { // each in a connection of its own
				d.Guest(client(n+1)).Ask(t.Context(), tr(fmt.Sprint(n)), guess(n), true)
			}
			if held(t, d) {
				t.Error("held before anybody could have said anything")
			}
			time.Sleep(settle + time.Second)
			if got := held(t, d); got != staged {
				t.Errorf("with a second stage seen %t: held %t", staged, got)
			}
		})
	}
}

// TestSilenceIsLookedUp: where there is a way to look a recipient up, that is
// done, and one that exists is no evidence.
func TestSilenceIsLookedUp(t *testing.T) {
	for _, truth := range []edge.Truth{edge.Exists, edge.Unknown} {
		d := newDesk(t)
		looked := make(chan mail.Address, 10)
		d.Guard.Exists = func(_ context.Context, a mail.Address) (edge.Truth, string, error) {
			looked <- a
			return truth, "", nil
		}
		for n := range 5 {
			d.Guest(client(n+1)).Ask(t.Context(), tr(fmt.Sprint(n)), guess(n), true)
		}
		for range 5 {
			<-looked
		}
		deadline := time.Now().Add(5 * time.Second)
		for d.looks.Load() > 0 && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if got := held(t, d); got != (truth == edge.Unknown) {
			t.Errorf("truth %v: held %t", truth, got)
		}
	}
}

// TestTellingMeetsAsking: what one connection asked another one tells, for the
// open transaction only.
func TestTellingMeetsAsking(t *testing.T) {
	d := newDesk(t)
	g := d.Guest(client(1))
	if g != d.Guest(client(1)) || g == d.Guest(client(2)) {
		t.Fatal("guests are not found by address and port")
	}
	g.Begin(Transaction{From: Address("x@far.test")})
	for n := range 5 {
		g.Ask(t.Context(), tr("a"), guess(n), false)
	}
	g.Tell(guess(7), edge.Unknown) // nobody asked
	g.Begin(tr("b"))
	for n := range 5 {
		g.Tell(guess(n), edge.Unknown) // of a transaction that is over
	}
	if held(t, d) {
		t.Fatal("held for what was not asked in the open transaction")
	}
	for n := range 5 {
		g.Ask(t.Context(), tr("b"), guess(n), false)
		g.Tell(guess(n), edge.Unknown)
	}
	if !held(t, d) {
		t.Error("not held after five unknown recipients")
	}
}

// TestGuestsAreForgotten: idle guests go, and there are never too many.
func TestGuestsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		first := d.Guest(client(1))
		time.Sleep(guestIdle + time.Second)
		d.Guest(client(2))
		if d.recent.Len() != 1 || d.Guest(client(1)) == first {
			t.Error("an idle guest is still there")
		}
		g := d.Guest(client(3))
		d.Forget(g)
		d.Forget(first) // long gone: another has its place
		if d.recent.Len() != 2 || d.guests[client(1).Remote] == nil {
			t.Errorf("%d guests", d.recent.Len())
		}
		for i := range maxGuests + 10 {
			d.Guest(Client{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)})
		}
		if d.recent.Len() != maxGuests || len(d.guests) != maxGuests {
			t.Errorf("%d guests, %d by address", d.recent.Len(), len(d.guests))
		}
	})
}

// TestCloseEndsVisits: behind Close nobody touches the guard's tables, look-ups
// that are under way included.
func TestCloseEndsVisits(t *testing.T) {
	d := newDesk(t)
	looking := make(chan struct{})
	d.Guard.Exists = func(ctx context.Context, _ mail.Address) (edge.Truth, string, error) {
		close(looking)
		<-ctx.Done()
		return 0, "", ctx.Err()
	}
	g := d.Guest(client(1))
	g.Ask(t.Context(), tr("a"), guess(0), true)
	<-looking
	g.Ask(t.Context(), tr("a"), guess(1), true)
	d.Close()
	d.Guard.Close()
	for _, g := range []*Guest{g, d.Guest(client(1)), d.Guest(client(2))} {
		g.Ask(t.Context(), tr("b"), guess(2), true)
		g.Tell(guess(2), edge.Unknown)
		g.Accepted(1)
		d.Forget(g)
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"": "<>", "<>": "<>", "ann@example.test": "<ann@example.test>", "<Ann@EXAMPLE.test>": "<Ann@EXAMPLE.test>",
		"a b@example.test": `<"a b"@example.test>`, "postmaster": "<postmaster>", `a"b@x y`: `<"a\"b"@x y>`,
	} {
		if got := Address(in).Path(); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestCallout asks a server for recipients, and asks once.
func TestCallout(t *testing.T) {
	p := (&peertest.Peer{Script: map[string]string{
		"RCPT <no@there.test>":   "550 5.1.1 no such user",
		"RCPT <gone@there.test>": "550 5.2.1 disabled",
		"RCPT <busy@there.test>": "451 4.3.0 later",
	}}).Start(t)
	c := &Callout{Addr: p.Addr(), Hello: "mx.here.test"}
	for range 2 {
		for _, w := range []struct {
			local   string
			truth   edge.Truth
			refusal string
		}{{"ann", edge.Exists, ""}, {"no", edge.Unknown, "550 5.1.1 no such user"}, {"gone", edge.Former, "550 5.2.1 disabled"}, {"bob", edge.Exists, ""}} {
			truth, refusal, err := c.Find(t.Context(), Address(w.local+"@there.test"))
			said := ""
			if refusal != nil {
				said = refusal.Error()
			}
			if err != nil || truth != w.truth || said != w.refusal {
				t.Errorf("%s: %v, %q, %v", w.local, truth, said, err)
			}
		}
		if _, _, err := c.Find(t.Context(), Address("busy@there.test")); err == nil {
			t.Error("a temporary refusal is no answer")
		}
	}
	p.Lock()
	defer p.Unlock()
	asked := strings.Count(strings.Join(p.Commands, "\n"), "RCPT TO:<no@there.test>")
	if asked != 1 || len(p.Messages) > 0 {
		t.Errorf("asked %d times for the same; %d messages\n%s", asked, len(p.Messages), strings.Join(p.Commands, "\n"))
	}
}
