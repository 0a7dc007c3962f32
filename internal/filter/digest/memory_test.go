package digest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/internal/filter"
)

// texts makes texts that have little in common, each the same for its number.
func text(n int) string {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	var b strings.Builder
	for range 80 {
		fmt.Fprintf(&b, "%s ", word(r.IntN(3000)))
	}
	return b.String()
}

func word(n int) string {
	const vowels, others = "aeiou", "bdfgklmnprst"
	var b strings.Builder
	for n += 50; n > 0; n /= 60 {
		b.WriteByte(others[n%12])
		b.WriteByte(vowels[n/12%5])
	}
	return b.String()
}

func prints(t testing.TB, text string) []Print {
	t.Helper()
	return Fingerprints(read(t, plain(text)))
}

func tell(t testing.TB, m *Memory, account string, p []Print, spam bool) {
	t.Helper()
	if err := m.Report(t.Context(), account, p, spam); err != nil {
		t.Fatal(err)
	}
}

func lookup(t testing.TB, m *Memory, p []Print) Opinion {
	t.Helper()
	o, err := m.Lookup(t.Context(), "", p)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// prove gives accounts the record of n right reports, each agreed to by others
// of a large public.
func prove(t testing.TB, m *Memory, n int, accounts ...string) {
	t.Helper()
	for _, a := range accounts {
		for i := range n {
			p := prints(t, text(1_000_000+len(m.reports)*100+i))
			tell(t, m, a, p, true)
			time.Sleep(time.Minute)
			for range newAgreeing + 2 {
				tell(t, m, fmt.Sprintf("public%d@p%d.example", len(m.reporters), i), p, true)
			}
		}
	}
	time.Sleep(8 * 24 * time.Hour)
}

func users(n int, domain string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("user%d@%s", i, domain)
	}
	return out
}

func TestWhoReachesTheBar(t *testing.T) {
	for _, c := range []struct {
		name   string
		min    int
		right  int // reports that proved right, of each reporter
		who    []string
		want   bool
		repeat int
	}{
		{"one of record, again and again", 0, 20, users(1, "a.example"), false, 30},
		{"a domain of record", 0, 20, users(30, "a.example"), false, 1},
		{"two of record in two domains", 0, 20, append(users(1, "a.example"), users(1, "b.example")...), true, 1},
		{"a domain of record and a newcomer", 0, 20, append(users(30, "a.example"), "new@b.example"), false, 1},
		{"newcomers in four domains", 0, 0, append(append(users(20, "a.example"), users(20, "b.example")...), append(users(20, "c.example"), users(20, "d.example")...)...), false, 1},
		{"newcomers of the only domain", 1, 0, users(8, "a.example"), true, 1},
		{"few newcomers of the only domain", 1, 0, users(7, "a.example"), false, 1},
		{"two of three domains", 3, 20, append(users(9, "a.example"), users(9, "b.example")...), false, 1},
		{"three of three domains", 3, 20, append(append(users(9, "a.example"), users(9, "b.example")...), users(1, "c.example")...), true, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &Memory{MinDomains: c.min}
			var known []string
			for _, a := range c.who {
				if c.right > 0 && !strings.HasPrefix(a, "new@") {
					known = append(known, a)
				}
			}
			prove(t, m, c.right, known...)
			p := prints(t, text(1))
			for range c.repeat {
				for _, a := range c.who {
					tell(t, m, a, p, true)
				}
			}
			o := lookup(t, m, p)
			if o.Confidence > 0 != c.want || o.Spam != len(c.who) || o.Right != len(known) {
				t.Errorf("%s: %+v", c.name, o)
			}
			if c.want && !strings.HasPrefix(o.Words(), fmt.Sprintf("reported by %d users, %d of them proved right before, in the last minutes", len(c.who), o.Right)) {
				t.Errorf("%s: %s", c.name, o.Words())
			}
		})
	}
}

