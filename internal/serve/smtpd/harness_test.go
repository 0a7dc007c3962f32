package smtpd

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/migiwa/migiwa/internal/mail"
)

// TestMain runs the tests, or where a test has started this program once more,
// its many clients.
func TestMain(m *testing.M) {
	if os.Getenv(crowdEnv) != "" {
		crowdMain()
	}
	goleak.VerifyTestMain(m)
}

// half is one direction of an in-memory connection: unlike net.Pipe it has a
// buffer, so that both sides can write first, as TCP lets them.
type half struct {
	mu       sync.Mutex
	cond     *sync.Cond
	buf      []byte
	limit    int
	eof      bool // the writer has closed
	dead     bool // the reader has closed
	deadline [2]time.Time
	timer    [2]*time.Timer
}

const (
	reading = iota
	writing
)

func newHalf() *half {
	h := &half{limit: 1 << 16}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) expired(which int) bool {
	return !h.deadline[which].IsZero() && !time.Now().Before(h.deadline[which])
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.dead:
			return 0, net.ErrClosed
		case h.expired(reading):
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = append(h.buf[:0], h.buf[n:]...)
			h.cond.Broadcast()
			return n, nil
		case h.eof:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for done := 0; ; {
		switch {
		case h.eof || h.dead:
			return done, io.ErrClosedPipe
		case h.expired(writing):
			return done, os.ErrDeadlineExceeded
		}
		n := min(h.limit-len(h.buf), len(p)-done)
		h.buf = append(h.buf, p[done:done+n]...)
		done += n
		h.cond.Broadcast()
		if done == len(p) {
			return done, nil
		}
		h.cond.Wait()
	}
}

func (h *half) setDeadline(which int, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline[which] = t
	if h.timer[which] != nil {
		h.timer[which].Stop()
		h.timer[which] = nil
	}
	if !t.IsZero() {
		h.timer[which] = time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			h.cond.Broadcast()
			h.mu.Unlock()
		})
	}
	h.cond.Broadcast()
}

func (h *half) shut(reader bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reader {
		h.dead = true
	} else {
		h.eof = true
	}
	for i, t := range h.timer {
		if t != nil {
			t.Stop()
			h.timer[i] = nil
		}
	}
	h.cond.Broadcast()
}

// memConn is one end of an in-memory connection.
type memConn struct {
	in, out       *half
	local, remote net.Addr
}

// memPipe gives a client end and a server end; the client has address remote.
func memPipe(remote string) (client, server *memConn) {
	up, down := newHalf(), newHalf()
	r := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(remote))
	l := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("198.51.100.1:25"))
	return &memConn{down, up, r, l}, &memConn{up, down, l, r}
}

func (c *memConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *memConn) CloseWrite() error           { c.out.shut(false); return nil }
func (c *memConn) Close() error                { c.out.shut(false); c.in.shut(true); return nil }
func (c *memConn) LocalAddr() net.Addr         { return c.local }
func (c *memConn) RemoteAddr() net.Addr        { return c.remote }
func (c *memConn) SetDeadline(t time.Time) error {
	c.in.setDeadline(reading, t)
	c.out.setDeadline(writing, t)
	return nil
}
func (c *memConn) SetReadDeadline(t time.Time) error  { c.in.setDeadline(reading, t); return nil }
func (c *memConn) SetWriteDeadline(t time.Time) error { c.out.setDeadline(writing, t); return nil }

// recorder is a Handler and Session that keeps what it saw, of all connections
// together, and gives the verdicts it was told to give.
type recorder struct {
	mu       sync.Mutex
	conn     *Conn
	messages []message
	steps    []string
	faults   []Fault
	other    []string
	hellos   []Hello
	ended    []Ending

	verdict map[string]Verdict // by step, or by step and argument
	panics  string             // the step that panics
	nobody  bool               // Body returns without reading
	body    func(r io.Reader)  // reads in place of io.ReadAll
}

type message struct {
	env  mail.Envelope
	data string
	err  error
}

func (h *recorder) step(name, arg string) Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = append(h.steps, name)
	if h.panics == name {
		panic("told to")
	}
	if v, ok := h.verdict[name+" "+arg]; ok {
		return v
	}
	return h.verdict[name]
}

func (h *recorder) Connect(_ context.Context, c *Conn) (Session, Verdict) {
	h.mu.Lock()
	h.conn = c
	h.mu.Unlock()
	return h, h.step("connect", "")
}

func (h *recorder) Hello(_ context.Context, hello Hello) Verdict {
	h.mu.Lock()
	h.hellos = append(h.hellos, hello)
	h.mu.Unlock()
	return h.step("hello", hello.Name)
}
func (h *recorder) StartTLS(context.Context) Verdict { return h.step("starttls", "") }
func (h *recorder) Mail(_ context.Context, env *mail.Envelope) Verdict {
	return h.step("mail", env.From.Wire)
}
func (h *recorder) Rcpt(_ context.Context, _ *mail.Envelope, r mail.Recipient) Verdict {
	return h.step("rcpt", r.Wire)
}
func (h *recorder) Data(context.Context, *mail.Envelope) Verdict { return h.step("data", "") }

func (h *recorder) Body(_ context.Context, env *mail.Envelope, r io.Reader) Verdict {
	if h.nobody {
		return h.step("body", "")
	}
	if h.body != nil {
		h.body(r)
	}
	b, err := io.ReadAll(r)
	h.mu.Lock()
	h.messages = append(h.messages, message{*env, string(b), err})
	h.mu.Unlock()
	return h.step("body", "")
}

func (h *recorder) Other(_ context.Context, verb, arg string) Verdict {
	h.mu.Lock()
	h.other = append(h.other, verb+" "+arg)
	h.mu.Unlock()
	return h.step("other", verb)
}

func (h *recorder) Broken(_ context.Context, f Fault) Verdict {
	h.mu.Lock()
	h.faults = append(h.faults, f)
	h.mu.Unlock()
	return h.step("broken", string(f))
}

func (h *recorder) End(e Ending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = append(h.ended, e)
	if h.panics == "end" {
		panic("told to")
	}
}

// accepted gives the messages that were read whole.
func (h *recorder) accepted() []message {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []message
	for _, m := range h.messages {
		if m.err == nil {
			out = append(out, m)
		}
	}
	return out
}

func reply(code int, enhanced, text string) *mail.Reply {
	return &mail.Reply{Code: code, Enhanced: enhanced, Text: text}
}

// serveOne runs one connection of s to its end on an in-memory connection and
// gives the client's end.
func serveOne(t testing.TB, s *Server, remote string) *memConn {
	t.Helper()
	s.init()
	if s.Hostname == "" {
		s.Hostname = "mx.example"
	}
	client, server := memPipe(remote)
	s.accept(server)
	t.Cleanup(func() {
		client.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}
