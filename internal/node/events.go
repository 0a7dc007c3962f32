package node

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/ship"
)

// journalLimits gives the bounds of this node's own files of events.
func journalLimits(cfg *config.Config) *event.Limits {
	j := &cfg.Log.Journal
	l := &event.Limits{
		File:  int64(j.File),
		Shelf: map[event.Shelf]int64{event.Sessions: int64(j.Sessions), event.Messages: int64(j.Messages), event.Audit: int64(j.Audit)},
		Keep:  keepTimes(cfg),
	}
	for kind, keep := range l.Keep {
		l.Keep[kind] = min(keep, j.Keep.D())
	}
	return l
}

func keepTimes(cfg *config.Config) map[event.Kind]time.Duration {
	times := map[event.Kind]time.Duration{}
	for kind, keep := range cfg.Log.Keep.ByKind() {
		times[event.Kind(kind)] = keep
	}
	return times
}

// logClient talks to the log store of the configuration; nil: there is none.
func logClient(cfg *config.Config) (*logstore.Client, error) {
	s := &cfg.Log.Store
	switch s.URL {
	case "off":
		return nil, nil
	case "":
		return logstore.NewSocketClient(logSocket(cfg)), nil
	}
	password := ""
	if s.Password != "" {
		text, err := os.ReadFile(s.Password)
		if err != nil {
			return nil, fmt.Errorf("log store: %w", err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	return logstore.NewClient(s.URL, s.User, password), nil
}

// newArchive reads events from the log store of the configuration, and from this
// node's journal.
func newArchive(cfg *config.Config) (*archive.Archive, error) {
	client, err := logClient(cfg)
	if err != nil {
		return nil, err
	}
	return &archive.Archive{Client: client, Journal: filepath.Join(cfg.DataDir, JournalName)}, nil
}

// OpenLog opens only what is needed to read events, and to record that they
// were read: they can be searched while the database cannot be opened. The
// accounts behind the readers are not known. close has to be called.
func OpenLog(cfg *config.Config) (a *admin.Admin, close func() error, err error) {
	log, err := newArchive(cfg)
	if err != nil {
		return nil, nil, err
	}
	events, err := event.Open(event.Options{Dir: log.Journal, Node: cfg.Hostname})
	if err != nil {
		return nil, nil, err
	}
	return &admin.Admin{Events: events, Log: log, LogReason: cfg.Log.RequireReason}, events.Close, nil
}

func shippedFile(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "shipped.json") }

func logSocket(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "logstore.sock") }

// startLog sends the events of the journal to the log store, which it starts
// when it is a child of this process.
func (n *Node) startLog(run context.Context, cfg *config.Config, child []string) error {
	own := cfg.Log.Store.URL == ""
	client, err := logClient(cfg)
	if err != nil || client == nil || own && child == nil || n.Events == nil {
		return err
	}
	shipper := &ship.Shipper{
		Dir: n.Events.Dir(), Path: shippedFile(cfg), Store: cmp.Or(cfg.Log.Store.URL, "child"),
		Client: client, Events: n.Events, Log: n.Log,
	}
	n.Events.SetShipped(shipper.Has)
	if own {
		s := n.newSupervisor(cfg, child)
		s.Lost = shipper.Rewind
		n.watchLogStore(s)
		n.background.Go(func() { s.Run(run) })
	}
	n.watchShipper(shipper)
	n.background.Go(func() { shipper.Run(run) })
	retention := &logstore.Retention{Client: client, Node: cfg.Hostname, Keep: keepTimes(cfg), Events: n.Events, Log: n.Log}
	n.background.Go(func() { retention.Run(run) })
	return nil
}

func (n *Node) newSupervisor(cfg *config.Config, child []string) *logstore.Supervisor {
	s := &logstore.Supervisor{
		Command: child, Dir: filepath.Join(cfg.DataDir, "logstore"), Socket: logSocket(cfg),
		Memory: int64(cfg.Log.Store.Memory), MaxDisk: int64(cfg.Log.Store.MaxDisk), MinFree: int64(cfg.Log.Store.MinFree),
		Events: n.Events, Log: n.Log,
	}
	for _, keep := range keepTimes(cfg) {
		s.Keep = max(s.Keep, keep)
	}
	return s
}

// watchShipper registers the metrics of shipping.
func (n *Node) watchShipper(s *ship.Shipper) {
	n.registry.MustRegister(
		newCounter("migiwa_events_shipped_total", "Events sent to the log store.", func() float64 { return float64(s.Status().Sent) }),
		newCounter("migiwa_events_unshippable_total", "Lines of the journal that the log store refused.", func() float64 { return float64(s.Status().Skipped) }),
		newCounter("migiwa_ship_failures_total", "Times that the log store did not take events.", func() float64 { return float64(s.Status().Failures) }),
		newGauge("migiwa_events_waiting_bytes", "Journal that the log store has not yet got.", func() float64 { return float64(s.Status().Waiting) }),
	)
}

// watchLogStore registers the metrics of the child process.
func (n *Node) watchLogStore(s *logstore.Supervisor) {
	n.registry.MustRegister(
		newGauge("migiwa_logstore_up", "1 while the log store answers.", func() float64 {
			if s.Running() {
				return 1
			}
			return 0
		}),
		newCounter("migiwa_logstore_restarts_total", "Times that the log store ended by itself.", func() float64 { return float64(s.Restarts()) }),
		newGauge("migiwa_logstore_rows", "Events in the log store.", func() float64 { return float64(s.Usage().Rows) }),
		newGauge("migiwa_logstore_disk_bytes", "Room of the log store on disk.", func() float64 { return float64(s.Usage().Disk) }),
		newGauge("migiwa_logstore_memory_bytes", "Resident memory of the log store.", func() float64 { return float64(s.Usage().Memory) }),
	)
}

func newGauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func newCounter(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
}