// TestOneReporterWithManyMessages: reports on messages that are all near each
// other are still one voice.
func TestOneReporterWithManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{MinDomains: 1}
		prove(t, m, 20, "a@a.example")
		for i := range 40 {
			tell(t, m, "a@a.example", prints(t, pitch+word(i)), true)
		}
		if o := lookup(t, m, prints(t, pitch)); o.Confidence > 0 || o.Spam != 1 {
			t.Errorf("%+v", o)
		}
	})
}

// TestClosedCircle: a dozen who agree with each other for a month prove nothing.
func TestClosedCircle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{}
		circle := append(users(6, "evil.example"), users(6, "ill.example")...)
		for i := range 60 {
			p := prints(t, text(i))
			for j := range circle { // each is first in turn
				tell(t, m, circle[(i+j)%len(circle)], p, true)
				time.Sleep(time.Minute)
			}
			time.Sleep(12 * time.Hour)
		}
		p := prints(t, text(-1))
		for _, a := range circle {
			tell(t, m, a, p, true)
		}
		if o := lookup(t, m, p); o.Confidence > 0 || o.Right > 0 {
			t.Errorf("%+v", o)
		}
	})
}

// six are the users of record that many tests have.
func six() []string { return append(users(3, "a.example"), users(3, "b.example")...) }

func TestNoSpamCountsAgainst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{}
		who := six()
		prove(t, m, 10, who...)
		prove(t, m, 10, "good@c.example", "fine@d.example")
		p := prints(t, text(1))
		for _, a := range who {
			tell(t, m, a, p, true)
		}
		before := lookup(t, m, p)
		weight := m.reporters[m.hash("account", who[0])].weight(time.Now())
		tell(t, m, "good@c.example", p, false)
		tell(t, m, "fine@d.example", p, false)
		after := lookup(t, m, p)
		if before.Confidence == 0 || after.Confidence > 0 || after.Good != 2 || !strings.Contains(after.Words(), "2 users said it is no spam") {
			t.Errorf("before %+v, after %+v", before, after)
		}
		// More come, and those who reported are wrong.
		for i := range 12 {
			a := fmt.Sprintf("more%d@e%d.example", i, i)
			prove(t, m, 3, a)
			tell(t, m, a, p, false)
		}
		if now := m.reporters[m.hash("account", who[0])].weight(time.Now()); now > weight-0.15 {
			t.Errorf("weight %.2f, after being wrong %.2f", weight, now)
		}
	})
}

// TestKeptCountsAgainst: what 200 got and kept for a day is not reported away by
// six, and spam of the last hours is found however many got it.
func TestKeptCountsAgainst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{}
		who := six()
		prove(t, m, 10, who...)
		newsletter, spam := prints(t, text(1)), prints(t, text(2))
		for _, a := range users(200, "readers.example") {
			m.Deliver(t.Context(), a, newsletter)
		}
		time.Sleep(24 * time.Hour)
		for _, a := range users(200, "readers.example") {
			m.Deliver(t.Context(), a, spam)
		}
		for _, a := range who {
			tell(t, m, a, newsletter, true)
			tell(t, m, a, spam, true)
		}
		n, s := lookup(t, m, newsletter), lookup(t, m, spam)
		if n.Confidence > 0 || n.Kept < 150 || n.Kept > 260 {
			t.Errorf("newsletter: %+v", n)
		}
		if s.Confidence == 0 || s.Kept > 0 {
			t.Errorf("spam: %+v", s)
		}
		time.Sleep(40 * 24 * time.Hour)
		if n := lookup(t, m, newsletter); n.Kept > 0 {
			t.Errorf("after 40 days %d keep it", n.Kept)
		}
	})
}

