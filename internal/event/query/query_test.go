package query

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/VictoriaLogs/lib/logstorage"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/logstore/logstoretest"
	"github.com/migiwa/migiwa/internal/mail"
)

func TestMain(m *testing.M) { logstoretest.Main(m) }

var now = time.Date(2026, 11, 26, 15, 30, 0, 0, time.FixedZone("", 9*3600))

func TestMeaning(t *testing.T) {
	e := &event.Event{Time: now.Add(-time.Hour), Node: "mx1", Kind: event.Rcpt, Trace: "ywd6h4yczhzk99wy", Role: "mx", IP: netip.MustParseAddr("192.0.2.7"),
		Port: 4711, From: "<hanako@sub.example.net>", To: "taro+list@example.jp", MessageID: "1.a@example.net", Subject: "会議の Invoice", Code: 550, Enhanced: "5.1.1",
		Text: "User unknown", Verdict: "answer", Why: "calm", Truth: "unknown", Queue: 42, Ref: "abc234"}
	for text, want := range map[string]bool{
		"": true, "from:hanako@sub.example.net": true, "from:HANAKO@Sub.Example.net": true, "from:<hanako@sub.example.net>": true,
		"from:hanako": true, "from:hana": false, "from:hana*": true, "from:@sub.example.net": true, "from:sub.example.net": true,
		"from:example.net": false, "from:*example.net": true, "from:anako@sub.example.net": false, "from:<>": false,
		"to:taro+list@example.jp": true, "to:taro": false, "to:taro+list": true,
		"ip:192.0.2.7": true, "ip:192.0.2.0/24": true, "ip:192.0.3.0/24": false, "ip:2001:db8::/32": false, "ip:::ffff:192.0.2.7": true,
		"subject:invoice": true, "subject:会議": true, `subject:"の Invoice"`: true, "subject:voices": false, "subject:voice": false, "subject:*voice*": true, "subject:INVOICE": true,
		"id:ywd6h4yczhzk99wy": true, "id:<1.a@example.net>": true, "id:1.a@example.net": true, "id:42": true, "id:abc234": true, "id:4": false,
		"code:550": true, "code:5xx": true, "code:4xx": false, "code:5.1.1": true, "code:5.1.2": false,
		"verdict:answer": true, "verdict:calm": true, "verdict:unknown": true, "verdict:defer": false,
		"kind:rcpt": true, "kind:r*": true, "node:mx1": true, "-node:mx1": false, "role:mx": true, "queue:42": true, "port:4711": true,
		"unknown": true, `"user UNKNOWN"`: true, "user unknown": true, "-unknown": false, "known": false, "*known*": true, "USER": true, "nothing": false,
		"nothing or unknown": true, "nothing or -unknown": false, "kind:accept or kind:rcpt code:550": true, "kind:accept or kind:rcpt code:250": false,
		"since:2h": true, "since:30m": false, "until:today": true, "since:today": true, "until:yesterday": false, "since:14:00": true, "since:14:45": false,
		"since:2026-11-26": true, "until:2026-11-26": true, "until:2026-11-25": false, "since:2026-11-26T14:29": true, "since:2026-11-26T14:31": false,
		"helo:*": false, "helo:x": false, "Kind:rcpt": true,
	} {
		q, err := Parse(text, now)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := q.Match(e); got != want {
			t.Errorf("%s: %v, want %v (%s)", text, got, want, q.LogsQL())
		}
	}
}

func TestMistakesAreExplained(t *testing.T) {
	for text, why := range map[string]string{
		`"open`: "quote", "from:": "nothing to look for", "nosuch:x": "no such field", "ip:nowhere": "neither an address", "code:99": "no reply code",
		"since:later": "no time", "-since:2h": "turned round", "or x": "before", "x or": "behind", "logsql:": "nothing", "logsql:{": "", "time:x": "no such field",
		strings.Repeat("x ", maxQuery): "octets",
	} {
		if q, err := Parse(text, now); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, %v, want %q", text, q, err, why)
		}
	}
	if q, err := Parse(`from:x logsql:code:=550 "a" or b`, now); err != nil || !q.Raw() || q.LogsQL() != `code:=550 "a" or b` {
		t.Errorf("%+v, %v", q, err)
	}
}

// FuzzParse: what is understood is a filter for the store, whatever is quoted in it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`from:a@b.test -to:"x y" or ip:10.0.0.0/8`, `id:"\")|stats"`, `subject:"*" kind:a*b`, "\xff:\x00", `node:"} or {"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text, now)
		if err != nil {
			return
		}
		if _, err := logstorage.ParseFilter(q.LogsQL()); err != nil {
			t.Fatalf("%q gives %s: %v", text, q.LogsQL(), err)
		}
		q.Match(&event.Event{Time: now, Kind: event.Rcpt, From: "<a@b>"})
	})
}

