package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// idler accepts everything and keeps nothing.
type idler struct{}

func (idler) Connect(context.Context, *Conn) (Session, Verdict)                 { return idler{}, Verdict{} }
func (idler) Hello(context.Context, Hello) Verdict                              { return Verdict{} }
func (idler) StartTLS(context.Context) Verdict                                  { return Verdict{} }
func (idler) Mail(context.Context, *mail.Envelope) Verdict                      { return Verdict{} }
func (idler) Rcpt(context.Context, *mail.Envelope, mail.Recipient) Verdict      { return Verdict{} }
func (idler) Data(context.Context, *mail.Envelope) Verdict                      { return Verdict{} }
func (idler) Other(context.Context, string, string) Verdict                     { return Verdict{} }
func (idler) Broken(context.Context, Fault) Verdict                             { return Verdict{} }
func (idler) End(Ending)                                                        {}
func (idler) Body(_ context.Context, _ *mail.Envelope, r io.Reader) (v Verdict) { return drop(r) }

var dropBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func drop(r io.Reader) Verdict {
	b := dropBuffers.Get().(*[]byte)
	defer dropBuffers.Put(b)
	for {
		if _, err := r.Read(*b); err != nil {
			return Verdict{}
		}
	}
}

// BenchmarkSession sends messages of 4 KiB over loopback, 20 connections at a
// time, in lockstep as smtp-source does: one message a connection, or 100.
func BenchmarkSession(b *testing.B) {
	for _, each := range []int{1, 100} {
		b.Run(strconv.Itoa(each)+"-a-connection", func(b *testing.B) { benchSession(b, each) })
	}
}

func benchSession(b *testing.B, each int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &Server{Handler: idler{}, Hostname: "mx.example"}
	go s.Serve(l)
	defer s.Close()
	body := []byte(strings.Repeat(strings.Repeat("x", 78)+"\r\n", 51) + "\r\n.\r\n")
	b.ReportAllocs()
	b.ResetTimer()
	var left, sent atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			r := bufio.NewReaderSize(nil, 1024)
			for left.Add(-int64(each)) > -int64(each) {
				if err := sendSome(l.Addr().String(), r, body, each); err != nil {
					b.Error(err)
					return
				}
				sent.Add(int64(each))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(sent.Load())/b.Elapsed().Seconds(), "messages/s")
	if got := s.Stats().Messages; got != sent.Load() {
		b.Fatalf("%d messages, want %d", got, sent.Load())
	}
}

// sendSome sends n messages on one connection.
func sendSome(addr string, r *bufio.Reader, body []byte, n int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	r.Reset(c)
	if err := steps(c, r, nil, []byte("EHLO c.example\r\n")); err != nil {
		return err
	}
	for range n {
		if err := steps(c, r, []byte("MAIL FROM:<a@b.example>\r\n"), []byte("RCPT TO:<c@d.example>\r\n"),
			[]byte("DATA\r\n"), body); err != nil {
			return err
		}
	}
	return steps(c, r, []byte("QUIT\r\n"))
}

// steps writes each step and reads its reply.
func steps(c net.Conn, r *bufio.Reader, say ...[]byte) error {
	for _, step := range say {
		if step != nil {
			if _, err := c.Write(step); err != nil {
				return err
			}
		}
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return err
			}
			if line[3] == ' ' {
				break
			}
		}
	}
	return nil
}

// BenchmarkDialogue measures one message of 4 KiB without any socket: what the
// server itself costs.
func BenchmarkDialogue(b *testing.B) {
	s := &Server{Handler: idler{}, Hostname: "mx.example", Limits: Limits{Messages: -1, Commands: -1}}
	s.init()
	body := strings.Repeat(strings.Repeat("x", 78)+"\r\n", 51) + "\r\n.\r\n"
	c := newConn(s, readerConn{&stepReader{steps: []string{"MAIL FROM:<a@b.example>\r\n", "RCPT TO:<c@d.example>\r\n", "DATA\r\n", body}}})
	c.sess, c.hello = idler{}, true
	b.ReportAllocs()
	for b.Loop() {
		for range 3 {
			c.step()
		}
	}
	if c.over || c.messages != b.N {
		b.Fatal(c.messages, c.cause)
	}
}

// stepReader gives one step each time, again and again.
type stepReader struct {
	steps []string
	next  int
}

func (r *stepReader) Read(p []byte) (int, error) {
	n := copy(p, r.steps[r.next%len(r.steps)])
	r.next++
	return n, nil
}

// BenchmarkDots measures reading a message of 1 MiB alone.
func BenchmarkDots(b *testing.B) {
	text := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1<<20/72) + ".\r\n"
	s := &Server{Handler: idler{}, Limits: Limits{Idle: time.Hour}}
	s.init()
	buf := make([]byte, 32<<10)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	src := bytes.NewReader(nil)
	for b.Loop() {
		src.Reset([]byte(text))
		c := newConn(s, readerConn{src})
		d := dotReader{pace: newPace(c), bol: true}
		for {
			if _, err := d.Read(buf); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
		c.in.release()
	}
}

// readerConn is a connection that can only be read.
type readerConn struct{ io.Reader }

func (readerConn) Write(p []byte) (int, error)      { return len(p), nil }
func (readerConn) Close() error                     { return nil }
func (readerConn) LocalAddr() net.Addr              { return nil }
func (readerConn) RemoteAddr() net.Addr             { return nil }
func (readerConn) SetDeadline(time.Time) error      { return nil }
func (readerConn) SetReadDeadline(time.Time) error  { return nil }
func (readerConn) SetWriteDeadline(time.Time) error { return nil }

// TestIdleCost measures what connections cost that have said EHLO and wait.
// MIGIWA_IDLE sets their number; 10,000 need as many file descriptors twice.
func TestIdleCost(t *testing.T) {
	n := 500
	if v, err := strconv.Atoi(os.Getenv("MIGIWA_IDLE")); err == nil {
		n = v
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Handler: idler{}, Hostname: "mx.example"}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	clients := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range clients {
			c.Close()
		}
		s.Close()
		<-served
	}()
	dial := func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
		buf := make([]byte, 512)
		c.Read(buf)
		c.Write([]byte("EHLO c.example\r\n"))
		c.Read(buf)
	}
	for range 20 {
		dial()
	}
	before := inUse()
	for range n {
		dial()
	}
	each := (inUse() - before) / int64(n)
	// The test's own half, a socket without a goroutine, is counted too.
	t.Logf("%d octets a connection, %d connections", each, n)
	if each > 12<<10 {
		t.Errorf("an idle connection costs %d octets", each)
	}
}

func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
