package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

// Config is what a Client is built from. Zero values mean the defaults.
type Config struct {
	// Servers are recursive servers, "192.0.2.1" or "127.0.0.1:5353", asked
	// in this order. Default: those of /etc/resolv.conf.
	Servers []string
	// Timeout bounds one try at one server. Default 3 s.
	Timeout time.Duration
	// Total bounds one question with all its tries. Default 15 s. The
	// context of the caller may end its wait earlier.
	Total time.Duration
	// CacheBytes bounds the memory of the cache, roughly. Default 16 MiB.
	CacheBytes int
}

const (
	rounds  = 2               // times every server is tried
	udpSize = 1232            // fits every path unfragmented: DNS flag day 2020
	minTTL  = 5 * time.Second // an answer found is kept at least so long
	failTTL = time.Second     // a failure is not asked again at once: RFC 9520, 3.2
)

// Client asks recursive servers. Equal questions at the same time are asked
// once. Each try has its own socket, thus a random port, and a random ID.
type Client struct {
	lookups
	servers []server
	timeout time.Duration
	total   time.Duration
	cache   *cache
	flight  singleflight.Group

	life    context.Context // ends with Close
	end     context.CancelFunc
	mu      sync.Mutex // orders running.Add against Close
	running sync.WaitGroup
}

type server struct {
	addr    string // host:port
	trusted bool   // its AD bit counts
}

// NewClient builds a Client; Close it when done.
func NewClient(c Config) (*Client, error) {
	if len(c.Servers) == 0 {
		rc, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, fmt.Errorf("finding DNS servers: %w", err)
		}
		for _, s := range rc.Servers {
			c.Servers = append(c.Servers, net.JoinHostPort(s, rc.Port))
		}
	}
	cl := &Client{
		timeout: orDefault(c.Timeout, 3*time.Second),
		total:   orDefault(c.Total, 15*time.Second),
		cache:   newCache(orDefault(c.CacheBytes, 16<<20)),
	}
	for _, s := range c.Servers {
		srv, err := parseServer(s)
		if err != nil {
			return nil, err
		}
		cl.servers = append(cl.servers, srv)
	}
	if len(cl.servers) == 0 {
		return nil, errors.New("finding DNS servers: /etc/resolv.conf names none")
	}
	cl.lookups = lookups{cl}
	cl.life, cl.end = context.WithCancel(context.Background())
	return cl, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func parseServer(s string) (server, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return server{}, fmt.Errorf("DNS server %q: neither an address nor address:port", s)
		}
		ap = netip.AddrPortFrom(addr, 53)
	}
	return server{
		addr:    net.JoinHostPort(ap.Addr().String(), strconv.Itoa(int(ap.Port()))),
		trusted: ap.Addr().Unmap().IsLoopback(),
	}, nil
}

// Close ends all questions under way and waits for them. Later lookups that the
// cache cannot answer fail.
func (c *Client) Close() {
	c.mu.Lock()
	c.end()
	c.mu.Unlock()
	c.running.Wait()
}

// ask looks into the cache, then joins or starts the question. A question goes on
// when its first asker leaves, because others may be waiting and the cache gains.
func (c *Client) ask(ctx context.Context, name string, qtype uint16) answer {
	k := cacheKey{name, qtype}
	if a, ok := c.cache.get(k, time.Now()); ok {
		return a
	}
	result := c.flight.DoChan(strconv.Itoa(int(qtype))+" "+name, func() (any, error) { return c.resolveAndKeep(k), nil })
	select {
	case r := <-result:
		return r.Val.(answer)
	case <-ctx.Done():
		return temporary(k, ctx.Err())
	}
}

func temporary(k cacheKey, cause error) answer {
	return answer{err: &Error{Name: k.name, Type: dns.TypeToString[k.qtype], Kind: ErrTemporary, Cause: cause}}
}

