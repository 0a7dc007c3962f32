package edge

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const noon = Time(1_800_000_000)

func newTestFlow(t testing.TB, rules FlowRules, size int) *Flow {
	t.Helper()
	f, err := NewFlow(rules, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func from(ip string) Source { return SourceOf(netip.MustParseAddr(ip)) }

// fromNumber spreads sources over IPv4, one a number.
func fromNumber(n uint32) Source {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return SourceOf(netip.AddrFrom4(b))
}

// model is what Flow promises, written as slowly as can be: for each limit the
// time at which all that was spent is forgiven, absolute, and nothing lazy.
type model struct {
	rules FlowRules
	until map[string]uint64 // by key, scope and rate: in 1/32768 s
	open  map[string]int64
}

func (m *model) times(scope int) int64 { return [3]int64{1, m.rules.Prefix, m.rules.Trusted}[scope] }

func (m *model) fits(key uint64, scope, rate int, now Time, n int64) bool {
	r := m.rules.Rates[rate]
	if r.Count == 0 || m.times(scope) == 0 || n == 0 {
		return true
	}
	c := r.cost(m.times(scope))
	at := uint64(now) << debtShift
	return max(m.until[m.name(key, rate)], at)+c.of(n)-at <= c.most
}

func (m *model) name(key uint64, rate int) string { return fmt.Sprint(key, " ", rate) }

func (m *model) spend(key uint64, scope, rate int, now Time, n int64) {
	r := m.rules.Rates[rate]
	if r.Count == 0 || m.times(scope) == 0 || n == 0 {
		return
	}
	c := r.cost(m.times(scope))
	at, name := uint64(now)<<debtShift, m.name(key, rate)
	m.until[name] = max(m.until[name], min(max(m.until[name], at)+c.of(n), at+c.most*3/2))
}

// scopes are the entries that a source concerns.
func (m *model) scopes(s Source, trusted bool) map[int]uint64 {
	if trusted {
		return map[int]uint64{ofTrusted: s.key}
	}
	return map[int]uint64{ofSource: s.key, ofNetwork: s.narrow}
}

func (m *model) take(now Time, s Source, trusted bool, what int, n, size int64) bool {
	for scope, key := range m.scopes(s, trusted) {
		for i := range 2 {
			if !m.fits(key, scope, what+i, now, n) || !m.fits(key, scope, octets+i, now, size) {
				return false
			}
		}
	}
	m.add(now, s, trusted, what, n)
	return true
}

func (m *model) add(now Time, s Source, trusted bool, what int, n int64) {
	for scope, key := range m.scopes(s, trusted) {
		for i := range 2 {
			m.spend(key, scope, what+i, now, n)
		}
	}
}

func (m *model) connect(now Time, s Source, trusted bool) bool {
	for scope, key := range m.scopes(s, trusted) {
		limit := int64(m.rules.Sessions) * m.times(scope)
		if limit > 0 && m.open[fmt.Sprint(key)] >= limit {
			return false
		}
	}
	if !m.take(now, s, trusted, connections, 1, 0) {
		return false
	}
	for _, key := range m.scopes(s, trusted) {
		m.open[fmt.Sprint(key)]++
	}
	return true
}

func (m *model) disconnect(s Source, trusted bool) {
	for _, key := range m.scopes(s, trusted) {
		m.open[fmt.Sprint(key)]--
	}
}

// against runs a play of steps on a Flow and on the model and compares every
// answer. Each step is four octets: what, who, how much, and how long after. It
// gives the Flow.
func against(t *testing.T, rules FlowRules, play []byte) *Flow {
	f := newTestFlow(t, rules, 4*groupSlots)
	m := &model{rules: rules, until: map[string]uint64{}, open: map[string]int64{}}
	now := noon
	var sessions []Session
	for ; len(play) >= 4; play = play[4:] {
		now += Time(play[3]) * Time(play[3]) / 64
		s, trusted := flowPlayer(play[1])
		n := int64(play[2]) * int64(play[2])
		got, want := true, true
		switch play[0] % 6 {
		case 0, 1:
			session, l := f.Connect(now, s, trusted, 0)
			got, want = l == Within, m.connect(now, s, trusted)
			if got {
				sessions = append(sessions, session)
			}
		case 2:
			if len(sessions) > 0 {
				i := int(play[2]) % len(sessions)
				f.Disconnect(&sessions[i])
				f.Disconnect(&sessions[i]) // once is enough
				m.disconnect(sessions[i].source, sessions[i].trusted)
				sessions = append(sessions[:i], sessions[i+1:]...)
			}
		case 3:
			got, want = f.Message(now, s, trusted, n) == Within, m.take(now, s, trusted, messages, 1, n)
		case 4:
			got, want = f.Recipient(now, s, trusted) == Within, m.take(now, s, trusted, recipients, 1, 0)
		case 5:
			f.Octets(now, s, trusted, n)
			m.add(now, s, trusted, octets, n)
		}
		if got != want {
			t.Fatalf("step %v at %d: got %v, want %v", play[:4], now-noon, got, want)
		}
	}
	if all, _ := f.Open(); all != int64(len(sessions)) {
		t.Fatalf("%d sessions are open, want %d", all, len(sessions))
	}
	return f
}

// flowPlayer is one of eight sources in an IPv4 network or in an IPv6 one.
func flowPlayer(who byte) (s Source, trusted bool) {
	s = from("192.0.2." + strconv.Itoa(int(who&7)+1))
	if who&0x20 != 0 {
		s = from("2001:db8:0:" + strconv.Itoa(int(who&7)+1) + "::1")
	}
	return s, who&0x40 != 0
}

// tightRules meet every limit soon, with counts that divide nothing.
func tightRules() FlowRules {
	return FlowRules{Sessions: 3, Prefix: 2, Trusted: 5, Stress: 0.7, Rates: [quantities]Rate{
		{7, 14, 60}, {29, 28, 3600}, {11, 11, 600}, {43, 24, 86400},
		{13, 13, 600}, {51, 20, 86400}, {100_003, 100_003, 600}, {400_007, 222_222, 86400},
	}}
}

func TestFlowKeepsToTheModel(t *testing.T) {
	var met [limits]int64
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		play := make([]byte, 4*3000)
		for i := range play {
			play[i] = byte(r.Uint32())
			if i%4 == 3 && r.IntN(500) > 0 {
				play[i] = byte(8 * (r.IntN(20) / 19)) // mostly in the same second
			}
		}
		rules := tightRules()
		switch seed % 3 { // else the tightest would hide the others
		case 1:
			rules.Sessions = 0
			fallthrough
		case 2:
			rules.Rates[octets], rules.Rates[octets+1] = Rate{}, Rate{}
		}
		if seed%2 == 1 {
			rules.Prefix = 50
		}
		f := against(t, rules, play)
		for l := range met {
			met[l] += f.Denied(Limit(l))
		}
	}
	for l, n := range met[sourceRate:Stressed] {
		if n == 0 {
			t.Errorf("%v was never met", Limit(l)+sourceRate)
		}
	}
	t.Log(met)
	against(t, FlowRules{}, make([]byte, 4000)) // no limits at all
}

func FuzzFlow(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 3, 1, 9, 1, 4, 0x41, 0, 0, 5, 0x21, 255, 255, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, play []byte) { against(t, tightRules(), play[:min(len(play), 4000)]) })
}

