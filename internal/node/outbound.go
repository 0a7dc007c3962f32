package node

import (
	"context"
	"encoding/binary"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
)

// newDiscipline builds what judges the node's own users; nil when it is
// switched off, or the node neither takes their mail nor delivers it.
func (n *Node) newDiscipline(run context.Context, cfg *config.Config) (*deliver.Discipline, error) {
	o := cfg.Outbound
	if !o.Enabled || !cfg.Has(config.Submission) && !cfg.Has(config.Delivery) {
		return nil, nil
	}
	secret, err := n.Directory.Secret(run, "outbound", 16)
	if err != nil {
		return nil, err
	}
	rules := edge.DefaultOutboundRules()
	rules.HoldTime = o.Hold.D().Seconds()
	rules.MessagesPerHour, rules.RecipientsPerHour, rules.RecipientsPerDay = o.MessagesPerHour, o.RecipientsPerHour, o.RecipientsPerDay
	d := &deliver.Discipline{
		Outbound: edge.NewOutbound(rules, [2]uint64{binary.LittleEndian.Uint64(secret), binary.LittleEndian.Uint64(secret[8:])}),
		Clock:    edge.NewClock(float64(cfg.Edge.TimeScale), 0), Intake: n.intake, Node: cfg.Hostname,
		Postmaster: mail.MakeAddress("postmaster", mail.Domain(cfg.Domain)), Log: n.Log,
	}
	n.background.Go(func() { d.Run(run) })
	return d, nil
}
