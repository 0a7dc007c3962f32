package node

import (
	"context"
	"path/filepath"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/mx"
)

// sourceRoom is what a source takes of edge.memory, in octets, with its share
// of identities and networks.
const sourceRoom = 68

// newGuard builds the edge, once; nil when it is switched off.
func (n *Node) newGuard(run context.Context, cfg *config.Config) (*edge.Guard, error) {
	if !cfg.Edge.Enabled || n.guard != nil {
		return n.guard, nil
	}
	engine, err := edge.New(EdgeRules(cfg), edge.Sizes{Sources: int(cfg.Edge.Memory) / sourceRoom})
	if err != nil {
		return nil, err
	}
	flow, err := edge.NewFlow(flowRules(cfg.Edge.Flow), max(8*cfg.SMTP.MaxConnections, 1<<16))
	if err != nil {
		engine.Close()
		return nil, err
	}
	path := edgeSnapshot(cfg)
	clock := edge.NewClock(float64(cfg.Edge.TimeScale), edge.Recover(engine, path, n.Events))
	n.guard = &edge.Guard{
		Engine: engine, Clock: clock, Resolver: n.resolver, Events: n.Events,
		Flow: flow, Load: n.mxLoad, GreetPause: cfg.Edge.GreetPause.D(), Tarpit: cfg.Edge.Tarpit.D(),
		LookupWait: cfg.Edge.LookupWait.D(),
		Exists: func(ctx context.Context, rcpt mail.Address) (edge.Truth, string, error) {
			res, err := n.Directory.Resolve(ctx, rcpt)
			truth, _ := mx.Truth(res)
			return truth, res.Mailbox(), err
		},
	}
	keeper := &edge.Keeper{Engine: engine, Clock: clock, Path: path, Bus: n.Bus, Events: n.Events}
	n.registry.MustRegister(edgeMetrics{n.guard, keeper})
	n.background.Go(func() { n.guard.Run(run) })
	n.background.Go(func() { keeper.Run(run) })
	return n.guard, nil
}

// EdgeRules gives the rules of the edge that cfg asks for.
func EdgeRules(cfg *config.Config) edge.Rules {
	rules := edge.DefaultRules()
	rules.Disclosure, rules.Strict = float64(cfg.Edge.Disclosure), cfg.Edge.Strict
	rules.NullMailbox, rules.NullRealm = float64(cfg.Edge.NullPerMailbox), float64(cfg.Edge.NullPerDomain)
	return rules
}

func flowRules(f config.Flow) edge.FlowRules {
	rules := edge.DefaultFlowRules()
	rules.Sessions, rules.Prefix, rules.Trusted = f.Sessions, int64(f.Network), int64(f.Proven)
	rules.Set(edge.SourceRates{Connections: int64(f.Connections), Messages: int64(f.Messages),
		Recipients: int64(f.Recipients), Octets: int64(f.Octets)})
	return rules
}

// mxLoad tells what share of the room for connections on port 25 is taken.
func (n *Node) mxLoad() float64 {
	open := 0
	for _, s := range n.mx {
		open += s.Stats().Open
	}
	return float64(open) / float64(n.Rooms.Config.SMTP.MaxConnections)
}

func edgeSnapshot(cfg *config.Config) string { return filepath.Join(cfg.DataDir, edge.StrangersName) }