// TestRateHolds looks at the limits from outside: who always asks gets the
// burst and then the rate, in every span of time.
func TestRateHolds(t *testing.T) {
	for _, r := range []Rate{{30, 60, 60}, {7, 7, 600}, {2000, 2000, 86400}, {1, 1, 86400}, {5000, 50, 1}, {13, 1, 7}} {
		rules := FlowRules{Trusted: 1}
		rules.Rates[messages] = r
		f := newTestFlow(t, rules, 0)
		got := int64(0)
		for sec := range 3 * int64(r.Seconds) {
			for f.Message(noon+Time(sec), from("192.0.2.1"), sec%2 == 0, 0) == Within {
				got++
			}
			most := r.Burst + sec*r.Count/int64(r.Seconds)
			if r.Count > int64(r.Seconds)*r.Burst { // a second brings more than the burst
				most = (sec + 1) * r.Burst
			}
			if got > most || got < most*999/1000-1 {
				t.Fatalf("%+v: %d after %d s, want %d", r, got, sec, most)
			}
		}
	}
}

func TestEveryLimitHasWords(t *testing.T) {
	f := newTestFlow(t, DefaultFlowRules(), 0)
	seen := map[string]bool{}
	for _, l := range append(Limits(), Within) {
		name, words := l.String(), f.Words(l, from("192.0.2.7"), false)
		if seen[name] || seen[words] || name == "" {
			t.Errorf("limit %d: %q, %q: not its own", l, name, words)
		}
		seen[name], seen[words] = true, true
	}
	for l, want := range map[Limit]string{
		sourceRate:               "more than 30 connections a minute from 192.0.2.7/32",
		networkRate:              "more than 120 connections a minute from 192.0.2.0/24",
		sourceRate + 1:           "more than 600 connections an hour from 192.0.2.7/32",
		networkRate + messages:   "more than 400 messages in 10 minutes from 192.0.2.0/24",
		networkRate + octets + 1: "more than 10737418240 octets a day from 192.0.2.0/24",
		sourceOpen:               "more than 10 sessions at a time from 192.0.2.7/32",
		networkOpen:              "more than 40 sessions at a time from 192.0.2.0/24",
	} {
		if got := f.Words(l, from("192.0.2.7"), false); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := f.Words(sourceRate, from("2001:db8::1"), true); got != "more than 1500 connections a minute from 2001:db8::/64" {
		t.Error(got)
	}
	if s := f.Words(networkOpen, from("2001:db8:0:12ff::1"), false); !strings.HasSuffix(s, "2001:db8:0:1200::/56") {
		t.Error(s)
	}
}

func TestNewsOnceAnHour(t *testing.T) {
	f := newTestFlow(t, DefaultFlowRules(), 0)
	a, b, c := from("192.0.2.1"), from("192.0.2.2"), from("198.51.100.1")
	for i, step := range []struct {
		after Time
		who   Source
		limit Limit
		want  bool
	}{
		{0, a, sourceRate, true}, {0, a, sourceRate, false}, {0, b, sourceRate, true}, {0, a, sourceOpen, true},
		{0, a, networkRate, true}, {0, b, networkRate, false}, {0, c, networkRate, true},
		{0, a, Stressed, true}, {0, c, Stressed, false}, {0, a, Full, true}, {3600, a, sourceRate, true},
	} {
		if got := f.News(noon+step.after, step.who, step.limit); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

// TestProvenAreApart fills a network with strangers: proven sources in it do not
// notice, and strangers do not notice proven ones.
func TestProvenAreApart(t *testing.T) {
	f := newTestFlow(t, DefaultFlowRules(), 0)
	for i := range 400 {
		s := from("192.0.2." + strconv.Itoa(i%200))
		if _, l := f.Connect(noon, from("198.51.100.1"), true, 0); l != Within {
			t.Fatal(l)
		}
		session, l := f.Connect(noon, s, false, 0)
		f.Disconnect(&session)
		if want := i >= 240; (l == networkRate) != want {
			t.Fatalf("connection %d: %v", i, l)
		}
	}
	if _, l := f.Connect(noon, from("192.0.2.77"), true, 0); l != Within {
		t.Error(l)
	}
	if _, l := f.Connect(noon, from("198.51.100.77"), false, 0); l != Within {
		t.Error(l)
	}
	if got := f.Denied(networkRate); got != 160 {
		t.Errorf("%d were denied, want 160", got)
	}
	if _, l := f.Connect(noon+1, from("192.0.2.77"), false, 0); l != Within {
		t.Error("a second later still", l)
	}
}

func TestStressKeepsHalfTheRoom(t *testing.T) {
	f := newTestFlow(t, DefaultFlowRules(), 0)
	const room = 1000
	strangers, proven := 0, 0
	for i := range uint32(3 * room) {
		load := float64(strangers+proven) / room
		if load >= 1 {
			break
		}
		if _, l := f.Connect(noon, fromNumber(i<<12), false, load); l == Within {
			strangers++
		} else if l != Stressed {
			t.Fatal(l)
		}
		if i%3 == 0 {
			if _, l := f.Connect(noon, fromNumber(i<<12|1<<8), true, load); l != Within {
				t.Fatal(l)
			}
			proven++
		}
	}
	if strangers < room/2 || strangers > room/2+30 || strangers+proven != room {
		t.Errorf("%d strangers and %d proven in a room of %d", strangers, proven, room)
	}
	if _, l := newTestFlow(t, DefaultFlowRules(), 0).Connect(noon, from("192.0.2.1"), false, 0.99); l != Within {
		t.Errorf("the first is turned away: %v", l)
	}
}

// TestSessionsAreExact opens and closes from many goroutines in a table that is
// much too small, and counts by itself.
func TestSessionsAreExact(t *testing.T) {
	rules := DefaultFlowRules()
	rules.Rates = [quantities]Rate{}
	rules.Trusted = 3
	h := &hustle{t: t, f: newTestFlow(t, rules, groupSlots), most: int64(rules.Sessions) * rules.Trusted}
	var wg sync.WaitGroup
	for g := range uint64(16) {
		wg.Go(func() { h.run(rand.New(rand.NewPCG(g, 7))) })
	}
	wg.Wait()
	all, unproven := h.f.Open()
	if all != 0 || unproven != 0 || stillOpen(h.f) != 0 {
		t.Errorf("open are %d, unproven %d, in entries %d: want none", all, unproven, stillOpen(h.f))
	}
	if h.f.Denied(Full) == 0 {
		t.Error("the table was never full")
	}
}

// hustle is many goroutines that open and close sessions of the same sources.
type hustle struct {
	t    *testing.T
	f    *Flow
	most int64             // sessions of one source
	open [512]atomic.Int64 // by source
}

func (h *hustle) run(r *rand.Rand) {
	var mine []Session
	var who []uint32
	leave := func() {
		last := len(mine) - 1
		h.open[who[last]].Add(-1)
		h.f.Disconnect(&mine[last])
		mine, who = mine[:last], who[:last]
	}
	for i := range 20_000 {
		if len(mine) > 40 || len(mine) > 0 && r.IntN(5) < 2 {
			leave()
			continue
		}
		n := r.Uint32N(uint32(len(h.open)))
		s := fromNumber(10<<24 | n<<6) // four of them share a network
		if session, l := h.f.Connect(noon+Time(i/100), s, n%5 == 0, 0); l == Within {
			if got := h.open[n].Add(1); got > h.most {
				h.t.Errorf("%d sessions of one source", got)
			}
			mine, who = append(mine, session), append(who, n)
		}
		h.f.Recipient(noon, fromNumber(r.Uint32()), false) // others come by
	}
	for len(mine) > 0 {
		leave()
	}
}

// openMany opens a session each of so many sources, half of them proven.
func openMany(t *testing.T, f *Flow, n uint32) (open []Session) {
	t.Helper()
	for i := range n {
		session, l := f.Connect(noon, fromNumber(i*8191), i%2 == 0, 0)
		if l != Within {
			t.Fatal(l)
		}
		open = append(open, session)
	}
	return open
}

// stillOpen sums the sessions in the table.
func stillOpen(f *Flow) (n int) {
	for g := range f.table.groups {
		for _, b := range f.table.groups[g] {
			for i := range b.body {
				n += int(b.body[i].open)
			}
		}
	}
	return n
}

// TestFloodMovesNobody lets ten million sources come by while some have open
// sessions: these stay, and memory does not grow.
func TestFloodMovesNobody(t *testing.T) {
	f := newTestFlow(t, DefaultFlowRules(), 1<<16)
	open := openMany(t, f, 5000)
	busy := from("203.0.113.5") // over its limit, and away
	for range 300 {
		f.Message(noon, busy, false, 0)
	}
	before, heap := resident(t), heapInUse()
	flood := uint32(10_000_000)
	if underRace {
		flood /= 10
	}
	for i := range flood {
		session, _ := f.Connect(noon+Time(i/50_000), fromNumber(i*429+7), false, 0)
		f.Disconnect(&session)
	}
	if grown := resident(t) - before; grown > 8<<20 {
		t.Errorf("resident memory grew by %d octets", grown)
	}
	if grown := heapInUse() - heap; grown > 1<<20 {
		t.Errorf("the heap grew by %d octets", grown)
	}
	again := 0
	for again < 100 && f.Message(noon+Time(flood/50_000), busy, false, 0) == Within {
		again++
	}
	if again > int(flood)/50_000/6+1 { // 100 come back in 600 s
		t.Errorf("who was over its limit was forgotten: %d more messages", again)
	}
	if n := stillOpen(f); n != 7500 { // half of them are counted in their network too
		t.Errorf("%d sessions are in the table, want 7500", n)
	}
	for i := range open {
		f.Disconnect(&open[i])
	}
	if n := stillOpen(f); n != 0 {
		t.Errorf("%d sessions stayed open", n)
	}
	t.Logf("%d entries, %d with a debt made room; denied: full %d", f.table.live.Load(), f.table.lost.Load(), f.Denied(Full))
}

func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse)
}

// resident gives this process's resident memory in octets, 0 where /proc does
// not tell.
func resident(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestFlowAllocatesNothing(t *testing.T) {
	f := newTestFlow(t, DefaultFlowRules(), 0)
	i := uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		i++
		now, s := noon+Time(i), fromNumber(i*7919)
		session, _ := f.Connect(now, s, false, 0.8)
		f.Message(now, s, false, 1000)
		f.Recipient(now, s, false)
		f.Octets(now, s, false, 1000)
		f.Disconnect(&session)
	}); n != 0 {
		t.Errorf("%v allocations a session", n)
	}
}

// BenchmarkFlow is a whole session of one message, of ever new sources or of
// few that come back.
func BenchmarkFlow(b *testing.B) {
	for _, c := range []struct {
		name string
		mask uint32
	}{{"cold", 1<<32 - 1}, {"hot", 1<<14 - 1}} {
		b.Run(c.name, func(b *testing.B) {
			f := newTestFlow(b, DefaultFlowRules(), 1<<20)
			var next atomic.Uint32
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				i := next.Add(1 << 24)
				for ; pb.Next(); i++ {
					now, s := noon+Time(i&0xffffff)/5000, fromNumber(i&c.mask*2654435761)
					session, _ := f.Connect(now, s, false, 0.5)
					f.Message(now, s, false, 4096)
					f.Recipient(now, s, false)
					f.Octets(now, s, false, 4096)
					f.Disconnect(&session)
				}
			})
		})
	}
}
