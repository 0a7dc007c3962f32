package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a session that answers each line with itself.
type echo struct {
	nc     net.Conn
	drains atomic.Bool
	stuck  bool // takes no notice of Drain
}

func (e *echo) Run(ctx context.Context) {
	defer e.nc.Close()
	r := bufio.NewReader(e.nc)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if e.drains.Load() {
				e.nc.SetDeadline(time.Time{})
				io.WriteString(e.nc, "bye\n")
			}
			return
		}
		io.WriteString(e.nc, line)
	}
}

func (e *echo) Drain() {
	if !e.stuck {
		e.drains.Store(true)
		e.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// from is a listener whose connections come from addresses that are set.
type from struct {
	net.Listener
	next chan string
}

type guest struct {
	net.Conn
	addr net.Addr
}

func (g guest) RemoteAddr() net.Addr { return g.addr }

func (f *from) Accept() (net.Conn, error) {
	nc, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return guest{nc, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(<-f.next))}, nil
}

// serve opens a door on loopback.
func serve(t *testing.T, d *Door) (*from, chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.Logger = slog.New(slog.DiscardHandler)
	if d.Open == nil {
		d.Open = func(nc net.Conn) Session { return &echo{nc: nc} }
	}
	f := &from{l, make(chan string, 1)}
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(f) }()
	return f, ended
}

func (f *from) dial(t *testing.T, addr string) *bufio.ReadWriter {
	t.Helper()
	f.next <- addr
	nc, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	rw := bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc))
	rw.WriteString("hello\n")
	rw.Flush()
	return rw
}

func hears(t *testing.T, rw *bufio.ReadWriter, want string) {
	t.Helper()
	if got, _ := rw.ReadString('\n'); got != want {
		t.Fatalf("heard %q, want %q", got, want)
	}
}

func TestLimits(t *testing.T) {
	d := &Door{Connections: 5, PerAddress: 2, Busy: "busy\n"}
	f, ended := serve(t, d)
	for i, c := range []struct{ addr, want string }{
		{"192.0.2.1:1", "hello\n"}, {"[::ffff:192.0.2.1]:2", "hello\n"}, {"192.0.2.1:3", "busy\n"},
		{"[2001:db8::1]:4", "hello\n"}, {"[2001:db8::ffff]:5", "hello\n"}, {"[2001:db8::2]:6", "busy\n"},
		{"127.0.0.1:7", "hello\n"}, {"[2001:db8:0:1::]:8", "busy\n"}, // six in all
	} {
		t.Log(i, c.addr)
		hears(t, f.dial(t, c.addr), c.want)
	}
	if err := d.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if len(d.addresses)+len(d.sessions)+len(d.listeners) > 0 {
		t.Errorf("left: %v %v %v", d.addresses, d.sessions, d.listeners)
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	if err := d.Serve(l); !errors.Is(err, ErrClosed) {
		t.Errorf("after Shutdown: %v", err)
	}
}

func TestDrain(t *testing.T) {
	d := &Door{Connections: 9, PerAddress: 9}
	f, _ := serve(t, d)
	a, b := f.dial(t, "192.0.2.1:1"), f.dial(t, "192.0.2.2:1")
	hears(t, a, "hello\n")
	hears(t, b, "hello\n")
	if err := d.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	hears(t, a, "bye\n")
	hears(t, b, "bye\n")
	if d.Context().Err() == nil {
		t.Error("the context goes on")
	}
}

// TestStuck: who does not drain in time is cut off.
func TestStuck(t *testing.T) {
	d := &Door{Connections: 9, PerAddress: 9, Open: func(nc net.Conn) Session { return &echo{nc: nc, stuck: true} }}
	f, _ := serve(t, d)
	a := f.dial(t, "192.0.2.1:1")
	hears(t, a, "hello\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := d.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	hears(t, a, "")
}

// broken fails a few times as a listener does without file descriptors.
type broken struct {
	net.Listener
	fails int
}

func (b *broken) Accept() (net.Conn, error) {
	if b.fails--; b.fails >= 0 {
		return nil, fmt.Errorf("accept: %w", syscall.EMFILE)
	}
	return b.Listener.Accept()
}

func TestAcceptFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &Door{Connections: 9, PerAddress: 9, Open: func(nc net.Conn) Session { return &echo{nc: nc} }, Logger: slog.New(slog.DiscardHandler)}
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(&broken{l, 3}) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "hello\n")
	if line, err := bufio.NewReader(nc).ReadString('\n'); line != "hello\n" {
		t.Fatal(line, err)
	}
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	d.Shutdown(t.Context())
}
