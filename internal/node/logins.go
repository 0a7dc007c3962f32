package node

import (
	"context"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
)

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
	path := filepath.Join(cfg.DataDir, edge.LoginsName)
	clock := edge.NewClock(float64(cfg.Edge.TimeScale), edge.Recover(engine, path, n.Events))
	l := &edge.Logins{Engine: engine, Clock: clock, Events: n.Events, Domain: mail.Domain(cfg.Domain)}
	n.watchLogins(l)
	keeper := &edge.Keeper{Engine: engine, Clock: clock, Path: path, Bus: n.Bus, Events: n.Events, Role: "login", Deed: "failed to log in"}
	n.background.Go(func() { keeper.Run(run) })
	return l, nil
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
