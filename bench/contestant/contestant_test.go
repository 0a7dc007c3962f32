package contestant

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/test/peers"
)

func TestPostfixIsLoadedAndCounted(t *testing.T) {
	server, err := Postfix(nil)
	var missing *peers.MissingError
	if errors.Is(err, peers.ErrNotRoot) || errors.As(err, &missing) && os.Getenv("MIGIWA_REQUIRE_PEERS") != "1" {
		t.Skipf("SKIPPED, NOT TESTED: Postfix: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
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
