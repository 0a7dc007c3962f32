package crash

import (
	"context"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/test/peers"
)

// cluster starts a PostgreSQL for one test alone and gives an empty database
// of it.
func cluster(t *testing.T) (p *peers.PostgresServer, dsn string) {
	t.Helper()
	peers.Postgres(t) // skips, or fails, where there is none
	p, err := peers.StartPostgres()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if dsn, err = p.NewDatabase(); err != nil {
		t.Fatal(err)
	}
	return p, dsn
}

// TestPostgresKilled ends PostgreSQL itself by SIGKILL under load and starts it
// again: migiwa goes on by itself.
func TestPostgresKilled(t *testing.T) {
	p, dsn := cluster(t)
	kills := 4
	if long() {
		kills = 20
	}
	troubled(t, dsn, kills, true, func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		time.Sleep(500 * time.Millisecond)
		if err := p.Start(); err != nil {
			t.Error(err)
		}
	})
}

// TestPostgresUnreachable cuts the way to PostgreSQL for five seconds.
func TestPostgresUnreachable(t *testing.T) {
	_, dsn := cluster(t)
	way, through := passage(t, dsn)
	troubled(t, through, 1, true, func() {
		way.set(cut)
		time.Sleep(5 * time.Second)
		way.set(open)
	})
}

// TestPostgresHangs keeps back all that PostgreSQL and migiwa say to one
// another for five seconds.
func TestPostgresHangs(t *testing.T) {
	_, dsn := cluster(t)
	way, through := passage(t, dsn)
	troubled(t, through, 1, false, func() {
		way.set(held)
		time.Sleep(5 * time.Second)
		way.set(open)
	})
}

// troubled runs load over several troubles of the database. refused tells that
// mail cannot be taken meanwhile.
func troubled(t *testing.T, dsn string, times int, refused bool, trouble func()) {
	k := startSink(t)
	s := install(t, filepath.Join(t.TempDir(), "node"), settings(k, dsn), "alice", "bob", "carol")
	l := newLedger()
	s.serve()
	ctx, cancel := context.WithCancel(t.Context())
	wait := l.load(ctx, s, "t", 8)
	var slowest time.Duration
	for range times {
		time.Sleep(time.Second)
		trouble()
		start, before := time.Now(), l.count()
		eventually(t, 30*time.Second, "mail is accepted again", func() bool { return l.count() > before+10 })
		slowest = max(slowest, time.Since(start))
	}
	cancel()
	wait()
	again := finish(t, s, l, k)
	t.Logf("%d troubles: %v; %d copies sent again; accepting again after at most %v", times, l, again, slowest.Round(time.Millisecond))
	if refused && l.deferred == 0 {
		t.Error("no client heard a 4xx: the test tests nothing")
	}
	if most := times * width * 2; again > most {
		t.Errorf("the sink got %d copies again, at most %d were on their way", again, most)
	}
}

// way is the only way to a server, and can be closed.
type way struct {
	mu    sync.Mutex
	state state
	moved *sync.Cond // with mu, when state changes
	conns map[net.Conn]bool
}

type state int

const (
	open state = iota
	cut        // connections end, and new ones, too
	held       // nothing passes, but nothing ends
)

// passage gives a way to the server of dsn, and the dsn of that way.
func passage(t *testing.T, dsn string) (*way, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{conns: map[net.Conn]bool{}}
	w.moved = sync.NewCond(&w.mu)
	var group sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		w.set(cut)
		group.Wait()
	})
	target := u.Host
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { w.connect(c, target) })
		}
	})
	u.Host = l.Addr().String()
	return w, u.String()
}

func (w *way) set(s state) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	if s == cut {
		for c := range w.conns {
			c.Close()
		}
	}
	w.moved.Broadcast()
}

// add takes conns in charge; false when the way is cut.
func (w *way) add(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.conns[c] = true
	}
	return w.state != cut
}

func (w *way) connect(c net.Conn, target string) {
	defer c.Close()
	s, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer s.Close()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, c)
		delete(w.conns, s)
	}()
	if !w.add(c, s) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { w.pass(s, c) })
	both.Go(func() { w.pass(c, s) })
	both.Wait()
}

// pass copies what comes, while it may.
func (w *way) pass(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		for w.state == held {
			w.moved.Wait()
		}
		w.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
