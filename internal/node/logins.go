package node

import (
	"context"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// loginSnapshot is the file, in the data directory, of what is known of places
// and of who guesses passwords.
const loginSnapshot = "logins.snapshot"

// newLogins judges those who log in, nil where that is switched off.
func (n *Node) newLogins(run context.Context, cfg *config.Config) (*edge.Logins, error) {
	c := cfg.Edge.Login
	if !c.Enabled {
		return nil, nil
	}
	engine, err := edge.New(edge.LoginRules(float64(c.Disclosure)), edge.LoginSizes())
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.DataDir, loginSnapshot)
	newest := edge.Recover(engine, path, n.Events)
	l := &edge.Logins{Engine: engine, Clock: edge.NewClock(float64(cfg.Edge.TimeScale), newest),
		Events: n.Events, Domain: mail.Domain(cfg.Domain)}
	n.watchLogins(l)
	n.background.Go(func() { n.keepLogins(run, l, path) })
	return l, nil
}

// keepLogins writes what l knows every five minutes and when ctx ends: without
// it every place would be an unknown one after a restart.
func (n *Node) keepLogins(ctx context.Context, l *edge.Logins, path string) {
	tick := time.NewTicker(5 * time.Minute)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ended = true
		}
		if err := l.Engine.SaveFile(path, l.Clock.Now()); err != nil {
			n.Events.Record(event.Event{Kind: event.Fault, Role: "edge", Reason: err.Error()})
		}
	}
}

// watchLogins registers what l counts.
func (n *Node) watchLogins(l *edge.Logins) {
	for _, m := range []struct {
		count      edge.LoginCount
		name, help string
	}{
		{edge.LoginsHeld, "held_total", "Logins whose password was not looked at."},
		{edge.LoginsRight, "right_total", "Right passwords."},
		{edge.LoginsWrong, "wrong_total", "Wrong passwords."},
		{edge.LoginsStale, "stale_total", "Wrong passwords that the same place has tried before."},
		{edge.LoginPenalties, "penalties_total", "Penalties begun for guessing passwords."},
	} {
		n.registry.MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: "migiwa_logins_" + m.name, Help: m.help},
			func() float64 { return float64(l.Count(m.count)) }))
	}
}
