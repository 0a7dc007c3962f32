package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

const zoneText = `
$TTL 300
example.jp.        MX 20 MX2.example.jp.
                   MX 10 mx1.example.jp.
                   TXT "v=spf1 " "ip4:192.0.2.0/24 -all"
                   TXT "a\"b\255c"
mx1.example.jp.    A 192.0.2.1
                   AAAA 2001:db8::1
mx2.example.jp.    A 192.0.2.2
null.example.jp.   MX 0 .
www.example.jp.    CNAME Alias.example.jp.
alias.example.jp.  CNAME mx1.example.jp.
out.example.jp.    CNAME gone.example.net.
loop1.example.jp.  CNAME loop2.example.jp.
loop2.example.jp.  CNAME loop1.example.jp.
*.wild.example.jp. A 192.0.2.9
a.b.example.jp.    A 192.0.2.8
_25._tcp.mx1.example.jp. TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
1.2.0.192.in-addr.arpa. PTR liar.example.net.
                        PTR mx1.example.jp.
2.2.0.192.in-addr.arpa. PTR mx1.example.jp.
3.2.0.192.in-addr.arpa. PTR broken.example.jp.
`

func testZone(t testing.TB) *Zone {
	t.Helper()
	z, err := ParseZone(zoneText)
	if err != nil {
		t.Fatal(err)
	}
	z.Failing = []string{"broken.example.jp"}
	return z
}

// serve starts a real DNS server on loopback, UDP and TCP on the same port.
func serve(t testing.TB, h dns.HandlerFunc) string {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil { // that port is taken for TCP
			pc.Close()
			continue
		}
		for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: ln, Handler: h}} {
			up := make(chan struct{})
			s.NotifyStartedFunc = func() { close(up) }
			go s.ActivateAndServe()
			<-up
			t.Cleanup(func() { s.Shutdown() })
		}
		return pc.LocalAddr().String()
	}
	t.Fatal("no port free for both UDP and TCP")
	return ""
}

// fromZone answers as a recursive server that knows z.
func fromZone(z *Zone) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := z.Reply(q.Question[0])
		m.Id = q.Id
		w.WriteMsg(m)
	}
}

