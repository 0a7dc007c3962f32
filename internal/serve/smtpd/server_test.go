package smtpd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestServe serves two listeners, shuts down under real connections, and
// serves no more.
func TestServe(t *testing.T) {
	s := &Server{Handler: idler{}, Hostname: "mx.example", Greeting: "hello"}
	served := make(chan error, 2)
	var peers []*wire
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { served <- s.Serve(l) }()
		w := dial(t, l.Addr().String())
		w.say("", "220 mx.example hello\r\n")
		peers = append(peers, w)
	}
	peers[0].say("NOOP\r\n", "250")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for _, w := range peers {
		w.say("", "421 4.3.2")
		w.closed()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); !errors.Is(err, ErrServerClosed) {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Fatal("the listener is still open")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Open != 0 || st.Connections != 2 || st.Commands != 1 {
		t.Fatalf("%+v", st)
	}
}

// failing is a listener that fails some times before it is closed.
type failing struct {
	net.Listener
	left int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left--; f.left >= 0 {
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}

// TestServeSurvives lets accepting fail for a while.
func TestServeSurvives(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Handler: idler{}, Hostname: "mx.example"}
	served := make(chan error, 1)
	go func() { served <- s.Serve(&failing{l, 3}) }()
	dial(t, l.Addr().String()).say("", "220")
	s.Close()
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Fatal(err)
	}
}

func TestAddressKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":         "192.0.2.1",
		"::ffff:192.0.2.1":  "192.0.2.1",
		"2001:db8::1":       "2001:db8::",
		"2001:db8:0:1:2::3": "2001:db8:0:1::",
		"fe80::1%eth0":      "fe80::",
	} {
		if got := addressKey(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}