func TestReportsFade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{}
		who := six()
		prove(t, m, 10, who...)
		p := prints(t, text(1))
		for _, a := range who {
			tell(t, m, a, p, true)
		}
		last := 1.0
		for day := range 7 {
			o := lookup(t, m, p)
			if o.Confidence > last || day == 0 && o.Confidence == 0 || day == 6 && o.Confidence > 0 {
				t.Errorf("after %d days %.2f", day, o.Confidence)
			}
			last = o.Confidence
			time.Sleep(24 * time.Hour)
		}
		time.Sleep(spamAge)
		tell(t, m, "new@new.example", prints(t, text(2)), true)
		if len(m.reports) != 1 || len(m.byPrint) != 1+bands {
			t.Errorf("%d reports, %d fingerprints are left", len(m.reports), len(m.byPrint))
		}
	})
}

func TestOwnReportAndChangeOfMind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{}
		p, like := prints(t, pitch), prints(t, "Good morning! "+pitch)
		own := func(p []Print) int {
			o, _ := m.Lookup(t.Context(), "Mio@a.example", p)
			return o.Own
		}
		tell(t, m, "mio@a.example", p, true)
		if own(p) != 1 || own(like) != 1 || own(prints(t, text(3))) != 0 {
			t.Errorf("own reports %d, %d", own(p), own(like))
		}
		time.Sleep(time.Second)
		tell(t, m, "mio@a.example", p, false)
		if own(p) != -1 || len(m.reports) != 1 {
			t.Errorf("after another thought: %d of %d reports", own(p), len(m.reports))
		}
		if err := m.Report(t.Context(), "", p, true); err == nil {
			t.Error("nobody reported")
		}
	})
}

func TestFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{MinDomains: 1}
		msg := read(t, plain(pitch))
		for _, a := range users(12, "a.example") {
			tell(t, m, a, Fingerprints(msg), true)
		}
		tell(t, m, "wants@a.example", Fingerprints(msg), false)
		p := &filter.Pipeline{Filters: []filter.Filter{&Filter{Store: m}}}
		to := []filter.Recipient{{Account: "user1@a.example"}, {Account: "wants@a.example"}, {Account: "new@a.example"}, {}}
		res := p.Run(t.Context(), msg, to, func(int, string) bool { return true })
		var got []string
		for _, findings := range res.Findings {
			for _, f := range findings {
				got = append(got, fmt.Sprintf("%s %.1f", f.Symbol, f.Score))
			}
			got = append(got, "/")
		}
		if s := strings.Join(got, " "); s != "DIGEST_OWN_REPORT 5.0 DIGEST_REPORTED 6.0 / / DIGEST_REPORTED 6.0 / DIGEST_REPORTED 6.0 /" || len(res.Failures) > 0 {
			t.Errorf("%s %v", s, res.Failures)
		}
	})
}

// TestBounds: however much is reported, memory is bounded, and one account does
// not push out the reports of others.
func TestBounds(t *testing.T) {
	m := &Memory{MaxReports: 500, MaxDeliveries: 1000}
	tell(t, m, "good@a.example", prints(t, text(0)), true)
	for i := range 1500 {
		tell(t, m, "loud@a.example", prints(t, text(i+1)), true)
		m.Deliver(t.Context(), fmt.Sprint("a", i), prints(t, text(i)))
	}
	if len(m.reports) > 500 || len(m.inboxes) > 1000 || m.recent.Len() != len(m.inboxes) || m.order.Len() != len(m.reports) {
		t.Errorf("%d reports, %d deliveries", len(m.reports), len(m.inboxes))
	}
	if o := lookup(t, m, prints(t, text(0))); o.Spam != 1 {
		t.Error("the report of another was pushed out")
	}
	p := prints(t, pitch)
	for i := range 1000 {
		tell(t, m, fmt.Sprintf("x%d@b.example", i), p, true)
	}
	if n := len(m.byPrint[p[0]]); n > maxVotes || len(m.reports) > 500 {
		t.Errorf("%d reports of one fingerprint, %d in all", n, len(m.reports))
	}
	if changes, _, ok := m.Changes(1); ok || len(changes) > 2*maxLog {
		t.Errorf("%d changes wait", len(changes))
	}
}