func client(t testing.TB, servers ...string) *Client {
	t.Helper()
	c, err := NewClient(Config{Servers: servers, Timeout: 300 * time.Millisecond, Total: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestResolvers runs the same questions through both resolvers.
func TestResolvers(t *testing.T) {
	z := testZone(t)
	z.Authentic = true
	for name, r := range map[string]Resolver{"zone": z, "client": client(t, serve(t, fromZone(z)))} {
		t.Run(name, func(t *testing.T) { testResolver(t, r) })
	}
}

func testResolver(t *testing.T, r Resolver) {
	ctx := t.Context()
	show := func(v any, err error) string {
		var e *Error
		if errors.As(err, &e) {
			return fmt.Sprintf("%v auth=%v", e.Kind, e.Authentic)
		}
		return fmt.Sprintf("%v %v", v, err)
	}
	mx := func(n string) string {
		res, err := r.MX(ctx, n)
		return show(fmt.Sprintf("%v %v %v", res.Hosts, res.Null, res.Authentic), err)
	}
	addrs := func(n string) string {
		res, err := r.Addrs(ctx, n)
		return show(fmt.Sprintf("%v %v %v", res.Name, res.Addrs, res.Authentic), err)
	}
	fcrdns := func(ip string) string {
		n, ok, err := ForwardConfirmed(ctx, r, netip.MustParseAddr(ip))
		return fmt.Sprintf("%s %v %v", n, ok, IsTemporary(err))
	}
	txt, err := r.TXT(ctx, "example.jp")
	tlsa, terr := r.TLSA(ctx, "_25._tcp.mx1.example.jp")
	for i, c := range []struct{ got, want string }{
		{mx("EXAMPLE.jp."), "[{10 mx1.example.jp} {20 mx2.example.jp}] false true <nil>"},
		{mx("null.example.jp"), "[] true true <nil>"},
		{mx("mx1.example.jp"), "no such record auth=true"},
		{mx("none.example.jp"), "no such name auth=true"},
		{mx("broken.example.jp"), "no answer auth=false"},
		{mx("b.example.jp"), "no such record auth=true"},
		{mx("out.example.jp"), "no such name auth=true"},
		{mx("loop1.example.jp"), "no answer auth=false"},
		{mx(`ex\046ample.jp`), "no such name auth=false"},
		{mx(""), "no such name auth=false"},
		{mx(strings.Repeat("a", 64) + ".jp"), "no such name auth=false"},
		{addrs("mx1.example.jp"), "mx1.example.jp [192.0.2.1 2001:db8::1] true <nil>"},
		{addrs("www.example.jp"), "mx1.example.jp [192.0.2.1 2001:db8::1] true <nil>"},
		{addrs("mx2.example.jp"), "mx2.example.jp [192.0.2.2] true <nil>"},
		{addrs("x.y.wild.example.jp"), "x.y.wild.example.jp [192.0.2.9] true <nil>"},
		{addrs("example.jp"), "no such record auth=true"},
		{addrs("broken.example.jp"), "no answer auth=false"},
		{fcrdns("192.0.2.1"), "mx1.example.jp true false"},
		{fcrdns("::ffff:192.0.2.1"), "mx1.example.jp true false"},
		{fcrdns("192.0.2.2"), " false false"},
		{fcrdns("192.0.2.3"), " false true"},
		{fcrdns("192.0.2.4"), " false false"},
		{fmt.Sprintf("%q", txt.Texts), `["v=spf1 ip4:192.0.2.0/24 -all" "a\"b\xffc"]`},
		{fmt.Sprintf("%v %v", err, terr), "<nil> <nil>"},
		{fmt.Sprintf("%v", tlsa.Records[0].Data[:3]), "[0 17 34]"},
	} {
		if c.got != c.want {
			t.Errorf("%d: got %s, want %s", i, c.got, c.want)
		}
	}
}

// TestBadServers has a first server that misbehaves; the second is sound. Without
// a second the outcome must be temporary.
func TestBadServers(t *testing.T) {
	z := testZone(t)
	good := serve(t, fromZone(z))
	spoil := func(change func(m *dns.Msg)) dns.HandlerFunc {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			m := z.Reply(q.Question[0])
			m.Id = q.Id
			change(m)
			w.WriteMsg(m)
		}
	}
	for name, h := range map[string]dns.HandlerFunc{
		"silent":         func(dns.ResponseWriter, *dns.Msg) {},
		"servfail":       spoil(func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeServerFailure, nil }),
		"refused":        spoil(func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeRefused, nil }),
		"wrong id":       spoil(func(m *dns.Msg) { m.Id++ }),
		"wrong question": spoil(func(m *dns.Msg) { m.Question[0].Name = "example.net." }),
		"no question":    spoil(func(m *dns.Msg) { m.Question = nil }),
		"not a response": spoil(func(m *dns.Msg) { m.Response = false }),
		"referral":       spoil(func(m *dns.Msg) { m.RecursionAvailable, m.Answer = false, nil }),
		"always cut":     spoil(func(m *dns.Msg) { m.Truncated = true }),
		"garbage":        func(w dns.ResponseWriter, _ *dns.Msg) { w.Write([]byte("no DNS message at all")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := serve(t, h)
			if _, err := client(t, bad).MX(t.Context(), "example.jp"); !IsTemporary(err) {
				t.Errorf("alone: got %v, want a temporary error", err)
			}
			res, err := client(t, bad, good).MX(t.Context(), "example.jp")
			if err != nil || len(res.Hosts) != 2 {
				t.Errorf("with a good server behind: got %v, %v", res, err)
			}
		})
	}
}

func TestFallbacks(t *testing.T) {
	z := testZone(t)
	var tcp, plainUDP atomic.Int32
	cut := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := z.Reply(q.Question[0])
		m.Id = q.Id
		if w.RemoteAddr().Network() == "udp" {
			m.Truncated, m.Answer = true, nil
		} else {
			tcp.Add(1)
		}
		w.WriteMsg(m)
	})
	old := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := z.Reply(q.Question[0])
		m.Id = q.Id
		if q.IsEdns0() != nil {
			m.Rcode, m.Answer, m.Question = dns.RcodeFormatError, nil, nil
		} else {
			plainUDP.Add(1)
		}
		w.WriteMsg(m)
	})
	for name, addr := range map[string]string{"TCP": cut, "no EDNS0": old} {
		if res, err := client(t, addr).MX(t.Context(), "example.jp"); err != nil || len(res.Hosts) != 2 {
			t.Errorf("%s: got %v, %v", name, res, err)
		}
	}
	if tcp.Load() != 1 || plainUDP.Load() != 1 {
		t.Errorf("%d answers over TCP, %d without EDNS0, want 1 and 1", tcp.Load(), plainUDP.Load())
	}
}

