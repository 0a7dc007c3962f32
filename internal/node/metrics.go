package node

import (
	"context"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/migiwa/migiwa/internal/cert"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
)

// errMetricsClosed is what the metrics server says after its shutdown.
var errMetricsClosed = http.ErrServerClosed

// metricsServer serves /metrics, and /debug/pprof/ to clients on this machine.
type metricsServer struct{ http http.Server }

func (m *metricsServer) Serve(l net.Listener) error         { return m.http.Serve(l) }
func (m *metricsServer) Shutdown(ctx context.Context) error { return m.http.Shutdown(ctx) }

// newMetrics registers what belongs to the node as a whole.
func (n *Node) newMetrics() *metricsServer {
	n.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCounter("migiwa_events_written_total", "Events written to the journal.", func() float64 { return float64(n.Events.Written()) }),
		newCounter("migiwa_events_dropped_total", "Events lost because the journal could not keep up.", func() float64 { return float64(n.Events.Dropped()) }),
		newGauge("migiwa_bodies_free_bytes", "Free room for message bodies.", func() float64 { return float64(n.Blobs.Room()) }),
		newCounter("migiwa_database_commits_total", "Group commits.", func() float64 { return float64(n.DB.Stats().Batches) }),
		newCounter("migiwa_database_writes_total", "Transactions that shared them.", func() float64 { return float64(n.DB.Stats().Writes) }),
	)
	n.registry.MustRegister(certificateExpiry{n.certs.Status})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", local(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/profile", local(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/trace", local(pprof.Trace))
	return &metricsServer{http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
}

// local serves clients on this machine only, whatever address the listener has:
// a profile tells of the inside, and costs time to make.
func local(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if from, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !from.Addr().Unmap().IsLoopback() {
			http.NotFound(w, r)
			return
		}
		h(w, r)
	}
}

// watchSMTP registers the counters of one SMTP service.
func (n *Node) watchSMTP(service string, s *smtpd.Server) {
	labels := prometheus.Labels{"service": service}
	for _, m := range []struct {
		name, help string
		value      func(smtpd.Stats) int64
	}{
		{"connections_total", "Connections accepted.", func(s smtpd.Stats) int64 { return s.Connections }},
		{"shed_total", "Connections turned away at a limit.", func(s smtpd.Stats) int64 { return s.Shed }},
		{"commands_total", "Commands read.", func(s smtpd.Stats) int64 { return s.Commands }},
		{"messages_total", "Messages answered 250.", func(s smtpd.Stats) int64 { return s.Messages }},
		{"faults_total", "Protocol faults of clients.", func(s smtpd.Stats) int64 { return s.Faults }},
		{"panics_total", "Panics of ours that ended a session.", func(s smtpd.Stats) int64 { return s.Panics }},
	} {
		n.registry.MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: "migiwa_smtp_" + m.name, Help: m.help, ConstLabels: labels},
			func() float64 { return float64(m.value(s.Stats())) }))
	}
	n.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "migiwa_smtp_open", Help: "Connections open now.", ConstLabels: labels},
		func() float64 { return float64(s.Stats().Open) }))
}

// certificateExpiry is the metric of when certificates end.
type certificateExpiry struct{ status func() []cert.Status }

var expiryDesc = prometheus.NewDesc("migiwa_certificate_expiry_seconds",
	"When the certificate for a name ends, in Unix time; the earliest, where a source has several for it.", []string{"name", "source"}, nil)

// Describe implements prometheus.Collector.
func (certificateExpiry) Describe(c chan<- *prometheus.Desc) { c <- expiryDesc }

// Collect implements prometheus.Collector.
func (e certificateExpiry) Collect(c chan<- prometheus.Metric) {
	type key struct{ name, source string }
	ends := map[key]time.Time{}
	for _, s := range e.status() {
		for _, name := range s.Names {
			if end, ok := ends[key{name, s.Source}]; !s.NotAfter.IsZero() && (!ok || s.NotAfter.Before(end)) {
				ends[key{name, s.Source}] = s.NotAfter
			}
		}
	}
	for k, end := range ends {
		c <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(end.Unix()), k.name, k.source)
	}
}