func (c *Client) resolveAndKeep(k cacheKey) answer {
	c.mu.Lock()
	if c.life.Err() != nil {
		c.mu.Unlock()
		return temporary(k, errors.New("resolver is closed"))
	}
	c.running.Add(1)
	c.mu.Unlock()
	defer c.running.Done()

	ctx, cancel := context.WithTimeout(c.life, c.total)
	defer cancel()
	a := resolve(ctx, c, k.name, k.qtype)
	switch {
	case a.err == nil:
		a.meta.TTL = max(a.meta.TTL, minTTL)
	case IsTemporary(a.err):
		a.meta.TTL = failTTL
	default: // a denial that says nothing of its time is not asked for again at once, either
		a.meta.TTL = max(a.meta.TTL, failTTL)
	}
	c.cache.put(k, a, time.Now(), a.meta.TTL)
	return a
}

// exchange tries the servers in turn until one gives a response that settles the
// question.
func (c *Client) exchange(ctx context.Context, q dns.Question) (response, error) {
	var last error
	for range rounds {
		for _, s := range c.servers {
			m, err := c.try(ctx, s, q)
			if err == nil {
				return response{m, m.AuthenticatedData && s.trusted}, nil
			}
			last = fmt.Errorf("server %s: %w", s.addr, err)
			if ctx.Err() != nil {
				return response{}, last
			}
		}
	}
	return response{}, last
}

// try asks one server: over UDP with EDNS0, without it if the server does not
// know it (RFC 6891, 7), and over TCP if the response was cut short.
func (c *Client) try(ctx context.Context, s server, q dns.Question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	query := newQuery(q)
	m, err := roundTrip(ctx, "udp", s.addr, query)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented || m.Rcode == dns.RcodeBadVers) {
		query.Extra = nil
		m, err = roundTrip(ctx, "udp", s.addr, query)
	}
	if err == nil && m.Truncated {
		m, err = roundTrip(ctx, "tcp", s.addr, query)
	}
	if err != nil {
		return nil, err
	}
	return m, settles(m)
}

// settles says why a response leaves the question open, nil if it does not.
func settles(m *dns.Msg) error {
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return fmt.Errorf("response code %s", dns.RcodeToString[m.Rcode])
	case m.Truncated:
		return errors.New("truncated response over TCP")
	case !m.RecursionAvailable && !m.Authoritative && len(m.Answer) == 0:
		return errors.New("a referral: the server does not recurse")
	}
	return nil
}

// newQuery asks for the AD bit by setting it: RFC 6840, 5.7.
func newQuery(q dns.Question) *dns.Msg {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{RecursionDesired: true, AuthenticatedData: true}}
	m.Question = []dns.Question{q}
	m.SetEdns0(udpSize, false)
	return m
}

// roundTrip sends query with a fresh ID and waits for the response to it. Packets
// that answer something else are passed over, not errors: they may be forged, and
// the true response still on its way.
func roundTrip(ctx context.Context, network, addr string, query *dns.Msg) (*dns.Msg, error) {
	query.Id = dns.Id()
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := nc.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	defer context.AfterFunc(ctx, func() { nc.Close() })()

	conn := &dns.Conn{Conn: nc, UDPSize: 4096} // larger than asked for: some servers do not listen
	if err := conn.WriteMsg(query); err != nil {
		return nil, err
	}
	for {
		m, err := readMsg(conn)
		if err != nil {
			return nil, err
		}
		if m != nil && answers(m, query) {
			return m, nil
		}
		if network == "tcp" {
			return nil, errors.New("response to another question")
		}
	}
}

// readMsg returns nil for what cannot be parsed. Of a truncated message the part
// up to the question is enough.
func readMsg(conn *dns.Conn) (*dns.Msg, error) {
	p, err := conn.ReadMsgHeader(nil)
	if errors.Is(err, dns.ErrShortRead) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(p); err != nil && !m.Truncated {
		return nil, nil
	}
	return m, nil
}

func answers(m, query *dns.Msg) bool {
	if m.Id != query.Id || !m.Response || m.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 { // some servers omit it with an error
		return m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented
	}
	q, want := m.Question[0], query.Question[0]
	return len(m.Question) == 1 && q.Qtype == want.Qtype && q.Qclass == want.Qclass && plain(q.Name) == plain(want.Name)
}
