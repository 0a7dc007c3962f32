package smtpd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// peer is a client whose lines can be timed.
type peer struct {
	t     *testing.T
	c     *memConn
	in    *bufio.Reader
	start time.Time
}

func newPeer(t *testing.T, s *Server) *peer {
	c := serveOne(t, s, "192.0.2.9:99")
	return &peer{t, c, bufio.NewReader(c), time.Now()}
}

func (p *peer) say(s string) { p.c.Write([]byte(s)) }

// hear wants a line with this start, between now and d later, exactly d unless
// d is 0.
func (p *peer) hear(want string, d time.Duration) {
	p.t.Helper()
	from := time.Now()
	line, err := p.in.ReadString('\n')
	if err != nil {
		p.t.Fatalf("want %q, got %v", want, err)
	}
	if !strings.HasPrefix(line, want) {
		p.t.Fatalf("want %q, got %q", want, line)
	}
	if took := time.Since(from); took != d {
		p.t.Fatalf("%q came after %v, want %v", line, took, d)
	}
	synctest.Wait() // what the Session sees next, the test may look at
}

func (p *peer) end() {
	p.t.Helper()
	if b, err := io.ReadAll(p.in); len(b) > 0 || err != nil {
		p.t.Fatalf("want the end, got %q, %v", b, err)
	}
	synctest.Wait()
}

func (p *peer) upToData() {
	p.t.Helper()
	p.hear("220 ", 0)
	p.say("HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
	p.hear("250 ", 0)
	p.hear("250 ", 0)
	p.hear("250 ", 0)
	p.hear("354 ", 0)
}

func timed(t *testing.T, name string, f func(t *testing.T, rec *recorder, s *Server)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rec := &recorder{verdict: map[string]Verdict{}}
			f(t, rec, &Server{Handler: rec, Hostname: "mx.example"})
		})
	})
}