// pick gives one of some values.
func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

var (
	addresses = []string{"<taro@example.jp>", "taro@example.jp", "<hanako@sub.example.jp>", "<>", "", "<big-taro@example.jp.evil.test>", "postmaster@example.jp"}
	subjects  = []string{"", "Invoice 42", "会議の件", "RE: invoice", `a "quoted" \ one`, "*", "100% (free)"}
	ips       = []string{"192.0.2.7", "192.0.2.70", "10.1.2.3", "2001:db8::1", "2001:db9::1"}
)

func randomEvent(r *rand.Rand, i int) event.Event {
	e := event.Event{Time: now.UTC().Add(-time.Duration(i) * time.Millisecond), Node: pick(r, "mx1", "mx2"), Kind: pick(r, event.Rcpt, event.Accept, event.Login),
		From: pick(r, addresses...), To: pick(r, addresses...), Subject: pick(r, subjects...), Code: pick(r, 0, 250, 451, 550), Enhanced: pick(r, "", "5.1.1", "2.0.0"),
		Trace: pick[mail.TraceID](r, "", "aaaa", "bbbb"), MessageID: pick(r, "", "1.a@x", "aaaa"), Text: pick(r, "", "User unknown", "OK"), Verdict: pick(r, "", "answer", "defer"),
		Why: pick(r, "", "calm"), Queue: pick(r, int64(0), 42, 420)}
	if r.IntN(4) > 0 {
		e.IP = netip.MustParseAddr(pick(r, ips...))
	}
	return e
}

func randomWord(r *rand.Rand) string {
	w := pick(r, "from:", "to:", "account:") + pick(r, "taro", "taro@example.jp", "@example.jp", "example.jp", "*example.jp", "taro*", "<>", "*aro@*", `"hanako@sub.example.jp"`, "*")
	switch r.IntN(5) {
	case 0:
		w = pick(r, "ip:192.0.2.7", "ip:192.0.2.0/24", "ip:10.0.0.0/8", "ip:2001:db8::/32", "ip:2001:db8::1", "ip:0.0.0.0/0", "ip:*")
	case 1:
		w = pick(r, "subject:invoice", "subject:*voic*", "subject:INVOICE", "subject:会議", `subject:"*"`, `subject:"\\ one"`, `subject:"100% ("`, `subject:"\"quoted\""`, "subject:42")
	case 2:
		w = pick(r, "id:aaaa", "id:bbbb", "id:<1.a@x>", "id:42", "code:550", "code:4xx", "code:5.1.1", "verdict:calm", "verdict:defer", "queue:42*", "trace:*", "message_id:*a@x")
	case 3:
		w = pick(r, "node:mx1", "node:mx*", "kind:rcpt", "kind:*c*", "node:mx3", "unknown", "OK", "ok", "*no*", "taro", "jp", "*ap*", `"USER unk"`, "会議")
	}
	return pick(r, "", "", "-") + w
}

// TestStoreMeansTheSame asks the real store and Match the same of random events.
func TestStoreMeansTheSame(t *testing.T) {
	s := logstoretest.New(t, logstoretest.Dir(t), nil)
	logstoretest.Run(t, s)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	now = time.Now()
	var events []event.Event
	var lines strings.Builder
	for i := range 500 {
		events = append(events, randomEvent(r, i))
		json.NewEncoder(&lines).Encode(events[i])
	}
	if err := s.Client().Insert(context.Background(), []byte(lines.String())); err != nil {
		t.Fatal(err)
	}
	logstoretest.Eventually(t, "all are found", func() bool { return len(stored(t, s.Client(), "*")) == len(events) })
	for range 400 {
		var words []string
		for i := range 1 + r.IntN(4) {
			if i > 0 && r.IntN(3) == 0 {
				words = append(words, "or")
			}
			words = append(words, randomWord(r))
		}
		text := strings.Join(words, " ")
		q, err := Parse(text, now)
		if err != nil {
			if !strings.Contains(text, "ip:*") {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		var want []string
		for i := range events {
			if q.Match(&events[i]) {
				want = append(want, fmt.Sprint(events[i].Time.UnixNano()))
			}
		}
		slices.Sort(want)
		if got := stored(t, s.Client(), q.LogsQL()); !slices.Equal(got, want) {
			t.Errorf("%s: the store finds %d, Match %d\n%s", text, len(got), len(want), q.LogsQL())
		}
	}
}

// stored gives the times of the events that the store finds, which are all
// different.
func stored(t *testing.T, c *logstore.Client, logsql string) (times []string) {
	t.Helper()
	err := c.Select(context.Background(), logsql, logstore.Span{From: now.Add(-time.Hour), To: now.Add(time.Hour)}, 0, func(e event.Event) error {
		times = append(times, fmt.Sprint(e.Time.UnixNano()))
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", logsql, err)
	}
	slices.Sort(times)
	return times
}
