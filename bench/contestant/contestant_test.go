package contestant

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/bench/stranger"
	"github.com/migiwa/migiwa/test/peers"
)

// started skips the test where there is no Postfix to start, and closes it with
// the test otherwise.
func started(t *testing.T, server io.Closer, err error) {
	t.Helper()
	var missing *peers.MissingError
	if errors.Is(err, peers.ErrNotRoot) || errors.As(err, &missing) && os.Getenv("MIGIWA_REQUIRE_PEERS") != "1" {
		t.Skipf("SKIPPED, NOT TESTED: Postfix: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPostfixMeetsACrowd claims addresses in every way that Postfix believes.
func TestPostfixMeetsACrowd(t *testing.T) {
	for way, addr := range map[stranger.Way]string{stranger.XClient: "192.0.2.9", stranger.Proxy1: "192.0.2.9", stranger.Proxy2: "192.0.2.9", stranger.Bind: "127.9.9.9"} {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			p, err := PostfixForCrowd(3, way, map[string]string{"smtpd_peername_lookup": "no",
				"smtpd_recipient_restrictions": "check_client_access inline:{192.0.2.9=permit 127.9.9.9=permit} reject"})
			started(t, p, err)
			d := stranger.Dialer{Server: p.Addr, Way: way}
			h := stranger.Host{Addr: netip.MustParseAddr(addr), Hello: "a.test"}
			if o := d.Try(h, "a@a.test", User(2), "Subject: x\r\n\r\nx"); o.Step != stranger.Data || o.Reply.Code != 250 {
				t.Errorf("a user: %+v", o)
			}
			if o := d.Try(h, "a@a.test", User(3), ""); o.Step != stranger.Rcpt || o.Reply.Enhanced() != "5.1.1" {
				t.Errorf("nobody: %+v", o)
			}
		})
	}
}

func TestPostfixIsLoadedAndCounted(t *testing.T) {
	server, err := Postfix(nil)
	started(t, server, err)
	for i, keep := range []bool{false, true} {
		load := Load{Addr: server.Addr(), To: Recipient, Sessions: 5, Messages: 20, Size: 4096, Keep: keep}
		if err := Send(load); err != nil {
			t.Fatal(err)
		}
		if _, err := WaitFor(20*(i+1), server.Delivered, 30*time.Second); err != nil {
			t.Error(err)
		}
	}
}

func TestWaitForWantsExactlyThatMany(t *testing.T) {
	for _, c := range []struct {
		have int
		want string // in the error
	}{
		{3, ""}, {2, "only 2 messages of 3"}, {4, "4 messages have arrived"},
	} {
		_, err := WaitFor(3, func() (int, error) { return c.have, nil }, time.Millisecond)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("with %d of 3: error %v, want %q", c.have, err, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7}, {[]float64{1, 3}, 2}, {[]float64{1, 2, 9}, 2}, {[]float64{1, 2, 4, 9}, 3},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}