func TestTimes(t *testing.T) {
	timed(t, "idle", func(t *testing.T, rec *recorder, s *Server) {
		p := newPeer(t, s)
		p.hear("220 ", 0)
		time.Sleep(4 * time.Minute)
		p.say("NOO") // does not prolong it
		p.hear("421 4.4.2 Idle", time.Minute)
		p.end()
		if rec.ended[0].Cause == nil || len(rec.faults) != 0 {
			t.Fatalf("%+v %v", rec.ended, rec.faults)
		}
	})
	timed(t, "total", func(t *testing.T, rec *recorder, s *Server) {
		p := newPeer(t, s)
		p.hear("220 ", 0)
		for range 29 {
			time.Sleep(4 * time.Minute)
			p.say("NOOP\r\n")
			p.hear("250 ", 0)
		}
		p.hear("421 4.4.2 Connected", 4*time.Minute)
		p.end()
		if len(rec.faults) != 1 || rec.faults[0] != TooSlow {
			t.Fatal(rec.faults)
		}
	})
	timed(t, "slow message", func(t *testing.T, rec *recorder, s *Server) {
		p := newPeer(t, s)
		p.upToData()
		start := time.Now()
		go func() {
			for { // 128 octets a second, half of what is wanted
				if _, err := p.c.Write([]byte(strings.Repeat("x", 126) + "\r\n")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		line, err := p.in.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "421 4.4.2 Message") {
			t.Fatal(line, err)
		}
		if took := time.Since(start); took < 2*time.Minute-3*time.Second || took > 2*time.Minute+3*time.Second {
			t.Fatal(took)
		}
		p.c.Close()
		time.Sleep(2 * time.Second)
		if f := rec.faults[len(rec.faults)-1]; f != TooSlow || rec.messages[0].err == nil || s.Stats().Messages != 0 {
			t.Fatal(rec.faults, rec.messages[0].err)
		}
		if r := mail.AsReply(rec.messages[0].err); r.Code != 421 {
			t.Fatal(r)
		}
	})
	timed(t, "silent message", func(t *testing.T, rec *recorder, s *Server) {
		p := newPeer(t, s)
		p.upToData()
		p.say("x\r\n")
		p.hear("421 4.4.2", time.Minute)
		p.end()
	})
	timed(t, "slow session", func(t *testing.T, rec *recorder, s *Server) {
		rec.body = func(r io.Reader) { // our disk is slow, not the peer
			r.Read(make([]byte, 1))
			time.Sleep(time.Hour)
		}
		p := newPeer(t, s)
		p.upToData()
		p.say(strings.Repeat("x\r\n", 15000))
		time.Sleep(30 * time.Minute)
		p.say(".\r\n")
		p.hear("250 ", 30*time.Minute)
	})
	timed(t, "delay and tarpit", func(t *testing.T, rec *recorder, s *Server) {
		after := time.Time{}
		rec.verdict["rcpt slow@d.example"] = Verdict{Delay: 7 * time.Second, Reply: reply(451, "4.7.1", "Later"), After: func() { after = time.Now() }}
		rec.verdict["rcpt tar@d.example"] = Verdict{Tarpit: 40 * time.Second, Reply: reply(450, "4.7.1", "Later"), Close: true}
		p := newPeer(t, s)
		p.hear("220 ", 0)
		p.say("HELO c\r\nMAIL FROM:<a@b.example>\r\n")
		p.hear("250 ", 0)
		p.hear("250 ", 0)
		p.say("RCPT TO:<slow@d.example>\r\nRCPT TO:<tar@d.example>\r\n" + strings.Repeat("NOOP\r\n", 200))
		p.hear("451 4.7.1 Later", 7*time.Second)
		if !after.Equal(time.Now()) {
			t.Fatal("After did not run behind the reply")
		}
		for range 7 {
			p.hear("450-4.7.1 Later", 5*time.Second)
		}
		p.hear("450 4.7.1 Later", 5*time.Second)
		p.end()
	})
	timed(t, "peer leaves a delay", func(t *testing.T, rec *recorder, s *Server) {
		rec.verdict["hello"] = Verdict{Delay: time.Hour}
		p := newPeer(t, s)
		p.hear("220 ", 0)
		p.say("HELO c\r\n")
		time.Sleep(time.Minute)
		p.c.Close()
		synctest.Wait()
		if len(rec.ended) != 1 || rec.ended[0].Duration != time.Minute || !errors.Is(rec.ended[0].Cause, io.EOF) {
			t.Fatalf("%+v", rec.ended)
		}
	})
	timed(t, "greet pause", func(t *testing.T, rec *recorder, s *Server) {
		rec.verdict["connect"] = Verdict{Delay: 6 * time.Second}
		p := newPeer(t, s)
		p.hear("220 ", 6*time.Second)
		p.say("QUIT\r\n")
		p.hear("221 ", 0)
		p.end()
		if rec.ended[0].Cause != nil || rec.ended[0].Commands != 1 || rec.ended[0].Bytes != 6 {
			t.Fatalf("%+v", rec.ended)
		}
	})
	timed(t, "early talker", func(t *testing.T, rec *recorder, s *Server) {
		rec.verdict["connect"] = Verdict{Delay: 6 * time.Second}
		rec.verdict["broken early-talk"] = Verdict{Reply: reply(554, "5.5.1", "Too early")}
		p := newPeer(t, s)
		p.say("EHLO c\r\n")
		p.hear("554 5.5.1 Too early", 6*time.Second)
		p.c.Close()
		synctest.Wait()
		if len(rec.ended) != 1 || len(rec.hellos) != 0 {
			t.Fatalf("%+v %v", rec.ended, rec.hellos)
		}
	})
}

func TestShutdown(t *testing.T) {
	timed(t, "idle", func(t *testing.T, rec *recorder, s *Server) {
		p := newPeer(t, s)
		p.hear("220 ", 0)
		synctest.Wait()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.hear("421 4.3.2", 0)
		p.end()
	})
	timed(t, "a message may finish", func(t *testing.T, rec *recorder, s *Server) {
		p := newPeer(t, s)
		p.upToData()
		p.say("half\r\n")
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		time.Sleep(10 * time.Second)
		p.say("whole\r\n.\r\n")
		p.hear("250 ", 0)
		p.hear("421 4.3.2", 0)
		p.end()
		if err := <-done; err != nil || len(rec.accepted()) != 1 {
			t.Fatal(err, rec.messages)
		}
	})
	timed(t, "a message that does not", func(t *testing.T, rec *recorder, s *Server) {
		p := newPeer(t, s)
		p.upToData()
		p.say("half\r\n")
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if len(rec.accepted()) != 0 || len(rec.ended) != 1 {
			t.Fatal(rec.messages)
		}
	})
	timed(t, "a delay ends early", func(t *testing.T, rec *recorder, s *Server) {
		rec.verdict["body"] = Verdict{Delay: time.Hour}
		p := newPeer(t, s)
		p.upToData()
		p.say("whole\r\n.\r\n")
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		p.hear("250 ", 0)
		p.hear("421 4.3.2", 0)
		p.end()
		<-done
	})
}

func TestPanics(t *testing.T) {
	for _, step := range []string{"connect", "hello", "body", "end"} {
		timed(t, step, func(t *testing.T, rec *recorder, s *Server) {
			rec.panics = step
			out := make(chan string)
			p := newPeer(t, s)
			go func() {
				b, _ := io.ReadAll(p.in)
				out <- string(b)
			}()
			p.say("HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n")
			synctest.Wait()
			p.say("DATA\r\n")
			synctest.Wait()
			p.say("x\r\n.\r\nQUIT\r\n")
			p.c.CloseWrite()
			got := <-out
			if step != "end" && !strings.HasSuffix(got, "421 4.3.0 Internal error, try again later\r\n") {
				t.Fatalf("%q", got)
			}
			if s.Stats().Panics != 1 {
				t.Fatal(s.Stats())
			}
			synctest.Wait()
			rec.panics = ""
			p = newPeer(t, s)
			p.hear("220 ", 0)
		})
	}
}
