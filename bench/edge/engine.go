package main

import (
	"net/netip"

	"github.com/migiwa/migiwa/internal/edge"
)

// started is the engine's time at the start of a run, a midnight.
const started = edge.Time(20_800 * day)

// engine is the real one, or several that know nothing of each other.
type engine struct {
	nodes []*edge.Engine
	turn  uint64
	last  edge.Decision
}

// newEngine starts engines whose secrets come from the seed, so that a run can
// be repeated.
func newEngine(rules edge.Rules, sizes edge.Sizes, seed uint64, nodes int) (*engine, error) {
	g := &engine{}
	for i := range nodes {
		e, err := edge.NewSeeded(rules, sizes, seed+uint64(i))
		if err != nil {
			g.close()
			return nil, err
		}
		g.nodes = append(g.nodes, e)
	}
	return g, nil
}

func (g *engine) close() {
	for _, e := range g.nodes {
		e.Close()
	}
}

func (g *engine) answers(p *probe) bool {
	e := g.nodes[0]
	if n := uint64(len(g.nodes)); n > 1 {
		g.turn++
		e = g.nodes[mix64(g.turn)%n]
	}
	a := attempt(p)
	d := e.Decide(&a)
	g.last = d
	e.Learn(&a, &d, p.truth)
	if !d.Defer && !p.unknown() && p.wanted {
		e.Credit(&a, &d)
	}
	return !d.Defer
}

func (g *engine) held(*probe) bool {
	return g.last.Why == edge.Penalty || g.last.Why == edge.IdentityPenalty
}

// why tells by what the last probe was answered or deferred.
func (g *engine) why() string { return g.last.Why.String() }

func attempt(p *probe) edge.Attempt {
	a := edge.Attempt{Time: started + edge.Time(p.now), Source: edge.SourceOf(address4(p.ip)),
		Named: finding(p.named), SPF: finding(p.spf), Realm: 1, Recipient: p.recipient, Sender: p.sender}
	if p.spf {
		a.Identity = edge.Identity{Key: p.domain | 1, Proven: true}
	} else {
		a.Identity = edge.Identity{Key: mix64(p.domain^uint64(p.ip)) | 1}
	}
	return a
}

func address4(ip uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)})
}

func finding(yes bool) edge.Finding {
	if yes {
		return edge.Yes
	}
	return edge.No
}
