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

// BenchmarkSession sends one message of 4 KiB on each of many connections, 20
// at a time, over loopback, in lockstep as smtp-source does.
func BenchmarkSession(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &Server{Handler: idler{}, Hostname: "mx.example"}
	go s.Serve(l)
	defer s.Close()
	body := []byte(strings.Repeat(strings.Repeat("x", 78)+"\r\n", 51) + "\r\n.\r\n")
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range 20 {
		n := b.N / 20
		if i < b.N%20 {
			n++
		}
		wg.Go(func() {
			r := bufio.NewReaderSize(nil, 1024)
			for range n {
				if err := sendOne(l.Addr().String(), r, body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	if got := s.Stats().Messages; got != int64(b.N) {
		b.Fatalf("%d messages, want %d", got, b.N)
	}
}

func sendOne(addr string, r *bufio.Reader, body []byte) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	r.Reset(c)
	for _, step := range [][]byte{nil, []byte("EHLO c.example\r\n"), []byte("MAIL FROM:<a@b.example>\r\n"),
		[]byte("RCPT TO:<c@d.example>\r\n"), []byte("DATA\r\n"), body, []byte("QUIT\r\n")} {
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
