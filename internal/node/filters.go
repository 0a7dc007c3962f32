package node

import (
	"context"
	"time"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/access"
	"github.com/migiwa/migiwa/internal/filter/clamd"
	"github.com/migiwa/migiwa/internal/filter/digest"
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
	senders := &access.Own{Directory: n.Directory}
	if cfg.Filter.Access != "" {
		senders.Site = &access.File{Path: cfg.Filter.Access}
	}
	o := suite.Options{Rules: cfg.Filter.Rules, Access: senders, Resolver: &dns.Breaker{Resolver: n.resolver, Failures: 10, Rest: 10 * time.Second},
		Taught: &lesson.Store{DB: n.DB}, Reports: reports, Past: &reputation.Store{DB: n.DB}}
	if o.Channels, err = n.Directory.Secret(run, admin.ChannelSecret, 32); err != nil {
		return err
	}
	for _, l := range cfg.Filter.DNSBL {
		o.Lists = append(o.Lists, dnsbl.List{Zone: l.Zone, Kind: dnsbl.Kind(l.Kind), Weight: l.Weight})
	}
	for _, m := range cfg.Filter.Milters {
		o.Milters = append(o.Milters, milter.Server{Name: m.Address, Address: m.Address, Required: m.Required})
	}
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
		Kept: n.keeping(p, reports, o.Past)}
	n.background.Go(func() {
		o.Past.Run(run, func(err error) { n.Log.Warn("cannot write reputation", "err", err) })
	})
	teacher := &lesson.Teacher{DB: n.DB, Directory: n.Directory, Bodies: n.Bodies, Default: suite.Default, Reports: reports, Log: n.Log}
	n.sent = n.hearForwarded(run, cfg, teacher)
	if err := n.addReporting(run, cfg, o.Resolver, teacher); err != nil {
		return err
	}
	n.background.Go(func() { teacher.Run(run) })
	return nil
}

// keeping tells those who want to know of mail that came to lie in an INBOX.
func (n *Node) keeping(p *filter.Pipeline, reports digest.Store, past *reputation.Store) func(context.Context, *filter.Message, filter.Recipient, func(string) bool) error {
	var sources *reputation.Filter
	for _, f := range p.Filters {
		if r, ok := f.(*reputation.Filter); ok {
			sources = r
		}
	}
	return func(ctx context.Context, m *filter.Message, to filter.Recipient, on func(string) bool) error {
		if on(sources.Name()) {
			past.Delivered(to.ID, sources.Sources(ctx, m))
		}
		if !on("digest") {
			return nil
		}
		return reports.Deliver(ctx, to.Account, digest.Fingerprints(m))
	}
}
