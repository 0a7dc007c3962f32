package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/migiwa/migiwa/internal/cert"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/serve/edgemilter"
	"github.com/migiwa/migiwa/internal/serve/edgepolicy"
	"github.com/migiwa/migiwa/internal/serve/imapd"
	"github.com/migiwa/migiwa/internal/serve/pop3d"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
)

// Node is a serving process.
type Node struct {
	*Rooms
	Log *slog.Logger

	config   atomic.Pointer[config.Config] // in force; Rooms.Config is that of the start
	level    *slog.LevelVar
	certs    *cert.Manager
	resolver dns.Resolver
	filters  *receive.Filters        // of arriving mail
	sent     func(*deliver.Accepted) // hears of submitted mail
	routes   *deliver.Table
	intake   *deliver.Intake
	signer   *deliver.Signer
	runner   *deliver.Runner
	locks    *pop3d.Locks
	logins   *edge.Logins    // nil: nobody is held
	guard    *edge.Guard     // nil: strangers are not judged
	mx       []*smtpd.Server // of port 25, made before anything serves
	registry *prometheus.Registry
	services *services

	background sync.WaitGroup
	stop       context.CancelFunc // ends what runs in the background
}

// Start opens the rooms of cfg and serves its roles. It returns once every
// listener is open; what is wrong with us from then on goes to logs. child is
// the command that serves as the log store, where that is a child of this
// process; nil: then there is none.
func Start(ctx context.Context, cfg *config.Config, logs io.Writer, child []string) (_ *Node, err error) {
	n := &Node{level: &slog.LevelVar{}, registry: prometheus.NewRegistry(), routes: &deliver.Table{}, services: newServices()}
	n.Log = newLogger(logs, cfg.Log.Format, n.level)
	n.config.Store(cfg)
	var run context.Context
	run, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			n.services.close()
			n.stop()
			n.background.Wait()
			n.closeRooms()
		}
	}()
	if err := n.apply(cfg); err != nil {
		return nil, err
	}
	if err := n.open(ctx, cfg); err != nil {
		return nil, err
	}
	if err := n.addServices(run, cfg); err != nil {
		return nil, err
	}
	if err := n.startLog(run, cfg, child); err != nil {
		return nil, err
	}
	n.services.serve(smtpd.ErrServerClosed, imapd.ErrServerClosed, pop3d.ErrServerClosed, edgepolicy.ErrServerClosed, edgemilter.ErrServerClosed, errMetricsClosed)
	n.Events.Record(event.Event{Kind: event.Lifecycle, Verb: "start", Text: fmt.Sprint(cfg.Roles)})
	return n, nil
}

// open opens the rooms and what knows the world outside.
func (n *Node) open(ctx context.Context, cfg *config.Config) (err error) {
	journal := event.Options{
		Node: cfg.Hostname, Log: n.Log, Limits: journalLimits(cfg),
		OnError: func(err error) { n.Log.Error("the journal of events is not as it should be", "err", err) },
	}
	if n.Rooms, err = openRooms(ctx, cfg, journal); err != nil {
		return err
	}
	n.Fulltext.Logger = n.Log
	if n.resolver, err = newResolver(cfg); err != nil {
		return err
	}
	if n.certs, err = newCertificates(cfg, n.Log); err != nil {
		return err
	}
	n.signer = &deliver.Signer{Directory: n.Directory}
	n.intake = newIntake(n.Rooms, n.routes, deliver.NewMetrics(n.registry))
	return nil
}

// apply puts into force what needs no restart: the log level and the routes.
func (n *Node) apply(cfg *config.Config) error {
	routes, err := routesOf(cfg)
	if err != nil {
		return err
	}
	if err := n.routes.Set(routes); err != nil {
		return err
	}
	return n.level.UnmarshalText([]byte(cfg.Log.Level))
}

// Failed gives the error of a listener that ended by itself.
func (n *Node) Failed() <-chan error { return n.services.failed }

// Reload reads the configuration again. Routes, the log level and certificates
// change at once; what needs a restart is named in the log. A wrong file
// changes nothing.
func (n *Node) Reload() {
	old := n.config.Load()
	cfg, err := config.Load(old.File)
	if err == nil {
		err = n.certs.Reload() // first: a broken file must not leave new routes behind
	}
	if err == nil {
		err = n.apply(cfg)
	}
	if err != nil {
		n.Log.Error("reload: nothing was changed", "err", err)
		n.Events.Record(event.Event{Kind: event.Lifecycle, Verb: "reload", Reason: err.Error()})
		return
	}
	n.Directory.SetRoutes(relayDomains(cfg))
	n.config.Store(cfg)
	done := event.Event{Kind: event.Lifecycle, Verb: "reload"}
	if keys := needRestart(n.Rooms.Config, cfg); len(keys) > 0 {
		n.Log.Warn("reload: these changes need a restart", "keys", keys)
		done.Reason = "these changes need a restart: " + strings.Join(keys, ", ")
	}
	n.Log.Info("reloaded", "file", cfg.File)
	n.Events.Record(done)
}

// Shutdown ends all sessions, politely until ctx ends, and closes the rooms.
// Messages that were acknowledged are on disk whatever happens here.
func (n *Node) Shutdown(ctx context.Context) error {
	err := n.services.shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		n.Log.Warn("some sessions were cut off", "err", err)
		err = nil
	}
	n.stop()
	n.background.Wait()
	n.Events.Record(event.Event{Kind: event.Lifecycle, Verb: "stop"})
	return errors.Join(err, n.closeRooms())
}

func (n *Node) closeRooms() error {
	if n.certs != nil {
		n.certs.Close()
	}
	var errs []error
	if n.logins != nil {
		n.logins.Engine.Close()
	}
	if n.locks != nil {
		errs = append(errs, n.locks.Close())
	}
	if n.Rooms != nil {
		errs = append(errs, n.Rooms.Close())
	}
	if n.guard != nil {
		n.guard.Close()
	}
	return errors.Join(errs...)
}

func newLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
