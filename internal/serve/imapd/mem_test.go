package imapd

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipe gives two ends of a connection in memory with unbounded buffers, so
// that a client can send ahead. It works in synctest bubbles.
func pipe() (client, server *memConn) {
	a, b := newFlow(), newFlow()
	return &memConn{in: a, out: b}, &memConn{in: b, out: a}
}

// flow is one direction.
type flow struct {
	mu       sync.Mutex
	buf      []byte
	closed   bool
	deadline time.Time     // for reading
	wake     chan struct{} // closed when something changes
}

func newFlow() *flow { return &flow{wake: make(chan struct{})} }

func (f *flow) change(edit func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit()
	close(f.wake)
	f.wake = make(chan struct{})
}

func (f *flow) read(p []byte) (int, error) {
	for {
		f.mu.Lock()
		late := !f.deadline.IsZero() && !time.Now().Before(f.deadline)
		n := 0
		if !late {
			n = copy(p, f.buf)
			f.buf = f.buf[n:]
		}
		closed, wake, deadline := f.closed, f.wake, f.deadline
		f.mu.Unlock()
		switch {
		case late:
			return 0, os.ErrDeadlineExceeded
		case n > 0 || len(p) == 0:
			return n, nil
		case closed:
			return 0, io.EOF
		}
		if deadline.IsZero() {
			<-wake
			continue
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

type memConn struct{ in, out *flow }

func (c *memConn) Read(p []byte) (int, error) { return c.in.read(p) }

func (c *memConn) Write(p []byte) (n int, err error) {
	c.out.change(func() {
		if c.out.closed {
			err = net.ErrClosed
			return
		}
		c.out.buf = append(c.out.buf, p...)
		n = len(p)
	})
	return n, err
}

func (c *memConn) Close() error {
	c.in.change(func() { c.in.closed = true })
	c.out.change(func() { c.out.closed = true })
	return nil
}

// CloseWrite lets the other end read up to the end.
func (c *memConn) CloseWrite() { c.out.change(func() { c.out.closed = true }) }

func (c *memConn) SetReadDeadline(t time.Time) error {
	c.in.change(func() { c.in.deadline = t })
	return nil
}
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }
func (c *memConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *memConn) LocalAddr() net.Addr              { return memAddr{} }
func (c *memConn) RemoteAddr() net.Addr             { return memAddr{} }

type memAddr struct{}

func (memAddr) Network() string { return "mem" }
func (memAddr) String() string  { return "mem" }
