package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/migiwa/migiwa/internal/cert"
)

func TestCertificateExpiry(t *testing.T) {
	status := []cert.Status{
		{Names: []string{"mx.example.jp", "example.jp"}, Source: "acme", NotAfter: time.Unix(20, 0)},
		{Names: []string{"mx.example.jp"}, Source: "file", NotAfter: time.Unix(21, 0)},
		{Names: []string{"mx.example.jp", "192.0.2.1"}, Source: "file", NotAfter: time.Unix(19, 0)},
		{Names: []string{"not.yet.example.jp"}, Source: "acme"},
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(certificateExpiry{func() []cert.Status { return status }})
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "migiwa_certificate_expiry_seconds" {
		t.Fatalf("%v, %v", families, err)
	}
	var got []string
	for _, m := range families[0].GetMetric() {
		got = append(got, fmt.Sprint(m.GetLabel()[0].GetValue(), " ", m.GetLabel()[1].GetValue(), " ", m.GetGauge().GetValue()))
	}
	slices.Sort(got)
	want := []string{"192.0.2.1 file 19", "example.jp acme 20", "mx.example.jp acme 20", "mx.example.jp file 19"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
