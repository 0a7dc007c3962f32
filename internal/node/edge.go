package node

import (
	"context"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/mx"
)

// sourceRoom is what a source takes of edge.memory, in octets, with its share
// of identities and networks.
const sourceRoom = 66

// newGuard builds the edge; nil when it is switched off.
func (n *Node) newGuard(run context.Context, cfg *config.Config) (*edge.Guard, error) {
	if !cfg.Edge.Enabled {
		return nil, nil
	}
	rules := edge.DefaultRules()
	rules.Disclosure, rules.Strict = float64(cfg.Edge.Disclosure), cfg.Edge.Strict
	engine, err := edge.New(rules, edge.Sizes{Sources: int(cfg.Edge.Memory) / sourceRoom})
	if err != nil {
		return nil, err
	}
	n.guard = &edge.Guard{
		Engine: engine, Clock: edge.NewClock(float64(cfg.Edge.TimeScale), 0), Resolver: n.resolver, Events: n.Events,
		LookupWait: cfg.Edge.LookupWait.D(),
		Exists: func(ctx context.Context, rcpt mail.Address) (edge.Truth, error) {
			res, err := n.Directory.Resolve(ctx, rcpt)
			truth, _ := mx.Truth(res)
			return truth, err
		},
	}
	n.background.Go(func() { n.guard.Run(run) })
	return n.guard, nil
}
