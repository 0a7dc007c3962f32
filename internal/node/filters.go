package node

import (
	"context"
	"time"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter/access"
	"github.com/migiwa/migiwa/internal/filter/clamd"
	"github.com/migiwa/migiwa/internal/filter/confirm"
	"github.com/migiwa/migiwa/internal/filter/dnsbl"
	"github.com/migiwa/migiwa/internal/filter/lesson"
	"github.com/migiwa/migiwa/internal/filter/milter"
	"github.com/migiwa/migiwa/internal/filter/reputation"
	"github.com/migiwa/migiwa/internal/filter/rescan"
	"github.com/migiwa/migiwa/internal/filter/suite"
	"github.com/migiwa/migiwa/internal/serve/receive"
)

// addFilters makes the filters of arriving mail, and lets them learn.
func (n *Node) addFilters(run context.Context, cfg *config.Config) error {
	reports, err := n.newReports(run, cfg)
	if err != nil {
		return err
	}
	o, err := n.filterOptions(run, cfg)
	if err != nil {
		return err
	}
	o.Reports = reports
	if cfg.Filter.Clamd != "" {
		scanner := &clamd.Client{Address: cfg.Filter.Clamd}
		o.Scanner = scanner
		again := &rescan.Vetter{DB: n.DB, Directory: n.Directory, Mailboxes: n.Mailboxes, Scanner: scanner, Default: suite.Default, Events: n.Events}
		n.Mailboxes.Vet = again.Vet
		n.background.Go(func() { again.Run(run) })
	}
	p, err := suite.New(o)
	if err != nil {
		return err
	}
	p.Deadline = cfg.Filter.Deadline.D()
	n.filters = &receive.Filters{Pipeline: p, Default: suite.Default, Own: cfg.Filter.Clamd != "",
		Placed: n.placing(run, reports, o)}
	n.background.Go(func() {
		o.Past.Run(run, func(err error) { n.Log.Warn("cannot write reputation", "err", err) })
	})
	teacher := &lesson.Teacher{DB: n.DB, Directory: n.Directory, Bodies: n.Bodies, Default: suite.Default, Reports: reports, Log: n.Log}
	forwarded, written := n.hearForwarded(run, cfg, teacher), n.hearWritten(run, o.Confirm)
	n.sent = func(m *deliver.Accepted) { forwarded(m); written(m) }
	if err := n.addReporting(run, cfg, o.Resolver, teacher); err != nil {
		return err
	}
	n.background.Go(func() { teacher.Run(run) })
	return nil
}

// filterOptions gives what the configuration and the database say of filters.
func (n *Node) filterOptions(run context.Context, cfg *config.Config) (suite.Options, error) {
	senders := &access.Own{Directory: n.Directory}
	if cfg.Filter.Access != "" {
		senders.Site = &access.File{Path: cfg.Filter.Access}
	}
	o := suite.Options{Rules: cfg.Filter.Rules, Access: senders, Resolver: &dns.Breaker{Resolver: n.resolver, Failures: 10, Rest: 10 * time.Second},
		Taught: &lesson.Store{DB: n.DB}, Past: &reputation.Store{DB: n.DB}}
	var err error
	if o.Channels, err = n.Directory.Secret(run, admin.ChannelSecret, 32); err != nil {
		return o, err
	}
	secret, err := n.Directory.Secret(run, "confirm", 32)
	if err != nil {
		return o, err
	}
	o.Confirm = &confirm.Filter{Store: &confirm.Store{DB: n.DB}, Secret: secret}
	for _, l := range cfg.Filter.DNSBL {
		o.Lists = append(o.Lists, dnsbl.List{Zone: l.Zone, Kind: dnsbl.Kind(l.Kind), Weight: l.Weight})
	}
	for _, m := range cfg.Filter.Milters {
		o.Milters = append(o.Milters, milter.Server{Name: m.Address, Address: m.Address, Required: m.Required})
	}
	return o, nil
}
