package dnsbl

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

const world = `
2.0.0.127.zen.test.                 A 127.0.0.2
1.2.0.192.zen.test.                 A 127.0.0.2
                                    A 127.0.0.4
7.2.0.192.zen.test.                 A 127.0.0.10
8.2.0.192.zen.test.                 A 127.0.0.99
9.2.0.192.zen.test.                 A 127.255.255.254
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.test. A 127.0.0.3
test.dbl.test.                      A 127.0.1.2
spam.example.dbl.test.              A 127.0.1.2
xn--wgv71a.example.dbl.test.        A 127.0.1.2
spam.example.multi.test.            A 127.0.0.12
own.example.multi.test.             A 127.0.0.8
refused.example.multi.test.         A 127.0.0.1
10.113.0.203.multi.test.            A 127.0.0.2
*.everything.test.                  A 127.0.0.2
*.parked.test.                      A 198.51.100.80
1.2.0.192.good.test.                A 127.0.5.1
`

// counted is a resolver that knows how often it was asked, and can be silenced.
type counted struct {
	dns.Resolver
	n      atomic.Int32
	silent atomic.Bool
}

func (c *counted) Addrs(ctx context.Context, host string) (dns.AddrsResult, error) {
	c.n.Add(1)
	if c.silent.Load() {
		<-ctx.Done()
		return dns.AddrsResult{}, &dns.Error{Name: host, Type: "A", Kind: dns.ErrTemporary, Cause: ctx.Err()}
	}
	return c.Resolver.Addrs(ctx, host)
}

func zoneText(t testing.TB, text string) *counted {
	t.Helper()
	z, err := dns.ParseZone(text)
	if err != nil {
		t.Fatal(err)
	}
	return &counted{Resolver: z}
}

