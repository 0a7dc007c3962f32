package imapd

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/internal/serve/sasl"
)

// bubble gives a server without a store and a connection to it in memory, for
// tests of time.
func bubble(t *testing.T, limits Limits, name string) (*conn, *client) {
	t.Helper()
	s := &Server{Hostname: "imap.example.test", SASL: &sasl.Server{}, Limits: limits}
	s.init()
	near, far := pipe()
	c := newConn(s, far)
	c.name, c.account = name, 1
	go c.Run(context.Background())
	cl := &client{t: t, nc: near, r: bufio.NewReader(near)}
	cl.read("* OK [CAPABILITY")
	return c, cl
}

// read is line without a deadline of its own, for time in bubbles.
func (c *client) read(begins string) {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Time{})
	line, err := c.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, begins) {
		c.t.Fatalf("%q, %v, want %s", line, err, begins)
	}
}

// ended gives how long it takes until the server closes.
func (c *client) ended() time.Duration {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Time{})
	start := time.Now()
	if rest, _ := io.ReadAll(c.r); len(rest) > 0 {
		c.t.Errorf("%q at the end", rest)
	}
	return time.Since(start)
}

func TestTimes(t *testing.T) {
	for _, k := range []struct {
		name, user, says string // says is what the client begins with
		hears            []string
		after            time.Duration
	}{
		{"stranger", "", "", nil, 3 * time.Minute},
		{"stranger in the middle", "", "a LOGIN ", nil, 3 * time.Minute},
		{"user", "1", "", nil, 30 * time.Minute},
		{"user in the middle", "1", "a SELECT ", nil, 5 * time.Minute},
		{"literal that does not come", "1", "a SELECT {5}\r\n", []string{"+ OK"}, 5 * time.Minute},
		{"idle", "1", "a IDLE\r\n", []string{"+ idling"}, 30 * time.Minute},
	} {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, c := bubble(t, Limits{}, k.user)
				c.send(k.says)
				for _, h := range k.hears {
					c.read(h)
				}
				start := time.Now()
				c.read("* BYE Idle for too long")
				if took := time.Since(start); took != k.after {
					t.Errorf("closed after %v, want %v", took, k.after)
				}
				c.ended()
			})
		})
	}
}

// TestBusyStranger: commands do not lengthen the time for a login.
func TestBusyStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := bubble(t, Limits{}, "")
		for range 5 {
			time.Sleep(30 * time.Second)
			c.send("a NOOP\r\n")
			c.read("a OK")
		}
		start := time.Now()
		c.read("* BYE Idle for too long")
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

// TestDrainTimes: who waits hears at once, who idles too, who is in the middle
// of a command after it.
func TestDrainTimes(t *testing.T) {
	for says, then := range map[string]string{"": "", "a IDLE\r\n": "", "a NOO": "P\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			c, cl := bubble(t, Limits{}, "1")
			cl.send(says)
			if strings.HasSuffix(says, "\n") {
				cl.read("+ idling")
			}
			synctest.Wait()
			start := time.Now()
			c.Drain()
			if then != "" {
				time.Sleep(time.Minute)
				cl.send(then)
				cl.read("a OK NOOP completed")
				start = time.Now()
			}
			cl.read("* BYE Shutting down, try again later")
			cl.ended()
			if took := time.Since(start); took > 0 {
				t.Errorf("%q: closed after %v", says, took)
			}
		})
	}
}

// TestSlowReader: a client that does not read is given up, and what it asked
// for with it.
func TestSlowReader(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Limits.Write = 300 * time.Millisecond })
	h.deliver(t, 1, "", "Subject: large\r\n\r\n"+strings.Repeat(strings.Repeat("x", 70)+"\r\n", 100_000))
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	for range 20 {
		c.send("a FETCH 1 BODY.PEEK[]\r\n")
	}
	done := make(chan struct{})
	go func() { h.door.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("still waiting for a client that does not read")
	}
}

// TestTooManyConnections: they hear why.
func TestTooManyConnections(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Implicit, s.Limits.Connections = false, 2 })
	clear(t, h)
	clear(t, h)
	c := &client{t: t}
	c.connect(h.addr)
	if line := c.line(); line != "* BYE [UNAVAILABLE] Too busy, try again later" {
		t.Error(line)
	}
	c.closed()
}

// strangers gives each connection the address of another machine.
type strangers struct {
	net.Listener
	last int
}

func (s *strangers) Accept() (net.Conn, error) {
	nc, err := s.Listener.Accept()
	s.last++
	return stranger{nc, &net.TCPAddr{IP: net.IPv4(203, 0, 113, byte(s.last)), Port: 4711}}, err
}

type stranger struct {
	net.Conn
	from net.Addr
}

func (s stranger) RemoteAddr() net.Addr { return s.from }

// TestTooManySessions: an account has so many at once, from all addresses.
func TestTooManySessions(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Limits.PerAccount = 2 })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	here := *h
	h.addr = l.Addr().String()
	go h.Serve(&strangers{Listener: l})
	h.login(t, "alice")
	a := h.login(t, "alice")
	h.login(t, "bob")
	c := h.dial(t)
	c.no(`LOGIN alice "open sesame"`, "NO [LIMIT]")
	here.login(t, "alice") // this machine is trusted
	a.ok("LOGOUT")
	a.closed()
	c.ok(`LOGIN alice "open sesame"`)
}

func TestFailedLogins(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Limits.FailDelay = 50 * time.Millisecond })
	c := h.dial(t)
	for i := range 3 {
		start := time.Now()
		untagged, tagged := c.do("LOGIN alice wrong")
		if tagged != "NO [AUTHENTICATIONFAILED] Authentication failed" || (len(untagged) == 1) != (i == 2) {
			t.Error(untagged, tagged)
		}
		if took := time.Since(start); took < time.Duration(i+1)*50*time.Millisecond {
			t.Errorf("answer %d after %v", i, took)
		}
	}
	c.closed()
}
