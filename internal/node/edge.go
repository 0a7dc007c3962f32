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
const sourceRoom = 66

// newGuard builds the edge, once; nil when it is switched off.
func (n *Node) newGuard(run context.Context, cfg *config.Config) (*edge.Guard, error) {
	if !cfg.Edge.Enabled || n.guard != nil {
		return n.guard, nil
	}
	engine, err := edge.New(EdgeRules(cfg), edge.Sizes{Sources: int(cfg.Edge.Memory) / sourceRoom})
	if err != nil {
		return nil, err
	}
	path := edgeSnapshot(cfg)
	clock := edge.NewClock(float64(cfg.Edge.TimeScale), edge.Recover(engine, path, n.Events))
	n.guard = &edge.Guard{
		Engine: engine, Clock: clock, Resolver: n.resolver, Events: n.Events,
		LookupWait: cfg.Edge.LookupWait.D(),
		Exists: func(ctx context.Context, rcpt mail.Address) (edge.Truth, error) {
			res, err := n.Directory.Resolve(ctx, rcpt)
			truth, _ := mx.Truth(res)
			return truth, err
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
	return rules
}

func edgeSnapshot(cfg *config.Config) string { return filepath.Join(cfg.DataDir, edge.StrangersName) }
