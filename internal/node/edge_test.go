package node

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/migiwa/migiwa/internal/edge"
)

// TestEdgeSurvivesARestart: what was known is shown to commands while the node
// serves, and is known to the next one.
func TestEdgeSurvivesARestart(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cfg := install(t)
	a := edge.Attempt{Source: edge.SourceOf(netip.MustParseAddr("192.0.2.7"))}
	for round := range 2 {
		n, err := Start(t.Context(), cfg, io.Discard, nil)
		if err != nil {
			t.Fatal(err)
		}
		engine := n.guard.Engine
		if round == 0 {
			for i := range 20 {
				try := a
				try.Time, try.Recipient = n.guard.Clock.Now(), engine.Hash(fmt.Sprint("guess", i))
				d := engine.Decide(&try)
				engine.Learn(&try, &d, edge.Unknown)
			}
		}
		if x := engine.Explain(n.guard.Clock, &a); x.Why != edge.Penalty.String() {
			t.Errorf("round %d: %+v", round, x)
		}
		command, err := OpenRooms(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		v, err := command.Edge.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if x := v.Explain(v.Clock, &a); !v.Live || x.Why != edge.Penalty.String() {
			t.Errorf("round %d: a command sees, live %v, %+v", round, v.Live, x)
		}
		v.Close()
		command.Close()
		if err := n.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestEdgeMetrics(t *testing.T) {
	engine, err := edge.NewSeeded(edge.DefaultRules(), edge.Sizes{Sources: 4096}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	clock := edge.NewClock(1, 0)
	for i := range 20 {
		a := edge.Attempt{Time: clock.Now(), Source: edge.SourceOf(netip.MustParseAddr("192.0.2.7")), Recipient: engine.Hash(fmt.Sprint(i))}
		d := engine.Decide(&a)
		engine.Learn(&a, &d, edge.Unknown)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(edgeMetrics{&edge.Guard{Engine: engine, Clock: clock}, &edge.Keeper{}})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			fmt.Fprintf(&text, "%s %v %v\n", f.GetName(), labels, m.GetGauge().GetValue()+m.GetCounter().GetValue())
		}
	}
	for _, want := range []string{
		"migiwa_edge_decisions_total [calm answer] 2\n", "migiwa_edge_decisions_total [penalty defer] 18\n", "migiwa_edge_level [] 0\n",
		"migiwa_edge_entries [sources] 1\n", "migiwa_edge_slots [sources] 4096\n", "migiwa_edge_entries [networks] 2\n",
		"migiwa_edge_evicted_total [identities] 0\n", "migiwa_edge_disclosure_budget [] 0.99",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if strings.Contains(text.String(), "snapshot_age") {
		t.Error("a snapshot that was never written has an age")
	}
}
