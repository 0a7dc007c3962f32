package edge

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mail"
)

// logMaker writes the journal of a node of which everything is known.
type logMaker struct {
	events []event.Event
	traces int
}

var dayOne = time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)

// visit is one recorded session of one recipient.
type visitRecord struct {
	at                       time.Time
	ip, name, spf, id        string
	from, to, verdict, truth string
	accepted                 bool
}

func (m *logMaker) add(v visitRecord) {
	m.traces++
	trace := mail.TraceID(fmt.Sprint("t", m.traces))
	ip := netip.MustParseAddr(v.ip)
	m.events = append(m.events, event.Event{Time: v.at, Kind: event.Rcpt, Trace: trace, Role: "mx", IP: ip, Port: 4567, From: "<" + v.from + ">",
		To: v.to, Verdict: v.verdict, Truth: v.truth, Name: v.name, SPF: v.spf, Identity: v.id})
	if v.accepted {
		m.events = append(m.events, event.Event{Time: v.at.Add(time.Second), Kind: event.Accept, Trace: trace, Role: "mx"})
	}
	m.events = append(m.events, event.Event{Time: v.at.Add(2 * time.Second), Kind: event.Close, Trace: trace, Role: "mx", IP: ip, Port: 4567})
}

// write gives two files: the first day and the second.
func (m *logMaker) write(t testing.TB) []string {
	t.Helper()
	slices.SortStableFunc(m.events, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
	dir := t.TempDir()
	var files []string
	for day := range 2 {
		path := filepath.Join(dir, fmt.Sprint("events-", day, ".jsonl"))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		enc := json.NewEncoder(f)
		for _, e := range m.events {
			if e.Time.Before(dayOne.Add(24*time.Hour)) == (day == 0) {
				if err := enc.Encode(e); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.Close()
		files = append(files, path)
	}
	return files
}

const (
	knownSenders = 30
	bots         = 3000
	guesses      = 4 // of each bot
)

// twoDays is a log of two days with an attack on the second, by 3,000 sources
// that try four guesses each, one in fifty of them right. Then, everybody was
// answered, but for one newcomer, who waited from 15:00 to 16:10.
func twoDays() *logMaker {
	m := &logMaker{}
	r := rand.New(rand.NewPCG(3, 4))
	for s := range knownSenders {
		dom := fmt.Sprintf("good%d.test", s)
		for i := range 40 { // over both days, each 50th recipient mistyped
			v := visitRecord{at: dayOne.Add(time.Duration(i)*72*time.Minute + time.Duration(s)*time.Second), ip: fmt.Sprintf("198.51.%d.7", s),
				name: "mx." + dom, spf: "pass", id: dom, from: "news@" + dom, to: fmt.Sprintf("user%d@here.test", r.IntN(100)),
				verdict: "answer", truth: "exists", accepted: true}
			if i == 30 {
				v.to, v.truth, v.accepted = "tpyo@here.test", "unknown", false
			}
			m.add(v)
		}
	}
	attack := dayOne.Add(36 * time.Hour)
	for i := range bots * guesses {
		bot := i % bots
		v := visitRecord{at: attack.Add(time.Duration(i) * 6 * time.Hour / (bots * guesses)), ip: fmt.Sprintf("10.%d.%d.%d", bot%10, bot/10%20, bot/200+1),
			name: "-", spf: "none", id: fmt.Sprint("x", bot, ".test at 10.0.0.1"), from: fmt.Sprint("a@x", bot, ".test"),
			to: fmt.Sprintf("guess%d@here.test", i), verdict: "answer", truth: "unknown"}
		if (i+7*(i/bots))%50 == 0 {
			v.to, v.truth = fmt.Sprintf("user%d@here.test", i/50%100), "exists"
		}
		m.add(v)
	}
	// The newcomer: three attempts, of which the last was answered.
	for i, at := range []time.Duration{0, 5 * time.Minute, 70 * time.Minute} {
		v := visitRecord{at: dayOne.Add(39*time.Hour + at), ip: "203.0.113.5", name: "mail.new.test", spf: "none",
			id: "new.test at 203.0.113.5", from: "ceo@new.test", to: "user1@here.test", verdict: "defer", truth: "exists"}
		if i == 2 {
			v.verdict, v.accepted = "answer", true
		}
		m.add(v)
	}
	return m
}

func replay(t testing.TB, files []string, set ...string) *Report {
	t.Helper()
	r := &Replay{Rules: DefaultRules(), Files: files}
	for _, s := range set {
		key, value, _ := strings.Cut(s, "=")
		if err := r.Rules.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	report, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestReplayOfTwoDays: what is known of the log is found in it, and rules of
// which the effect is known have it.
func TestReplayOfTwoDays(t *testing.T) {
	files := twoDays().write(t)
	slices.Reverse(files) // their order does not matter
	const mails = knownSenders*40 + 1
	for _, c := range []struct {
		name            string
		set             []string
		answered, found [2]int // guesses now, at least and at most
		delayed         int
		longest         Seconds
		assumed         int
	}{
		// Nothing is evidence and the gate stands open: all are answered.
		{"lax", []string{"unknown=0", "gate=1000", "disclosure=1000000000"}, [2]int{12000, 12000}, [2]int{100, 100}, 0, 0, 0},
		// Little is told to attackers, so that there is room for a newcomer with a name.
		{"default", nil, [2]int{20, 1200}, [2]int{0, 25}, 0, 0, 0},
		// No room: it must prove itself. Its own second retry is late enough, as then.
		{"shut", []string{"gate=0"}, [2]int{1, 400}, [2]int{0, 10}, 1, 4200, 0},
		// A newcomer with a name must wait for two hours: its retries in the log
		// are too early, and the first that helps is assumed.
		{"slow", []string{"gate=0", "retry=100000", "retry_vouched=7200"}, [2]int{1, 400}, [2]int{0, 10}, 1, 7200, 1},
	} {
		r := replay(t, files, c.set...)
		if r.Events != len(twoDays().events) || r.Torn != 0 || r.Misdated != 0 || !r.From.Equal(dayOne) {
			t.Errorf("%s: %d events from %v, %d torn, %d misdated", c.name, r.Events, r.From, r.Torn, r.Misdated)
		}
		a := r.Attackers
		if a.Sources != bots || a.Attempts != bots*guesses || a.Answered.Then != bots*guesses || r.Found.Then != 100 {
			t.Errorf("%s: attackers %+v, found %+v", c.name, a, r.Found)
		}
		if n := a.Answered.Now; n < c.answered[0] || n > c.answered[1] || r.Found.Now < c.found[0] || r.Found.Now > c.found[1] {
			t.Errorf("%s: %d guesses answered, %d addresses found", c.name, n, r.Found.Now)
		}
		s := r.Senders
		if s.Sources != knownSenders+1 || s.Recipients != mails || s.Unknown != knownSenders || s.Told != (Count{knownSenders, knownSenders}) {
			t.Errorf("%s: senders %+v", c.name, s)
		}
		if s.Delayed != (Count{1, c.delayed}) || s.SpansThen.Longest != 4200 || s.SpansNow.Longest != c.longest ||
			s.Assumed != c.assumed || s.Open != 0 || s.GivenUp != 0 {
			t.Errorf("%s: delays %+v", c.name, s)
		}
		if len(r.Delayed) != 1 || r.Delayed[0].Source != "203.0.113.5/32" || r.Delayed[0].Name != "mail.new.test" || r.Delayed[0].Longest.Now != c.longest {
			t.Errorf("%s: %+v", c.name, r.Delayed)
		}
	}
}

// TestReplayIsRepeatable: the same log gives the same report.
func TestReplayIsRepeatable(t *testing.T) {
	files := twoDays().write(t)
	a, _ := json.Marshal(replay(t, files))
	b, _ := json.Marshal(replay(t, files))
	if string(a) != string(b) {
		t.Errorf("%s\n%s", a, b)
	}
}

// TestReplayOfABrokenLog: torn lines, wrong times and missing ends change
// nothing of what the rest shows.
func TestReplayOfABrokenLog(t *testing.T) {
	m := twoDays()
	files := m.write(t)
	want := replay(t, files)
	text, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	wrong := func(at time.Time) string {
		b, _ := json.Marshal(event.Event{Time: at, Kind: event.Rcpt, Trace: "w", IP: netip.MustParseAddr("192.0.2.1"), Port: 1, From: "<a@b.test>", To: "user1@here.test",
			Verdict: "answer", Truth: "unknown"})
		return string(b) + "\n"
	}
	lines = slices.Insert(lines, 500, wrong(time.Now().Add(48*time.Hour)), wrong(dayOne.Add(400*24*time.Hour)), wrong(dayOne.Add(-time.Hour)),
		lines[7][:40]+"\n", "\x00\xff\n", strings.Repeat("[", 100_000)+"\n", `{"kind":"rcpt","time":5}`+"\n",
		`{"time":"2024-03-02T00:00:00Z","kind":"rcpt","ip":"","from":"<","to":"@","verdict":"answer"}`+"\n")
	if err := os.WriteFile(files[1], []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	got := replay(t, files)
	if got.Misdated != 4 || got.Torn != 1 {
		t.Errorf("%d misdated, %d torn", got.Misdated, got.Torn)
	}
	if got.Attackers != want.Attackers || got.Found != want.Found || got.Senders.Delayed != want.Senders.Delayed || got.Senders.Recipients != want.Senders.Recipients {
		t.Errorf("it changed the report: %+v, want %+v", got, want)
	}
}

// TestReplayOfLateEvents: an event is written when its look-up has ended; files
// of two nodes run side by side.
func TestReplayOfLateEvents(t *testing.T) {
	m := twoDays()
	files := m.write(t)
	want, _ := json.Marshal(replay(t, files))
	var dealt [2][]event.Event
	for i, e := range m.events {
		dealt[i/7%2] = append(dealt[i/7%2], e)
	}
	for n, events := range dealt {
		r := rand.New(rand.NewPCG(8, 9))
		for i := range events { // a few places later, as if written late
			if j := i + r.IntN(4); j < len(events) && events[j].Time.Sub(events[i].Time) < 30*time.Second {
				events[i], events[j] = events[j], events[i]
			}
		}
		f, err := os.Create(files[n])
		if err != nil {
			t.Fatal(err)
		}
		enc := json.NewEncoder(f)
		for _, e := range events {
			enc.Encode(e)
		}
		f.Close()
	}
	if got, _ := json.Marshal(replay(t, files)); string(got) != string(want) {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// FuzzReplay: whatever stands in a file, a replay ends.
func FuzzReplay(f *testing.F) {
	m := twoDays()
	var text strings.Builder
	enc := json.NewEncoder(&text)
	for _, e := range m.events[len(m.events)-40:] {
		enc.Encode(e)
	}
	f.Add([]byte(text.String()))
	f.Fuzz(func(t *testing.T, in []byte) {
		path := filepath.Join(t.TempDir(), "events.jsonl")
		if err := os.WriteFile(path, in, 0o600); err != nil {
			t.Fatal(err)
		}
		r := replay(t, []string{path})
		if r.Senders.Delayed.Now > r.Senders.Recipients || r.Attackers.Answered.Now > r.Attackers.Attempts {
			t.Errorf("%+v", r)
		}
	})
}

// TestReplayOfTheSameRulesAgrees: what an engine decided, with the senders
// trying again as mail servers do, is decided again, but for what the secret of
// its hashes makes different.
func TestReplayOfTheSameRulesAgrees(t *testing.T) {
	rules := DefaultRules()
	rules.Gate = 0 // so that the newcomer must prove itself
	e, err := New(rules, Sizes{Sources: 1 << 14})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r := replay(t, logOf(t, e, twoDays().events).write(t), "gate=0")
	if a := r.Attackers.Answered; a.Then == 0 || a.Now < a.Then/2-2 || a.Now > a.Then*2+2 {
		t.Errorf("guesses answered: %+v", a)
	}
	if d := r.Senders.Delayed; d.Then == 0 || d.Then != d.Now || r.Senders.SpansThen != r.Senders.SpansNow || r.Senders.Open != 0 {
		t.Errorf("delayed %+v, then %+v, now %+v", d, r.Senders.SpansThen, r.Senders.SpansNow)
	}
}

// logOf gives the log of a node whose engine decided the attempts of events.
// Senders that are deferred try again half an hour later.
func logOf(t *testing.T, e *Engine, events []event.Event) *logMaker {
	due := slices.DeleteFunc(events, func(ev event.Event) bool { return ev.Kind != event.Rcpt })
	byTime := func(a, b event.Event) int { return a.Time.Compare(b.Time) }
	slices.SortStableFunc(due, byTime)
	m := &logMaker{}
	for i := 0; i < len(due); i++ {
		ev := due[i]
		a, ok := e.Recorded(&ev)
		if !ok {
			t.Fatalf("no attempt: %+v", ev)
		}
		d := e.Decide(&a)
		truth, _ := truthOf(ev.Truth)
		e.Learn(&a, &d, truth)
		sender := !strings.HasPrefix(ev.IP.String(), "10.")
		v := visitRecord{at: ev.Time, ip: a.Source.Prefix().Addr().String(), name: ev.Name, spf: ev.SPF, id: ev.Identity,
			from: strings.Trim(ev.From, "<>"), to: ev.To, verdict: "answer", truth: ev.Truth, accepted: sender && !d.Defer && truth == Exists}
		if v.accepted {
			e.Credit(&a, &d)
		}
		if d.Defer {
			v.verdict = "defer"
		}
		if d.Defer && sender {
			ev.Time = ev.Time.Add(30 * time.Minute)
			at, _ := slices.BinarySearchFunc(due, ev, byTime)
			due = slices.Insert(due, at, ev)
		}
		m.add(v)
	}
	return m
}
