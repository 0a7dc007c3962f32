package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/bench/contestant"
	"github.com/migiwa/migiwa/bench/stranger"
)

// again is how soon an honest server tries again: at once, but for a moment.
// A real one would take minutes.
const again = 100 * time.Millisecond

// honest is the i-th honest address.
func honest(i int, way stranger.Way) stranger.Host {
	b := [4]byte{20, 1, byte(i / 200), byte(1 + i%200)}
	if way == stranger.Bind {
		b[0] = 127
	}
	name := fmt.Sprintf("mail.h%d.test", i)
	return stranger.Host{Addr: netip.AddrFrom4(b), Name: name, Hello: name}
}

// bot is the i-th address of the botnet: two in each /24.
func bot(i int, way stranger.Way) stranger.Host {
	net := i / 2
	b := [4]byte{90, byte(100 + net>>8), byte(net), byte(1 + i%2)}
	if way == stranger.Bind {
		b[0] = 127
	}
	a := netip.AddrFrom4(b)
	return stranger.Host{Addr: a, Hello: "[" + a.String() + "]"}
}

// zone is what DNS knows: names and SPF of the honest.
func zone(l load) string {
	var b strings.Builder
	for i := range l.Honest {
		h := honest(i, stranger.Proxy2)
		o := h.Addr.As4()
		fmt.Fprintf(&b, "%d.%d.%d.%d.in-addr.arpa. PTR %s.\n%s. A %s\nh%d.test. TXT \"v=spf1 ip4:%s -all\"\n",
			o[3], o[2], o[1], o[0], h.Name, h.Name, h.Addr, i, h.Addr)
	}
	return b.String()
}

// game is one round.
type game struct {
	load   load
	dialer stranger.Dialer
	count  struct{ sessions, answered atomic.Int64 }

	mu         sync.Mutex
	delays     []time.Duration
	retries    int
	unfinished int
}

// round starts a fresh contestant, makes the honest servers known, lets the bots
// loose and measures.
func round(l load, name, binary string) (r result, err error) {
	s, err := start(name, binary, l)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	g := &game{load: l, dialer: stranger.Dialer{Server: s.addr, Way: s.way, Timeout: 30 * time.Second}}
	if err := g.introduce(); err != nil {
		return r, err
	}
	if s.begin != nil {
		if err := s.begin(); err != nil {
			return r, err
		}
	}
	g.retries = 0
	ctx, cancel := context.WithCancel(context.Background())
	var bots sync.WaitGroup
	for range l.Bots {
		bots.Go(func() { g.guess(ctx) })
	}
	time.Sleep(l.Head)
	sessions, answered := g.count.sessions.Load(), g.count.answered.Load()
	begin := time.Now()
	g.send(begin.Add(l.Round))
	r = g.result(l.Round)
	r.Name = name
	sessions, answered = g.count.sessions.Load()-sessions, g.count.answered.Load()-answered
	r.Guesses = float64(sessions) / time.Since(begin).Seconds()
	r.Answered = float64(answered) / float64(max(sessions, 1))
	cancel()
	bots.Wait()
	return r, nil
}

// introduce lets every honest address send letters over the warm-up; the last
// ones must be taken.
func (g *game) introduce() error {
	var senders sync.WaitGroup
	var lost atomic.Int64
	for i := range g.load.Honest {
		senders.Go(func() {
			for n := range letters {
				time.Sleep(warmup / letters * time.Duration(i) / time.Duration(g.load.Honest))
				taken := g.letter(i, time.Now().Add(2*warmup/letters))
				if n < letters-1 {
					time.Sleep(warmup / letters * time.Duration(g.load.Honest-i) / time.Duration(g.load.Honest))
				} else if !taken {
					lost.Add(1)
				}
			}
		})
	}
	senders.Wait()
	if n := lost.Load(); int(n) > g.load.Honest/10 {
		return fmt.Errorf("after the warm-up %d of %d honest addresses are not let in", n, g.load.Honest)
	}
	return nil
}

// guess is one bot connection after the other.
func (g *game) guess(ctx context.Context) {
	for ctx.Err() == nil {
		to := fmt.Sprintf("u%d@%s", rand.IntN(50*g.load.Users), contestant.Domain)
		h := bot(rand.IntN(g.load.Pool), g.dialer.Way)
		o := g.dialer.Try(h, "a@free.test", to, "")
		g.count.sessions.Add(1)
		if o.Err == nil && o.Step == stranger.Rcpt && (o.Reply.Code/100 == 2 || o.Reply.Code == 550) {
			g.count.answered.Add(1)
		}
	}
}

// send lets the honest clients send until the end.
func (g *game) send(end time.Time) {
	var clients sync.WaitGroup
	for c := range g.load.Clients {
		clients.Go(func() {
			for i := c; time.Now().Before(end); i += g.load.Clients {
				begin := time.Now()
				taken := g.letter(i%g.load.Honest, end) && time.Now().Before(end)
				g.note(taken, time.Since(begin))
			}
		})
	}
	clients.Wait()
}

// note records a message; one that was not taken in time has waited at least so
// long.
func (g *game) note(taken bool, waited time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delays = append(g.delays, waited)
	if !taken {
		g.unfinished++
	}
}

// letter sends one message, again and again until it is taken or time is up.
func (g *game) letter(i int, end time.Time) bool {
	h := honest(i, g.dialer.Way)
	from, to := fmt.Sprintf("user@h%d.test", i), contestant.User(rand.IntN(g.load.Users))
	text := fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: Hello\r\nDate: %s\r\nMessage-ID: <%d@h%d.test>\r\n\r\nAll is well.\r\n%s",
		from, to, time.Now().Format(time.RFC1123Z), rand.Uint64(), i, strings.Repeat("Lorem ipsum dolor sit amet, consectetur.\r\n", 90))
	for {
		o := g.dialer.Try(h, from, to, strings.TrimSuffix(text, "\r\n"))
		if o.Err == nil && o.Step == stranger.Data && o.Reply.Code/100 == 2 {
			return true
		}
		g.mu.Lock()
		g.retries++
		g.mu.Unlock()
		time.Sleep(min(again, time.Until(end)))
		if !time.Now().Before(end) {
			return false
		}
	}
}

func (g *game) result(took time.Duration) result {
	slices.Sort(g.delays)
	ms := func(q float64) float64 {
		if len(g.delays) == 0 {
			return 0
		}
		return g.delays[min(len(g.delays)-1, int(q*float64(len(g.delays))))].Seconds() * 1000
	}
	return result{
		PerSecond: float64(len(g.delays)-g.unfinished) / took.Seconds(),
		P50:       ms(0.5), P99: ms(0.99), Max: ms(1),
		Retries: float64(g.retries), Unfinished: float64(g.unfinished),
	}
}
