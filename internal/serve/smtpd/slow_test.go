package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const crowdSize = 10_000

// slowly is a Handler that holds everybody back, at the greeting or at EHLO.
type slowly struct {
	idler
	greet, hello time.Duration
}

func (s slowly) Connect(context.Context, *Conn) (Session, Verdict) {
	return s, Verdict{Delay: s.greet}
}
func (s slowly) Hello(context.Context, Hello) Verdict { return Verdict{Tarpit: s.hello} }

// TestHeldConnectionsAreCheap holds ten thousand real connections back, lets
// some leave, and shuts down.
func TestHeldConnectionsAreCheap(t *testing.T) {
	allowFiles(t, crowdSize+200)
	t.Run("greet pause", func(t *testing.T) { holdCrowd(t, slowly{greet: time.Hour}, "") })
	t.Run("tarpit", func(t *testing.T) { holdCrowd(t, slowly{hello: time.Hour}, "EHLO bot.example\r\n") })
}

func holdCrowd(t *testing.T, h slowly, says string) {
	s := &Server{Handler: h, Hostname: "mx.example", Limits: Limits{Held: crowdSize}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer s.Close()
	before := usage(t)
	c := startCrowd(t, l.Addr().String(), says)
	await(t, "all are held", func() bool { return s.Stats().Held == crowdSize })
	after := usage(t)
	each := (after.memory - before.memory) / crowdSize
	t.Logf("a held connection costs %d octets of heap and stacks, %d resident; goroutines %+d, threads %+d", each,
		(after.resident-before.resident)/crowdSize, after.goroutines-before.goroutines, after.threads-before.threads)
	if each > 16<<10 {
		t.Errorf("a held connection costs %d octets, want at most 16 KiB", each)
	}
	if n := after.goroutines - before.goroutines; n > crowdSize+10 {
		t.Errorf("%d goroutines more for %d connections", n, crowdSize)
	}
	if n := after.threads - before.threads; n > 10 {
		t.Errorf("%d threads more", n)
	}

	const leave = 1000
	c.tell(strconv.Itoa(leave))
	await(t, "who left is gone", func() bool { st := s.Stats(); return st.Held == crowdSize-leave && st.Open == crowdSize-leave })

	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error("shutting down:", err)
	}
	t.Logf("shut down in %v", time.Since(start).Round(time.Millisecond))
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Error(err)
	}
	if told := c.end(); told != crowdSize-leave {
		t.Errorf("%d heard 421, want %d", told, crowdSize-leave)
	}
}

type used struct{ memory, resident, goroutines, threads int }

func usage(t *testing.T) used {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := used{memory: int(m.HeapInuse + m.StackInuse), goroutines: runtime.NumGoroutine(),
		threads: pprof.Lookup("threadcreate").Count()}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		pages, err := strconv.Atoi(strings.Fields(string(b))[1])
		if err != nil {
			t.Fatal(err)
		}
		u.resident = pages * os.Getpagesize()
	}
	return u
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// allowFiles raises the limit of open files, for this process and the crowd.
func allowFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	limit.Cur, limit.Max = n, max(limit.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("this test needs %d open files: %v", n, err)
	}
}

// A crowd is the clients, in a process of their own: so neither their memory
// nor their files are counted here. It is this program, started again.
type crowd struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

const crowdEnv = "MIGIWA_TEST_CROWD" // address, and what each client says once greeted

func startCrowd(t *testing.T, addr, says string) *crowd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crowdEnv+"="+addr+" "+says)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &crowd{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return c
}

func (c *crowd) tell(line string) { fmt.Fprintln(c.in, line) }

// end waits until the crowd has heard its last and gives how many heard 421.
func (c *crowd) end() (told int) {
	c.t.Helper()
	if _, err := fmt.Fscan(c.out, &told); err != nil {
		c.t.Error("reading from the clients:", err)
	}
	return told
}

// crowdMain is the program of the crowd: it connects, each client from one of
// many addresses where the system lets it, lets as many leave as it is told,
// and reads the others to their end.
func crowdMain() {
	addr, says, _ := strings.Cut(os.Getenv(crowdEnv), " ")
	conns := make([]net.Conn, crowdSize)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 20 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < crowdSize; i = next.Add(1) - 1 {
				c, err := dialFrom(int(i), addr, says)
				if err != nil {
					fmt.Fprintln(os.Stderr, "a client of the crowd:", err)
					os.Exit(1)
				}
				conns[i] = c
			}
		})
	}
	wg.Wait()
	var leave int
	if _, err := fmt.Scan(&leave); err != nil {
		os.Exit(1)
	}
	var told atomic.Int64
	for i, c := range conns {
		if i < leave {
			c.Close()
			continue
		}
		wg.Go(func() {
			if b, _ := io.ReadAll(c); bytes.HasPrefix(b, []byte("421 4.3.2")) || bytes.Contains(b, []byte("\n421 4.3.2")) {
				told.Add(1)
			}
			c.Close()
		})
	}
	wg.Wait()
	fmt.Println(told.Load())
	os.Exit(0)
}