func message(t testing.TB, client, from, header string) *filter.Message {
	t.Helper()
	env := filter.Envelope{}
	if client != "" {
		env.Client = netip.MustParseAddr(client)
	}
	if from != "" {
		a, err := mail.ParseAddress(from)
		if err != nil {
			t.Fatal(err)
		}
		env.From = a
	}
	m, err := filter.FromBytes(env, []byte(header+"\r\n\r\nHello\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run gives the findings in one line, and the failure.
func run(t testing.TB, f *Filter, m *filter.Message) (string, string) {
	t.Helper()
	p := &filter.Pipeline{Filters: []filter.Filter{f}}
	res := p.Run(t.Context(), m, []filter.Recipient{{}}, func(int, string) bool { return true })
	var out []string
	for _, x := range res.Findings[0] {
		out = append(out, fmt.Sprintf("%s %g: %s", x.Symbol, x.Score, x.Evidence))
	}
	failure := ""
	if len(res.Failures) > 0 {
		failure = res.Failures[0].Err.Error()
	}
	return strings.Join(out, " | "), failure
}

var (
	zen = List{Zone: "zen.test", Kind: Address, Weight: 1, Answers: map[string]Answer{
		"127.0.0.2":     {Weight: 3, Words: "sends spam"},
		"127.0.0.4/30":  {Weight: 4, Words: "is taken over"},
		"127.0.0.10/32": {Weight: 2, Words: "is a customer's line"},
	}}
	dbl   = List{Zone: "dbl.test", Kind: Domain, Weight: 5}
	multi = List{Zone: "multi.test", Kind: URL, Addrs: true, Answers: map[string]Answer{
		"&2": {Weight: 1, Words: "grey"}, "&4": {Weight: 2, Words: "red"}, "&8": {Weight: 6, Words: "phishing"},
	}}
)

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name, client, from, header, hosts string
		lists                             []List
		want                              string
	}{
		{"clean", "192.0.2.2", "a@b.example", "From: a@b.example", "b.example", []List{zen, dbl, multi}, ""},
		{"heaviest answer", "192.0.2.1", "", "", "", []List{zen}, "DNSBL_ZEN_TEST 4: zen.test lists 192.0.2.1 (127.0.0.2, 127.0.0.4: sends spam, is taken over)"},
		{"mapped", "::ffff:192.0.2.7", "", "", "", []List{zen}, "DNSBL_ZEN_TEST 2: zen.test lists 192.0.2.7 (127.0.0.10: is a customer's line)"},
		{"unknown answer", "192.0.2.8", "", "", "", []List{zen}, "DNSBL_ZEN_TEST 1: zen.test lists 192.0.2.8 (127.0.0.99)"},
		{"nibbles", "2001:db8::1", "", "", "", []List{zen}, "DNSBL_ZEN_TEST 1: zen.test lists 2001:db8::1 (127.0.0.3)"},
		{"private", "10.0.0.1", "", "", "", []List{{Zone: "everything.test", Kind: Address, Weight: 1}}, ""},
		{"envelope and IDN", "", "a@mail.spam.example", "From: x@日本.example", "", []List{dbl}, "DNSBL_DBL_TEST 5: dbl.test lists spam.example (127.0.1.2); 日本.example (127.0.1.2)"},
		{"reply-to", "", "", "Reply-To: x@spam.example", "", []List{dbl}, "DNSBL_DBL_TEST 5: dbl.test lists spam.example (127.0.1.2)"},
		{"bits", "", "", "", "www.spam.example:8080 own.example WWW2.spam.example. 203.0.113.10", []List{multi}, "DNSBL_MULTI_TEST 6: multi.test lists spam.example (127.0.0.12: red, phishing); 203.0.113.10 (127.0.0.2: grey)"},
		{"full names are not registered ones", "", "a@mail.spam.example", "", "", []List{{Zone: "dbl.test", Kind: Domain, Weight: 5, Full: true}}, ""},
		{"good", "192.0.2.1", "", "", "", []List{{Zone: "good.test", Kind: Address, Weight: -2, Name: "The good"}}, "DNSBL_THE_GOOD -2: The good lists 192.0.2.1 (127.0.5.1)"},
	} {
		f := &Filter{Lists: c.lists, Resolver: zoneText(t, world), Never: []string{"own.example"},
			Hosts: func(*filter.Message) []string { return strings.Fields(c.hosts) }}
		got, failure := run(t, f, message(t, c.client, c.from, c.header))
		if got != c.want || failure != "" {
			t.Errorf("%s:\n got %s %s\nwant %s", c.name, got, failure, c.want)
		}
	}
}

func TestAuthenticatedSenderIsNotAsked(t *testing.T) {
	f := &Filter{Lists: []List{zen}, Resolver: zoneText(t, world)}
	m := message(t, "192.0.2.1", "", "")
	m.Account = "mio"
	if got, _ := run(t, f, m); got != "" {
		t.Error(got)
	}
}

// TestManyHosts: the number of questions is bounded, and a host behind many
// others is not safe.
func TestManyHosts(t *testing.T) {
	var hosts []string
	for i := range 100 {
		hosts = append(hosts, fmt.Sprintf("decoy%d.example", i))
	}
	hosts = append(hosts, "spam.example")
	found := 0
	for range 100 {
		r := zoneText(t, world)
		f := &Filter{Lists: []List{multi}, Resolver: r, Hosts: func(*filter.Message) []string { return hosts }}
		if got, _ := run(t, f, message(t, "", "", "")); got != "" {
			found++
		}
		if n := r.n.Load(); n != maxHosts+1 {
			t.Fatalf("%d questions", n)
		}
	}
	if found < 3 || found > 50 {
		t.Errorf("found %d times of 100, want some 20", found)
	}
}

// TestBrokenLists: whatever is wrong with a list, its answers are no listings,
// and the other lists go on.
func TestBrokenLists(t *testing.T) {
	for _, c := range []struct {
		list           List
		client, hosts  string
		failure        string
		refusedAtTrial bool
	}{
		{List{Zone: "everything.test", Kind: Address, Weight: 9}, "192.0.2.1", "", `list everything.test: lists "1.0.0.127", which no list may hold`, true},
		{List{Zone: "everything.test", Kind: URL, Weight: 9}, "192.0.2.1", "a.example", `list everything.test: lists "invalid", which no list may hold`, true},
		{List{Zone: "parked.test", Kind: Address, Weight: 9}, "192.0.2.1", "", "list parked.test: answers 198.51.100.80, which is no answer of a list", true},
		{zen, "192.0.2.9", "", "list zen.test: refuses to answer (127.255.255.254)", false},
		{multi, "192.0.2.1", "spam.example refused.example", "list multi.test: refuses to answer (127.0.0.1)", false},
	} {
		r := zoneText(t, world)
		f := &Filter{Lists: []List{c.list, {Zone: "good.test", Kind: Address, Weight: -2}}, Resolver: r,
			Hosts: func(*filter.Message) []string { return strings.Fields(c.hosts) }}
		for range 2 {
			got, failure := run(t, f, message(t, c.client, "", ""))
			if failure != c.failure || strings.Contains(got, f.zones[0].symbol) || c.client == "192.0.2.1" && !strings.Contains(got, "DNSBL_GOOD") {
				t.Errorf("%s: got %q, %q", c.list.Zone, got, failure)
			}
		}
		before := r.n.Load()
		f.Cache = &Cache{}
		if run(t, f, message(t, "192.0.2.77", "", "")); r.n.Load() != before+1 {
			t.Errorf("%s is off and was asked; %d questions", c.list.Zone, r.n.Load()-before)
		}
	}
}

// TestRecovery: a list that is off is tried again, and one that does not answer
// costs its time once a minute, not with every message.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := zoneText(t, world)
		f := &Filter{Lists: []List{zen}, Resolver: r}
		m := message(t, "192.0.2.1", "", "")
		if got, failure := run(t, f, m); got == "" || failure != "" {
			t.Fatal(got, failure)
		}
		r.silent.Store(true)
		time.Sleep(2 * time.Hour)
		if _, failure := run(t, f, m); !strings.Contains(failure, "list zen.test: no answer") {
			t.Errorf("silent: %q", failure)
		}
		asked, start := r.n.Load(), time.Now()
		for range 50 {
			run(t, f, m)
		}
		if r.n.Load() != asked || time.Since(start) > time.Second {
			t.Errorf("50 messages asked %d times and took %v", r.n.Load()-asked, time.Since(start))
		}
		r.silent.Store(false)
		time.Sleep(trialAgain)
		if got, failure := run(t, f, m); got == "" || failure != "" {
			t.Errorf("after it came back: %q, %q", got, failure)
		}
		r.silent.Store(true)
		time.Sleep(2 * time.Minute) // the zone's TTL is 300 s
		if got, _ := run(t, f, m); got == "" {
			t.Error("the verdict was not kept")
		}
	})
}

