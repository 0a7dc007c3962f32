package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/migiwa/migiwa/internal/edge"
)

// edgeMetrics are those of the edge: what it decides, how strict it is at the
// moment and how full its memory is.
type edgeMetrics struct {
	guard  *edge.Guard
	keeper *edge.Keeper
}

func edgeDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("migiwa_edge_"+name, help, labels, nil)
}

var (
	edgeDecisions  = edgeDesc("decisions_total", "RCPTs judged, by reason and verdict.", "reason", "verdict")
	edgeLevel      = edgeDesc("level", "0 calm, 1 alert, 2 attack.")
	edgeUnknown    = edgeDesc("unknown_share", "Share of sources without a history that lately met unknown recipients.")
	edgeRetried    = edgeDesc("retried_unknown_share", "Share of unknown recipients among the answers to those who proved to be mail servers.")
	edgeDisclosure = edgeDesc("disclosure_budget", "What is left of it: 1 full, 0 spent, down to -1.")
	edgeEntries    = edgeDesc("entries", "Entries in use.", "table")
	edgeSlots      = edgeDesc("slots", "Entries there is room for.", "table")
	edgeEvicted    = edgeDesc("evicted_total", "Entries that made room for others.", "table")
	edgeDropped    = edgeDesc("lookups_dropped_total", "Look-ups of deferred recipients that load prevented.")
	edgeLimited    = edgeDesc("limited_total", "Connections, messages and recipients refused at a limit.", "limit")
	edgeSessions   = edgeDesc("sessions", "Connections open on port 25, by whether their source has a history.", "proven")
	edgeSaved      = edgeDesc("snapshot_age_seconds", "Age of the newest snapshot of this process; absent before the first.")
)

// Describe implements prometheus.Collector.
func (edgeMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{edgeDecisions, edgeLevel, edgeUnknown, edgeRetried, edgeDisclosure,
		edgeEntries, edgeSlots, edgeEvicted, edgeDropped, edgeLimited, edgeSessions, edgeSaved} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m edgeMetrics) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	st := m.guard.Engine.Status(m.guard.Clock)
	for r := edge.Reason(0); int(r) < len(st.Decisions); r++ {
		verdict := "answer"
		if r.Defers() {
			verdict = "defer"
		}
		counter(edgeDecisions, st.Decisions[r.String()], r.String(), verdict)
	}
	gauge(edgeLevel, float64(map[string]int{"calm": 0, "alert": 1, "attack": 2}[st.Level]))
	gauge(edgeUnknown, st.Unknown)
	gauge(edgeRetried, st.Retried)
	gauge(edgeDisclosure, st.Disclosure)
	for _, t := range st.Tables {
		gauge(edgeEntries, float64(t.Live), t.Table)
		gauge(edgeSlots, float64(t.Slots), t.Table)
		counter(edgeEvicted, t.Evicted, t.Table)
	}
	counter(edgeDropped, m.guard.Dropped())
	if f := m.guard.Flow; f != nil {
		for _, l := range edge.Limits() {
			counter(edgeLimited, f.Denied(l), l.String())
		}
		all, unproven := f.Open()
		gauge(edgeSessions, float64(all-unproven), "yes")
		gauge(edgeSessions, float64(unproven), "no")
	}
	if saved := m.keeper.Saved(); !saved.IsZero() {
		gauge(edgeSaved, time.Since(saved).Seconds())
	}
}
