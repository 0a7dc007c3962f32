package node

import (
	"context"
	"strings"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/edgemilter"
	"github.com/migiwa/migiwa/internal/serve/edgepolicy"
	"github.com/migiwa/migiwa/internal/serve/foreign"
	"github.com/migiwa/migiwa/internal/serve/mx"
	"github.com/migiwa/migiwa/internal/serve/receive"
)

// addForeign defends another mail server. Both ways to it have one desk, and
// the engine of port 25; only who exists is somebody else's to say.
func (n *Node) addForeign(run context.Context, cfg *config.Config) error {
	own, err := n.newGuard(run, cfg)
	if err != nil {
		return err
	}
	find := n.recipients(cfg)
	guard := &edge.Guard{
		Engine: own.Engine, Clock: own.Clock, Resolver: own.Resolver, Events: own.Events, LookupWait: own.LookupWait,
	}
	if cfg.Has(config.EdgeMilter) {
		guard.Flow = own.Flow // the policy service alone does not hear when connections end
	}
	if find != nil {
		guard.Exists = func(ctx context.Context, rcpt mail.Address) (edge.Truth, string, error) {
			truth, _, err := find(ctx, rcpt)
			return truth, "", err
		}
	}
	n.background.Go(func() { guard.Run(run) })
	desk := &foreign.Desk{Guard: guard, Own: cfg.Edge.OwnNetworks}
	n.background.Go(func() {
		<-run.Done() // behind the servers, before the tables
		desk.Close()
	})
	milter := &edgemilter.Server{Desk: desk, Recipients: find, Logger: n.Log}
	switch {
	case cfg.Has(config.EdgePolicy):
		milter.Mode = edgemilter.Outcomes
		if err := n.services.open("edge-policy", cfg.Listen.EdgePolicy, &edgepolicy.Server{Desk: desk, Logger: n.Log}); err != nil {
			return err
		}
	case find != nil:
		milter.Mode = edgemilter.Recipients
	}
	if !cfg.Has(config.EdgeMilter) {
		return nil
	}
	return n.services.open("edge-milter", cfg.Listen.EdgeMilter, milter)
}

// recipients gives the way in which cfg wants recipients to be looked up, nil
// for none.
func (n *Node) recipients(cfg *config.Config) foreign.Recipients {
	if addr, ok := strings.CutPrefix(cfg.Edge.Recipients, "smtp:"); ok {
		return (&foreign.Callout{Addr: addr, Hello: cfg.Hostname}).Find
	}
	if cfg.Edge.Recipients != "directory" {
		return nil
	}
	return func(ctx context.Context, rcpt mail.Address) (edge.Truth, *mail.Reply, error) {
		res, err := n.Directory.Resolve(ctx, rcpt)
		if err != nil {
			return 0, nil, err
		}
		truth, ours := mx.Truth(res)
		if ours && res.Status != directory.Known {
			return truth, &receive.UnknownUser, nil
		}
		return truth, nil, nil
	}
}
