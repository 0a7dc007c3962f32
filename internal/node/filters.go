package node

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/access"
	"github.com/migiwa/migiwa/internal/filter/clamd"
	"github.com/migiwa/migiwa/internal/filter/digest"
	"github.com/migiwa/migiwa/internal/filter/dnsbl"
	"github.com/migiwa/migiwa/internal/filter/lesson"
	"github.com/migiwa/migiwa/internal/filter/milter"
	"github.com/migiwa/migiwa/internal/filter/rescan"
	"github.com/migiwa/migiwa/internal/filter/suite"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/store/db"
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
		Taught: &lesson.Store{DB: n.DB}, Reports: reports}
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
		Kept: func(ctx context.Context, m *filter.Message, account string) error {
			return reports.Deliver(ctx, account, digest.Fingerprints(m))
		}}
	teacher := &lesson.Teacher{DB: n.DB, Directory: n.Directory, Bodies: n.Bodies, Default: suite.Default, Reports: reports, Log: n.Log}
	n.background.Go(func() { teacher.Run(run) })
	return nil
}

// saveReports is how often the reports of users are written to disk.
const saveReports = 5 * time.Minute

// newReports reads what users have reported, keeps it on disk and exchanges it
// with other processes of this installation.
func (n *Node) newReports(run context.Context, cfg *config.Config) (*digest.Memory, error) {
	key, err := n.Directory.Secret(run, "digest", 32)
	if err != nil {
		return nil, err
	}
	m := &digest.Memory{Key: key}
	err = n.DB.Read(run, func(tx *db.Tx) error {
		var domains int
		err := tx.Row(`SELECT count(*) FROM domain`).Scan(&domains)
		if domains == 1 { // nobody could agree otherwise
			m.MinDomains = 1
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.DataDir, "reports.state")
	file, err := os.Open(path)
	switch {
	case err == nil:
		err = m.Restore(file)
		file.Close()
		if err != nil {
			n.Events.Record(event.Event{Kind: event.Fault, Reason: "reports of spam begin anew: " + err.Error()})
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	n.background.Go(func() {
		tick := time.NewTicker(saveReports)
		defer tick.Stop()
		for done := false; !done; {
			select {
			case <-run.Done():
				done = true
			case <-tick.C:
			}
			if err := saveState(path, m); err != nil {
				n.Events.Record(event.Event{Kind: event.Fault, Reason: "saving reports of spam: " + err.Error()})
			}
		}
	})
	return m, nil
}

// saveState writes beside the old file and renames.
func saveState(path string, m *digest.Memory) error {
	var b bytes.Buffer
	if err := m.Snapshot(&b); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
