package node

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/migiwa/migiwa/internal/config"
)

// install makes an installation that listens on free ports of this machine.
func install(t *testing.T) *config.Config {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	q := Quickstart{Dir: dir, Domain: "example.test", Hostname: "mx.example.test", Listen: "127.0.0.1"}
	if _, err := q.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(filepath.Join(dir, ConfigName))
	if err != nil {
		t.Fatal(err)
	}
	// Port 0, which a configuration file cannot ask for.
	free := []string{"127.0.0.1:0"}
	cfg.Listen = config.Listen{MX: free, Submission: free, Submissions: free, POP3: free, POP3S: free, Metrics: free}
	return cfg
}

func TestStartAndShutdownLeaveNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cfg := install(t)
	n, err := Start(t.Context(), cfg, io.Discard, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", n.services.list[0].listeners[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	banner := make([]byte, 256)
	k, err := c.Read(banner)
	if err != nil || !strings.HasPrefix(string(banner[:k]), "220 mx.example.test ") {
		t.Errorf("banner %q, %v", banner[:k], err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	rest, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(rest), "421 4.3.2 ") {
		t.Errorf("at the end the client heard %q, %v", rest, err)
	}
}

func TestTakenPortStopsTheStart(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := install(t)
	cfg.Listen.POP3S = []string{l.Addr().String()}
	if _, err := Start(t.Context(), cfg, io.Discard, nil); err == nil || !strings.Contains(err.Error(), "listen for pop3s") {
		t.Errorf("got %v", err)
	}
}

func TestQuickstartOverwritesNothing(t *testing.T) {
	cfg := install(t)
	before, err := os.ReadFile(cfg.File)
	if err != nil {
		t.Fatal(err)
	}
	q := Quickstart{Dir: filepath.Dir(cfg.File), Domain: "other.test", Hostname: "mx.other.test"}
	if _, err := q.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "overwrites nothing") {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(cfg.File); err != nil || string(after) != string(before) {
		t.Errorf("the configuration changed, %v", err)
	}
}

func TestNeedRestart(t *testing.T) {
	a, b := config.Default(), config.Default()
	if keys := needRestart(a, b); len(keys) != 0 {
		t.Errorf("nothing changed, but %v", keys)
	}
	b.Listen.MX = []string{":2525"}
	b.SMTP.MaxErrors = 3
	b.Log.Level = "debug"
	b.Routes = []config.Route{{Domain: "x.test", To: "127.0.0.1:24"}}
	b.TLS.ACME.Directory = "https://ca.test/"
	want := []string{"listen.mx", "smtp.max_errors", "tls.acme.directory"}
	keys := needRestart(a, b)
	slices.Sort(keys)
	if !slices.Equal(keys, want) {
		t.Errorf("got %v, want %v", keys, want)
	}
}