func TestQuestionsAreShared(t *testing.T) {
	z := testZone(t)
	var asked atomic.Int32
	c := client(t, serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		time.Sleep(50 * time.Millisecond)
		fromZone(z)(w, q)
	}))
	errs := make(chan error)
	for range 20 {
		go func() {
			_, err := c.MX(t.Context(), "example.jp")
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if _, err := c.MX(t.Context(), "Example.JP"); err != nil || asked.Load() != 1 {
		t.Errorf("the server was asked %d times (%v), want once", asked.Load(), err)
	}
}

func TestDeadlineOfCaller(t *testing.T) {
	c := client(t, serve(t, func(dns.ResponseWriter, *dns.Msg) {}))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.Addrs(ctx, "mx1.example.jp")
	if !IsTemporary(err) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 250*time.Millisecond {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
	c.Close()
	if _, err := c.MX(t.Context(), "other.example.jp"); !IsTemporary(err) {
		t.Errorf("after Close: %v", err)
	}
}

// counter answers from a zone and counts.
type counter struct {
	z *Zone
	n int
}

func (c *counter) exchange(ctx context.Context, q dns.Question) (response, error) {
	c.n++
	return c.z.exchange(ctx, q)
}

func TestCacheObeysTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(1 << 20)
		src := &counter{z: testZone(t)}
		k := cacheKey{"example.jp", dns.TypeMX}
		c.put(k, resolve(t.Context(), src, k.name, k.qtype), time.Now(), 300*time.Second)
		time.Sleep(299 * time.Second)
		if a, ok := c.get(k, time.Now()); !ok || a.meta.TTL != time.Second {
			t.Errorf("after 299 s: %v, TTL %v", ok, a.meta.TTL)
		}
		time.Sleep(time.Second)
		if _, ok := c.get(k, time.Now()); ok || len(c.entries) != 0 || c.size != 0 {
			t.Errorf("after 300 s it is still there; %d entries, %d bytes", len(c.entries), c.size)
		}
		gone := resolve(t.Context(), src, "none.example.jp", dns.TypeMX)
		if gone.meta.TTL != time.Minute || src.n != 2 {
			t.Errorf("denial is kept %v, want the SOA's minute", gone.meta.TTL)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(10_000)
	for i := range 1000 {
		c.put(cacheKey{fmt.Sprint(i), dns.TypeA}, answer{}, time.Now(), time.Hour)
		c.get(cacheKey{"0", dns.TypeA}, time.Now())
	}
	if c.size > 10_000 || len(c.entries) != c.recent.Len() || len(c.entries) < 15 {
		t.Errorf("%d bytes, %d entries, %d listed", c.size, len(c.entries), c.recent.Len())
	}
	if _, ok := c.get(cacheKey{"0", dns.TypeA}, time.Now()); !ok {
		t.Error("the entry used most often was dropped")
	}
}

func TestTrustOnlyLoopback(t *testing.T) {
	for s, want := range map[string]bool{"127.0.0.1": true, "[::1]:5353": true, "192.0.2.1:53": false, "::ffff:127.0.0.2": true} {
		if srv, err := parseServer(s); err != nil || srv.trusted != want {
			t.Errorf("%s: %v, %v", s, srv, err)
		}
	}
	if _, err := parseServer("ns.example.jp"); err == nil {
		t.Error("a host name was taken as a server")
	}
}

func TestShuffled(t *testing.T) {
	r := MXResult{Hosts: []MX{{10, "a"}, {10, "b"}, {20, "c"}}}
	first := map[string]bool{}
	for range 200 {
		s := r.Shuffled()
		first[s[0].Host] = true
		if s[2].Host != "c" {
			t.Fatal("the less preferred host came earlier")
		}
	}
	if len(first) != 2 || !slices.Equal(r.Hosts, []MX{{10, "a"}, {10, "b"}, {20, "c"}}) {
		t.Errorf("first hosts %v, hosts afterwards %v", first, r.Hosts)
	}
}

// FuzzResponse feeds arbitrary messages to everything that reads responses.
func FuzzResponse(f *testing.F) {
	z := testZone(f)
	for _, n := range []string{"example.jp.", "www.example.jp.", "loop1.example.jp.", "none.example.jp."} {
		p, err := z.Reply(dns.Question{Name: n, Qtype: dns.TypeMX, Qclass: dns.ClassINET}).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		m := new(dns.Msg)
		if m.Unpack(p) != nil || len(m.Question) == 0 {
			return
		}
		ex := fixed{m}
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypePTR, dns.TypeTLSA} {
			a := resolve(t.Context(), ex, plain(m.Question[0].Name), qtype)
			if (a.err == nil) != (len(a.rrs) > 0 && len(a.rrs) <= maxRecords) {
				t.Fatalf("%d records with error %v", len(a.rrs), a.err)
			}
			if a.meta.TTL < 0 || a.meta.TTL > maxTTL {
				t.Fatalf("TTL %v", a.meta.TTL)
			}
		}
		l := lookups{uncached{ex}}
		name := m.Question[0].Name
		l.MX(t.Context(), name)
		l.TXT(t.Context(), name)
		l.TLSA(t.Context(), name)
		l.Addrs(t.Context(), name)
	})
}

type fixed struct{ m *dns.Msg }

func (f fixed) exchange(context.Context, dns.Question) (response, error) {
	return response{msg: f.m}, nil
}

type uncached struct{ ex exchanger }

func (u uncached) ask(ctx context.Context, name string, qtype uint16) answer {
	return resolve(ctx, u.ex, name, qtype)
}
