package imapd

import (
	"bufio"
	"io"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Idle connections are many: they have neither a buffer for reading nor one for
// writing. Both come from a pool with the first octet and go with the last.

var (
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 16<<10) }}
)

// transport begins to read commands from c.nc and to write responses to it.
func (c *conn) transport() {
	c.in = input{r: source{c}}
	c.dec.Continue = func() error { return c.proceed("OK") }
	if c.name == "" {
		c.dec.Limit = maxStranger
	}
	c.out.init(deadlineWriter{c})
}

// source reads from the connection. What waits to be sent leaves before it
// waits for the client.
type source struct{ c *conn }

// Read fulfils io.Reader.
func (s source) Read(p []byte) (int, error) {
	if err := s.c.out.flush(); err != nil {
		return 0, err
	}
	if err := s.c.expect(); err != nil {
		return 0, err
	}
	return s.c.nc.Read(p)
}

// input is the way from the client.
type input struct {
	r     io.Reader
	first [1]byte
	given bool          // first has been read and not been given on
	buf   *bufio.Reader // nil while nothing is known to be there
}

// Read gives what wait has read, then reads on. It is what buf reads from.
func (in *input) Read(p []byte) (int, error) {
	if in.given && len(p) > 0 {
		in.given = false
		p[0] = in.first[0]
		return 1, nil
	}
	return in.r.Read(p)
}

// buffered tells whether something is there already.
func (in *input) buffered() bool { return in.buf != nil && in.buf.Buffered() > 0 }

// wait waits for an octet, without a buffer, and gives the buffer that has it.
func (in *input) wait(n *nap) (*bufio.Reader, error) {
	if in.buffered() {
		return in.buf, nil
	}
	in.release()
	for got := 0; got == 0; {
		var err error
		if got, err = n.read(in.r, in.first[:]); got == 0 && err != nil {
			return nil, err
		}
	}
	in.given = true
	in.buf = readers.Get().(*bufio.Reader)
	in.buf.Reset(in)
	return in.buf, nil
}

// release gives the buffer back, with what is in it.
func (in *input) release() {
	if in.buf != nil {
		in.buf.Reset(nil)
		readers.Put(in.buf)
		in.buf = nil
	}
}

// await waits for the first octet of a command or of an answer to a challenge.
func (c *conn) await() (err error) {
	c.dec.R, err = c.in.wait(c.nap)
	if err != nil {
		return c.why(err)
	}
	return nil
}

// reading says that a command has begun, or that it has been read.
func (c *conn) reading(within bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.within = within
}

// expect sets the time by which the next input must have come.
func (c *conn) expect() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := time.Now().Add(c.srv.limits.Idle)
	switch {
	case c.within:
		by = time.Now().Add(c.srv.limits.Stall)
	case c.draining:
		return errDraining
	}
	if end := c.start.Add(c.srv.limits.Login); c.name == "" && end.Before(by) {
		by = end
	}
	return c.nc.SetReadDeadline(by)
}

// Drain wakes a connection that waits for a command; one that is in the middle
// of a command ends after it.
func (c *conn) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if !c.within {
		c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// why tells a deadline that drain has set from a peer's.
func (c *conn) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining && !c.within {
		return errDraining
	}
	return err
}

// output is the way to the client. Its methods may be called from many
// goroutines: each response is written whole.
type output struct {
	mu  sync.Mutex
	w   io.Writer
	enc wire.Encoder // its W is nil while nothing waits to be sent
	err error        // the first; nothing is written after it
}

func (o *output) init(w io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = w
}

// write runs f, which writes whole lines.
func (o *output) write(f func(e *wire.Encoder) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if o.enc.W == nil {
		o.enc.W = writers.Get().(*bufio.Writer)
		o.enc.W.Reset(o.w)
	}
	o.err = f(&o.enc)
	return o.err
}

// flush sends what waits.
func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.enc.W == nil {
		return o.err
	}
	if err := o.enc.W.Flush(); o.err == nil {
		o.err = err
	}
	o.enc.W.Reset(nil)
	writers.Put(o.enc.W)
	o.enc.W = nil
	return o.err
}

// deadlineWriter gives each write its time. A client that does not read is given
// up at once: nobody else waits for it.
type deadlineWriter struct{ c *conn }

// Write fulfils io.Writer.
func (w deadlineWriter) Write(p []byte) (int, error) {
	w.c.nc.SetWriteDeadline(time.Now().Add(w.c.srv.limits.Write))
	n, err := w.c.nc.Write(p)
	if err != nil {
		w.c.raw.Close()
	}
	return n, err
}

// proceed asks the client to go on, and sends all that waits.
func (c *conn) proceed(text string) error {
	c.line("+ " + text)
	return c.out.flush()
}
