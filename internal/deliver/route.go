package deliver

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/migiwa/migiwa/internal/mail"
)

// Security says how a route uses TLS.
type Security string

// Ways to use TLS.
const (
	Opportunistic Security = "opportunistic" // when offered, unverified; plain when it fails. The default
	Required      Security = "required"      // by STARTTLS, or the mail waits
	Implicit      Security = "implicit"      // from the first byte (RFC 8314)
	Plain         Security = "none"          // never
)

// Route sends mail of a domain to a fixed next hop instead of its MX.
type Route struct {
	Pattern  string // "example.jp", ".example.jp" for all subdomains, or "*" for everything
	Network  string // "tcp" (also when empty) or "unix", the latter for LMTP
	Address  string // host:port, or the path of a socket
	LMTP     bool
	TLS      Security // empty: Opportunistic, and Plain on a socket
	Verify   bool     // the certificate must be valid for the host
	User     string   // for AUTH; empty: none
	Password string
}

// name groups recipients: routes to the same next hop share connections.
func (r *Route) name() string {
	proto := "smtp"
	if r.LMTP {
		proto = "lmtp"
	}
	return proto + ":" + r.User + "@" + r.Address
}

func (r *Route) check() error {
	if r.Network == "unix" {
		if !r.LMTP || r.Address == "" || r.TLS != "" && r.TLS != Plain {
			return errors.New("a unix socket needs a path, lmtp and no tls")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(r.Address)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return fmt.Errorf("%q is not host:port", r.Address)
	}
	switch r.TLS {
	case "", Opportunistic, Plain:
		if r.Verify {
			return errors.New("verify needs tls required or implicit")
		}
	case Required, Implicit:
	default:
		return fmt.Errorf("tls %q is none of none, opportunistic, required, implicit", r.TLS)
	}
	if r.User != "" && r.TLS != Required && r.TLS != Implicit && !loopback(host) {
		return errors.New("a password needs tls required or implicit, or a host on loopback")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Table finds the route of a domain. The zero Table has none. It may be
// changed while it is in use.
type Table struct {
	routes atomic.Pointer[map[string]*Route]
}

// Set replaces all routes. A bad one changes nothing.
func (t *Table) Set(routes []Route) error {
	m := make(map[string]*Route, len(routes))
	for _, r := range routes {
		if r.Network == "" {
			r.Network = "tcp"
		}
		if err := r.check(); err != nil {
			return fmt.Errorf("route for %s: %w", r.Pattern, err)
		}
		if r.TLS == "" {
			r.TLS = Opportunistic
			if r.Network == "unix" {
				r.TLS = Plain
			}
		}
		key := strings.ToLower(r.Pattern)
		if m[key] != nil {
			return fmt.Errorf("route for %s: stands twice", r.Pattern)
		}
		m[key] = &r
	}
	t.routes.Store(&m)
	return nil
}

// Find gives the route of d: its own, that of the nearest parent's
// subdomains, that for everything; nil when its MX decides.
func (t *Table) Find(d mail.Domain) *Route {
	p := t.routes.Load()
	if p == nil || len(*p) == 0 {
		return nil
	}
	m, s := *p, string(d)
	if r := m[s]; r != nil {
		return r
	}
	for !strings.HasPrefix(s, "[") {
		_, rest, ok := strings.Cut(s, ".")
		if !ok {
			break
		}
		if r := m["."+rest]; r != nil {
			return r
		}
		s = rest
	}
	return m["*"]
}

// Name gives the next hop of d in one word, by which the queue groups: the
// route's, or the domain itself.
func (t *Table) Name(d mail.Domain) string {
	if r := t.Find(d); r != nil {
		return r.name()
	}
	return string(d)
}
