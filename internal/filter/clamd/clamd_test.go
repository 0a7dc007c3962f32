package clamd

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/migiwa/migiwa/test/peers"
)

// The real daemon.
func TestClamd(t *testing.T) {
	daemon := peers.Clamd(t, map[string]string{"Own.Signature": "a text that nobody else writes"})
	c := &Client{Address: daemon.Socket}
	ctx := t.Context()
	if err := c.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                    "",
		"nothing to be found": "",
		peers.Eicar():         "Eicar-Test.UNOFFICIAL",
		strings.Repeat("x", 3*chunkSize) + " a text that nobody else writes": "Own.Signature.UNOFFICIAL",
	} {
		got, err := c.Scan(ctx, strings.NewReader(text))
		if err != nil || got != want {
			t.Errorf("%.30q: %q, %v; want %q", text, got, err, want)
		}
	}
	v, err := c.Version(ctx)
	if err != nil || !strings.HasPrefix(v.Engine, "ClamAV ") {
		t.Errorf("version %+v, %v", v, err)
	}
	large := io.LimitReader(zeros{}, 40<<20)
	if _, err := c.Scan(ctx, large); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than it takes: %v", err)
	}
	broken := errors.New("broken disk")
	if _, err := c.Scan(ctx, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a reader's error: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestNobodyThere(t *testing.T) {
	c := &Client{Address: filepath.Join(t.TempDir(), "none")}
	if _, err := c.Scan(t.Context(), strings.NewReader("x")); err == nil {
		t.Error("no error")
	}
}

// A daemon that hangs costs its time and no more.
func TestHangingDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	c := &Client{Address: path, Timeout: 50 * time.Millisecond, Connections: 1}
	for range 2 {
		if _, err := c.Scan(t.Context(), strings.NewReader("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
}

func TestReplies(t *testing.T) {
	for reply, want := range map[string]string{"stream: OK": "", "stream: A.B-1 FOUND": "A.B-1"} {
		if got, err := parse(reply); got != want || err != nil {
			t.Errorf("%q: %q, %v", reply, got, err)
		}
	}
	for _, reply := range []string{"", "nonsense", "stream: ", "stream: x ERROR", "INSTREAM size limit exceeded. ERROR"} {
		if got, err := parse(reply); err == nil {
			t.Errorf("%q: %q", reply, got)
		}
	}
}
