package edge

import (
	"context"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// TestEverythingAtOnce does all there is to do with a guard from many sides. It
// is for the race detector, and ends only if no two locks wait for each other.
func TestEverythingAtOnce(t *testing.T) {
	g := newGuard(t)
	g.Clock = NewClock(3600, 0)
	flow, err := NewFlow(DefaultFlowRules(), 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	g.Flow = flow
	g.Exists = func(_ context.Context, a mail.Address) (Truth, string, error) {
		return Truth(len(a.Local) % 3), "", nil
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	var wg sync.WaitGroup
	many := func(n int, fn func()) {
		for range n {
			wg.Go(func() {
				for ctx.Err() == nil {
					fn()
				}
			})
		}
	}
	many(8, func() { wander(ctx, g) })
	many(1, func() { g.Engine.Save(io.Discard, g.Clock.Now()) })
	many(1, func() {
		g.Engine.Forgive("192.0.2.0/24")
		g.Engine.Forgive("d1.test")
		g.Engine.Observe(g.Clock.Now())
		a := Attempt{Source: from("192.0.2.1"), Identity: g.Engine.Pair(from("192.0.2.1"), "d1.test")}
		g.Engine.Explain(g.Clock, &a)
		g.Engine.Status(g.Clock)
	})
	g.Run(ctx)
	wg.Wait()
	if all, unproven := flow.Open(); all != 0 || unproven != 0 {
		t.Errorf("%d sessions, %d of unproven sources, are still open", all, unproven)
	}
}

// wander is a visit that does anything.
func wander(ctx context.Context, g *Guard) {
	ip := netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", mrand.N(256)))
	if mrand.N(2) == 0 {
		ip = netip.MustParseAddr(fmt.Sprintf("2001:db8:1:11%02x::1", mrand.N(256)))
	}
	v, reply := g.Open(Client{Remote: netip.AddrPortFrom(ip, 25), MTAName: "mx.d1.test", Looked: mrand.N(2) == 0})
	if reply != nil {
		return
	}
	defer v.Close()
	for range mrand.N(20) {
		switch mrand.N(9) {
		case 0:
			v.Mail(mail.MakeAddress("a", mail.Domain(fmt.Sprintf("d%d.test", mrand.N(4)))), 10)
		case 1:
			v.Mail(mail.Address{}, 0)
		case 2:
			v.Accepted(1000)
		case 3:
			v.Misbehaved(Behaviour(mrand.N(5)))
		case 4:
			v.Asked()
			v.Held()
		default:
			r := v.Rcpt(ctx, mail.MakeAddress(fmt.Sprint(mrand.N(100000)), mail.Domain(fmt.Sprintf("r%d.test", mrand.N(20)))), mrand.N(20) == 0)
			if r.Reply == nil {
				v.Told(r, Truth(mrand.N(3)), "")
			} else if r.After != nil {
				r.After()
			}
		}
	}
}