// gossip tells all nodes what each has to tell, twice and out of order.
func gossip(t *testing.T, nodes []*Memory, cursors map[[2]int]uint64, r *rand.Rand) {
	t.Helper()
	for i, from := range nodes {
		for j, to := range nodes {
			if i == j {
				continue
			}
			k := [2]int{i, j}
			changes, next, ok := from.Changes(cursors[k])
			if _, told := cursors[k]; told && !ok {
				t.Fatal("the log has a gap")
			}
			cursors[k] = next
			r.Shuffle(len(changes), func(a, b int) { changes[a], changes[b] = changes[b], changes[a] })
			for range 2 {
				if err := to.Merge(changes); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestNodesAgree: three nodes that tell each other, twice and out of order,
// know the same.
func TestNodesAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := []*Memory{{Key: []byte("k")}, {Key: []byte("k")}, {Key: []byte("k")}}
		cursors := map[[2]int]uint64{}
		r := rand.New(rand.NewPCG(1, 2))
		gossip(t, nodes, cursors, r)
		for round := range 40 {
			time.Sleep(time.Hour)
			for i := range 30 {
				n := nodes[r.IntN(3)]
				a := fmt.Sprintf("u%d@d%d.example", r.IntN(60), r.IntN(5))
				p := prints(t, text(round/4+i%3))
				if r.IntN(3) > 0 {
					n.Deliver(t.Context(), a, p)
				} else {
					tell(t, n, a, p, r.IntN(10) > 0)
				}
				time.Sleep(time.Second)
			}
			gossip(t, nodes, cursors, r)
		}
		for i := range 13 {
			p := prints(t, text(i))
			a, b, c := lookup(t, nodes[0], p), lookup(t, nodes[1], p), lookup(t, nodes[2], p)
			for _, o := range []Opinion{b, c} {
				if o.Spam != a.Spam || o.Good != a.Good || o.Kept != a.Kept || o.Since != a.Since {
					t.Errorf("text %d: %+v, %+v", i, a, o)
				}
			}
		}
	})
}

func TestMergeRefuses(t *testing.T) {
	m := &Memory{}
	p := prints(t, pitch)
	for _, c := range []Change{
		{At: time.Now().Add(time.Hour), Prints: p},
		{At: time.Now(), Prints: make([]Print, maxPrints+1)},
		{At: time.Now(), Prints: []Print{{Kind: 9}}},
		{At: time.Now(), Inboxes: []Inbox{{Print: p[0], Epoch: epochOf(time.Now()) + 9}}},
		{At: time.Now(), Inboxes: []Inbox{{Print: p[0], Epoch: -1}}},
	} {
		if err := m.Merge([]Change{c, {At: time.Now(), Reporter: 1, Prints: p}}); err == nil || !strings.Contains(err.Error(), "change 1 of 2") {
			t.Errorf("%v", err)
		}
	}
	if len(m.reports) != 1 {
		t.Errorf("%d reports", len(m.reports))
	}
	old := Change{At: time.Now().Add(-2 * spamAge), Reporter: 2, Spam: true, Prints: p}
	if err := m.Merge([]Change{old}); err != nil || len(m.reports) != 1 {
		t.Errorf("an old report: %v, %d", err, len(m.reports))
	}
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{Key: []byte("k")}
		var empty bytes.Buffer
		if err := m.Snapshot(&empty); err != nil {
			t.Fatal(err)
		}
		who := six()
		prove(t, m, 5, who...)
		p := prints(t, text(1))
		for _, a := range who {
			tell(t, m, a, p, true)
			m.Deliver(t.Context(), a, p)
		}
		time.Sleep(30 * time.Hour)
		var b bytes.Buffer
		if err := m.Snapshot(&b); err != nil {
			t.Fatal(err)
		}
		again := &Memory{Key: []byte("k")}
		if err := again.Restore(bytes.NewReader(b.Bytes())); err != nil {
			t.Fatal(err)
		}
		if x, y := lookup(t, m, p), lookup(t, again, p); x != y || x.Confidence == 0 || x.Kept == 0 || x.Right != len(who) {
			t.Errorf("%+v, then %+v", x, y)
		}
		tell(t, again, "a@new.example", p, true)
		for _, broken := range [][]byte{nil, b.Bytes()[:b.Len()-1], append([]byte("x"), b.Bytes()...), bytes.Replace(b.Bytes(), []byte{0, 1}, []byte{0, 2}, 1)} {
			if err := again.Restore(bytes.NewReader(broken)); !errors.Is(err, ErrSnapshot) {
				t.Errorf("%d octets: %v", len(broken), err)
			}
		}
		if o := lookup(t, again, p); o.Spam != len(who)+1 {
			t.Errorf("after broken snapshots: %+v", o)
		}
		if err := again.Restore(&empty); err != nil || len(again.reports) != 0 {
			t.Errorf("an empty snapshot: %v", err)
		}
	})
}

