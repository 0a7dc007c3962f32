package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
)

// newLogins judges those who log in, nil where that is switched off.
func (n *Node) newLogins(cfg *config.Config) (*edge.Logins, error) {
	c := cfg.Edge.Login
	if !c.Enabled {
		return nil, nil
	}
	engine, err := edge.New(edge.LoginRules(float64(c.Disclosure)), edge.LoginSizes())
	if err != nil {
		return nil, err
	}
	l := &edge.Logins{Engine: engine, Clock: edge.NewClock(float64(cfg.Edge.TimeScale), 0),
		Events: n.Events, Domain: mail.Domain(cfg.Domain)}
	n.watchLogins(l)
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