func dialFrom(i int, addr, says string) (net.Conn, error) {
	var d net.Dialer
	if runtime.GOOS == "linux" { // all of 127.0.0.0/8 is there
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/250), byte(i%250+1))}
	}
	c, err := d.Dial("tcp", addr)
	if err != nil || says == "" {
		return c, err
	}
	greeting := make([]byte, 64)
	if _, err := c.Read(greeting); err != nil {
		return nil, err
	}
	_, err = io.WriteString(c, says)
	return c, err
}

func TestHeldAreBounded(t *testing.T) {
	timed(t, "greet pause", func(t *testing.T, rec *recorder, s *Server) {
		s.Limits.Held = 2
		rec.verdict["connect"] = Verdict{Delay: time.Minute}
		first, second := newPeer(t, s), newPeer(t, s)
		synctest.Wait()
		third := newPeer(t, s)
		third.hear("421 4.7.0", 0)
		first.c.Close()
		time.Sleep(time.Second)
		fourth := newPeer(t, s)
		second.hear("220 ", time.Minute-time.Second)
		fourth.hear("220 ", time.Second)
		if st := s.Stats(); st.Held != 0 || st.Shed != 1 {
			t.Fatalf("%+v", st)
		}
	})
	timed(t, "replies", func(t *testing.T, rec *recorder, s *Server) {
		s.Limits.Held = 1
		rec.verdict["hello"] = Verdict{Tarpit: time.Hour}
		rec.verdict["mail"] = Verdict{Delay: 999 * time.Millisecond} // not held back
		p := newPeer(t, s)
		p.hear("220 ", 0)
		p.say("HELO c\r\n")
		time.Sleep(time.Second)
		synctest.Wait()
		delete(rec.verdict, "hello")
		after := false
		rec.verdict["rcpt no@d.example"] = Verdict{Delay: time.Second, Reply: reply(451, "4.7.1", "Later"), After: func() { after = true }}
		q := newPeer(t, s)
		q.hear("220 ", 0)
		q.say("HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<no@d.example>\r\n")
		q.hear("250 ", 0)
		q.hear("250 ", 999*time.Millisecond)
		q.hear("421 4.7.0", 0)
		q.c.Close()
		synctest.Wait()
		if !after {
			t.Fatal("After did not run")
		}
	})
}

func TestTheReplyToAMessageStands(t *testing.T) {
	timed(t, "over the bound", func(t *testing.T, rec *recorder, s *Server) {
		s.Limits.Held = 1
		rec.verdict["body"] = Verdict{Tarpit: time.Hour}
		for i := range 2 {
			p := newPeer(t, s)
			p.upToData()
			p.say("x\r\n.\r\n")
			if i == 1 {
				p.hear("250 2.0.0", 0)
			}
			synctest.Wait()
		}
		if st := s.Stats(); st.Messages != 1 || st.Held != 1 {
			t.Fatalf("%+v", st)
		}
	})
}

// TestAfterRunsWithoutThePeer lets a client go before it has its answer: what
// it asked is still known.
func TestAfterRunsWithoutThePeer(t *testing.T) {
	timed(t, "delay", func(t *testing.T, rec *recorder, s *Server) {
		ran := 0
		rec.verdict["rcpt"] = Verdict{Delay: 5 * time.Millisecond, Reply: reply(451, "4.7.1", "Later"), After: func() { ran++ }}
		p := newPeer(t, s)
		p.hear("220 ", 0)
		p.say("HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n")
		p.c.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		if ran != 1 || len(rec.ended) != 1 {
			t.Fatalf("After ran %d times, %d sessions ended", ran, len(rec.ended))
		}
	})
}

// TestShutdownInAGreetPause says 421 in place of the banner.
func TestShutdownInAGreetPause(t *testing.T) {
	timed(t, "pause", func(t *testing.T, rec *recorder, s *Server) {
		rec.verdict["connect"] = Verdict{Delay: time.Hour}
		p := newPeer(t, s)
		time.Sleep(time.Second)
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		p.hear("421 4.3.2", 0)
		p.end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestRefusedAtConnectDoNotLinger: what turns a flood away must not wait for it.
func TestRefusedAtConnectDoNotLinger(t *testing.T) {
	timed(t, "refused", func(t *testing.T, rec *recorder, s *Server) {
		rec.verdict["connect"] = Verdict{Reply: reply(421, "4.7.0", "Too many connections, try again later")}
		p := newPeer(t, s)
		p.hear("421 4.7.0", 0)
		if st := s.Stats(); st.Open != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

// mute is a connection that takes what is written.
type mute struct{ *memConn }

func (mute) Write(p []byte) (int, error)      { return len(p), nil }
func (mute) SetWriteDeadline(time.Time) error { return nil }
func (mute) Close() error                     { return nil }

// TestSheddingIsCheap turns connections away: that must not make one first.
func TestSheddingIsCheap(t *testing.T) {
	s := &Server{Handler: idler{}, Limits: Limits{Connections: 1}}
	defer s.Close()
	s.init()
	s.conns[nil] = struct{}{}
	_, server := memPipe("192.0.2.1:99")
	if n := testing.AllocsPerRun(100, func() { s.accept(mute{server}) }); n > 3 {
		t.Errorf("%v allocations to turn one away", n)
	}
	delete(s.conns, nil)
	if st := s.Stats(); st.Shed != 101 {
		t.Errorf("%+v", st)
	}
}