// TestOneTrial: messages that come at the same time wait for one trial.
func TestOneTrial(t *testing.T) {
	r := zoneText(t, world)
	f := &Filter{Lists: []List{zen}, Resolver: r}
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			if got, failure := run(t, f, message(t, fmt.Sprintf("192.0.2.%d", 100+i), "", "")); got != "" || failure != "" {
				t.Errorf("%q, %q", got, failure)
			}
		})
	}
	wg.Wait()
	if n := r.n.Load(); n != 31 {
		t.Errorf("%d questions for 30 clients and one trial", n)
	}
}

func TestCanceledMessageProvesNothing(t *testing.T) {
	r := zoneText(t, world)
	r.silent.Store(true)
	f := &Filter{Lists: []List{zen}, Resolver: r}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Check(ctx, message(t, "192.0.2.1", "", ""), &filter.Report{}); err == nil {
		t.Error("no error")
	}
	r.silent.Store(false)
	if got, failure := run(t, f, message(t, "192.0.2.1", "", "")); got == "" || failure != "" {
		t.Errorf("got %q, %q", got, failure)
	}
}

func TestCacheIsBoundedAndExpires(t *testing.T) {
	c := &Cache{Size: 100}
	now := time.Now()
	for i := range 1000 {
		c.put(fmt.Sprint(i), verdict{listed: true}, now, time.Hour*9)
		c.get("0", now)
	}
	if _, ok := c.get("0", now); c.Len() != 100 || !ok {
		t.Errorf("%d verdicts, the most used %v", c.Len(), ok)
	}
	if _, ok := c.get("0", now.Add(maxKeep)); ok || c.Len() != 99 {
		t.Errorf("after its time: %v, %d", ok, c.Len())
	}
}

