package deliver

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/migiwa/migiwa/internal/queue"
)

// Metrics counts what deliver does. A nil Metrics counts nothing.
type Metrics struct {
	messages    *prometheus.CounterVec // by origin
	stored      prometheus.Counter
	attempts    *prometheus.CounterVec // by result
	seconds     prometheus.Histogram
	connections prometheus.Gauge
	connects    *prometheus.CounterVec // by result
	reports     *prometheus.CounterVec // by kind
	queue       *prometheus.GaugeVec   // by state
	holds       prometheus.Counter
	refused     *prometheus.CounterVec // by reason
}

// NewMetrics makes the counters and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &Metrics{
		messages: counter("migiwa_messages_accepted_total", "Messages made durable.", "origin"),
		stored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "migiwa_messages_stored_total", Help: "Copies put into mailboxes."}),
		attempts: counter("migiwa_delivery_attempts_total", "Recipients tried at other hosts.", "result"),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "migiwa_delivery_seconds", Help: "Time of one mail transaction with another host.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10)}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "migiwa_delivery_connections", Help: "Workers with or opening a connection to another host."}),
		connects: counter("migiwa_delivery_connects_total", "Connections to other hosts.", "result"),
		reports:  counter("migiwa_reports_total", "Reports made (RFC 3464).", "kind"),
		queue: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "migiwa_queue_recipients", Help: "Recipients in the queue."}, []string{"state"}),
		holds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "migiwa_outbound_holds_total", Help: "Accounts held because of unusual activity."}),
		refused: counter("migiwa_outbound_refusals_total", "MAIL and RCPT of users put off.", "reason"),
	}
	reg.MustRegister(m.messages, m.stored, m.attempts, m.seconds, m.connections, m.connects, m.reports, m.queue, m.holds, m.refused)
	return m
}

func (m *Metrics) accepted(origin queue.Origin, stored int) {
	if m == nil {
		return
	}
	m.messages.WithLabelValues(string(origin)).Inc()
	m.stored.Add(float64(stored))
}

func (m *Metrics) attempt(result string) {
	if m != nil {
		m.attempts.WithLabelValues(result).Inc()
	}
}

func (m *Metrics) took(seconds float64) {
	if m != nil {
		m.seconds.Observe(seconds)
	}
}

func (m *Metrics) worker(n float64) {
	if m != nil {
		m.connections.Add(n)
	}
}

func (m *Metrics) connected(result string) {
	if m != nil {
		m.connects.WithLabelValues(result).Inc()
	}
}

func (m *Metrics) report(kind string) {
	if m != nil {
		m.reports.WithLabelValues(kind).Inc()
	}
}

func (m *Metrics) held() {
	if m != nil {
		m.holds.Inc()
	}
}

func (m *Metrics) putOff(reason string) {
	if m != nil {
		m.refused.WithLabelValues(reason).Inc()
	}
}

// refresh counts the queue.
func (m *Metrics) refresh(ctx context.Context, q *queue.Queue) error {
	if m == nil {
		return nil
	}
	n, err := q.Count(ctx)
	if err != nil {
		return err
	}
	for _, s := range []queue.State{queue.Waiting, queue.Held} {
		m.queue.WithLabelValues(string(s)).Set(float64(n[s]))
	}
	return nil
}