// FuzzRestore: what is no snapshot is refused, and nothing breaks.
func FuzzRestore(f *testing.F) {
	m := &Memory{}
	tell(f, m, "a@a.example", prints(f, pitch), true)
	m.Deliver(context.Background(), "a@a.example", prints(f, pitch))
	var b bytes.Buffer
	m.Snapshot(&b)
	f.Add(b.Bytes())
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := &Memory{MaxReports: 10, MaxDeliveries: 10}
		err := m.Restore(bytes.NewReader(raw))
		if err == nil && !bytes.HasPrefix(raw, []byte(snapshotMagic)) {
			t.Fatal("taken")
		}
		if len(m.reports) > 10 || len(m.inboxes) > 10 {
			t.Fatalf("%d reports, %d deliveries", len(m.reports), len(m.inboxes))
		}
	})
}

func busy(b *testing.B) (*Memory, [][]Print) {
	m := &Memory{}
	var all [][]Print
	for i := range 2000 {
		all = append(all, prints(b, text(i/10)+word(i)))
	}
	for i := range 10_000 {
		tell(b, m, fmt.Sprintf("u%d@d%d.example", i%3000, i%40), all[i%len(all)], i%20 > 0)
		m.Deliver(b.Context(), fmt.Sprint(i), all[i*7%len(all)])
	}
	return m, all
}

func BenchmarkLookup(b *testing.B) {
	m, all := busy(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		lookup(b, m, all[i%len(all)])
	}
}

func BenchmarkReport(b *testing.B) {
	m, all := busy(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		tell(b, m, fmt.Sprintf("v%d@d%d.example", i%3000, i%40), all[i%len(all)], true)
	}
}

func BenchmarkDeliver(b *testing.B) {
	m, all := busy(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		m.Deliver(b.Context(), "someone@a.example", all[i%len(all)])
	}
}

// TestAtTheSameTime does everything at once, for the race detector.
func TestAtTheSameTime(t *testing.T) {
	m, other := &Memory{MaxReports: 200}, &Memory{}
	var all [][]Print
	for i := range 10 {
		all = append(all, prints(t, text(i)))
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			cursor := uint64(0)
			for i := range 60 {
				p := all[(i+w)%len(all)]
				tell(t, m, fmt.Sprintf("u%d@d%d.example", i, w), p, i%5 > 0)
				lookup(t, m, p)
				m.Deliver(t.Context(), fmt.Sprint("a", i), p)
				changes, next, _ := m.Changes(cursor)
				cursor = next
				if err := other.Merge(changes); err != nil {
					t.Error(err)
				}
				if i%20 == 0 {
					var b bytes.Buffer
					if m.Snapshot(&b) != nil || (&Memory{}).Restore(&b) != nil {
						t.Error("no snapshot")
					}
				}
			}
		})
	}
	wg.Wait()
	if len(m.reports) > 200 || len(m.reports) < 100 {
		t.Errorf("%d reports", len(m.reports))
	}
}