func TestValidate(t *testing.T) {
	for want, f := range map[string]*Filter{
		"no domain name":    {Lists: []List{{Zone: "[192.0.2.1]", Kind: URL}}},
		"unknown kind":      {Lists: []List{{Zone: "a.test", Kind: "x"}}},
		"there twice":       {Lists: []List{dbl, dbl}},
		"not one bit":       {Lists: []List{{Zone: "a.test", Kind: URL, Answers: map[string]Answer{"&3": {}}}}},
		"not a network":     {Lists: []List{{Zone: "a.test", Kind: URL, Answers: map[string]Answer{"127.0.0.1/24": {}}}}},
		"not an address":    {Lists: []List{{Zone: "a.test", Kind: URL, Answers: map[string]Answer{"128.0.0.1": {}}}}},
		"never asked for":   {Never: []string{"a b"}},
		"customer: unknown": {Lists: []List{{Zone: "key.a.test", Name: "customer", Kind: "x"}}},
	} {
		if err := f.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestKeyIsNotShown: the zone of a paying customer is a secret.
func TestKeyIsNotShown(t *testing.T) {
	z, _ := dns.ParseZone("1.2.0.192.secret.zen.test. A 127.0.0.2\n")
	z.Failing = []string{"7.2.0.192.secret.zen.test"}
	f := &Filter{Lists: []List{{Zone: "secret.zen.test", Name: "zen", Kind: Address, Weight: 1}}, Resolver: z}
	for _, client := range []string{"192.0.2.1", "192.0.2.7"} {
		got, failure := run(t, f, message(t, client, "", ""))
		if got+failure == "" || strings.Contains(got+failure, "secret") || strings.Contains(got, "SECRET") {
			t.Errorf("%s: %q, %q", client, got, failure)
		}
	}
}

// FuzzHost: whatever a link's host is, what is asked for is a name that can be.
func FuzzHost(f *testing.F) {
	for _, s := range []string{"www.example.co.jp", "[2001:db8::1]:80", "日本.example", "a..b", "x:1:2", "%41.example", strings.Repeat("a.", 200) + "example"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, host string, full bool) {
		s, ok := (&List{Kind: URL, Full: full, Addrs: true}).hostSubject(host)
		if !ok {
			return
		}
		if _, err := mail.ParseDomain(s.name); err != nil || s.shown == "" {
			t.Fatalf("%q gives %q: %v", host, s, err)
		}
		again, ok := (&List{Kind: URL, Full: full, Addrs: true}).hostSubject(s.name)
		if _, isAddr := hostAddr(host); !isAddr && (!ok || again.name != s.name) {
			t.Fatalf("%q gives %q, that %q", host, s, again)
		}
	})
}

func BenchmarkCheckCached(b *testing.B) {
	f := &Filter{Lists: []List{zen, dbl, multi}, Resolver: zoneText(b, world),
		Hosts: func(*filter.Message) []string { return []string{"www.spam.example", "a.example", "b.example"} }}
	m := message(b, "192.0.2.1", "a@b.example", "From: a@b.example")
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Check(b.Context(), m, &filter.Report{}); err != nil {
			b.Fatal(err)
		}
	}
}
