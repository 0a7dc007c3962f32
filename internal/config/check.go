package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// checker gathers problems and knows where each key stands.
type checker struct {
	file     string
	lines    map[string]int
	problems Problems
}

// bad reports a key unless ok. For an element of a list the line of the list
// is given.
func (ck *checker) bad(ok bool, key, reason string, args ...any) {
	if ok {
		return
	}
	line, found := ck.lines[key]
	for k := key; !found && k != ""; {
		k = k[:max(strings.LastIndexAny(k, ".["), 0)]
		line, found = ck.lines[k]
	}
	ck.problems = append(ck.problems, Problem{ck.file, line, key, fmt.Sprintf(reason, args...)})
}

func (c *Config) check(ck *checker) {
	c.checkNames(ck)
	c.checkListen(ck)
	c.checkTLS(ck)
	c.checkStore(ck)
	c.checkLimits(ck)
	c.checkEdge(ck)
	c.checkOutbound(ck)
	c.checkFilter(ck)
	c.checkReport(ck)
	for i := range c.Routes {
		c.Routes[i].check(ck, fmt.Sprintf("route[%d]", i))
	}
	for i, s := range c.DNS.Servers {
		ck.bad(hostPort(s), fmt.Sprintf("dns.servers[%d]", i), "%q is not host:port", s)
	}
	ck.bad(c.DNS.Timeout > 0, "dns.timeout", "must be more than 0")
	c.Log.check(ck)
}

func (c *Config) checkNames(ck *checker) {
	name := func(key, value string) {
		d, err := mail.ParseDomain(value)
		ck.bad(value != "", key, "must be set")
		ck.bad(value == "" || err == nil && strings.Contains(string(d), "."), key, "%q is not a full domain name", value)
	}
	name("hostname", c.Hostname)
	name("domain", c.Domain)
	ck.bad(c.DataDir != "", "data_dir", "must be set")
	ck.bad(len(c.Roles) > 0, "roles", "a node needs at least one role")
	for i, r := range c.Roles {
		ck.bad(slices.Contains(Roles, r), fmt.Sprintf("roles[%d]", i), "%q is none of mx, submission, delivery, imap, pop3, edge-milter, edge-policy", r)
		ck.bad(slices.Index(c.Roles, r) == i, fmt.Sprintf("roles[%d]", i), "%q is given twice", r)
	}
}

func (c *Config) checkListen(ck *checker) {
	used := map[string]string{}
	addresses := func(key string, list []string) {
		for i, a := range list {
			k := fmt.Sprintf("listen.%s[%d]", key, i)
			ck.bad(hostPort(a), k, "%q is not host:port or :port", a)
			ck.bad(used[a] == "", k, "%q is already used by %s", a, used[a])
			used[a] = "listen." + key
		}
	}
	addresses("mx", c.Listen.MX)
	addresses("mx_proxy", c.Listen.MXProxy)
	addresses("submission", c.Listen.Submission)
	addresses("submissions", c.Listen.Submissions)
	addresses("imap", c.Listen.IMAP)
	addresses("imaps", c.Listen.IMAPS)
	addresses("pop3", c.Listen.POP3)
	addresses("pop3s", c.Listen.POP3S)
	addresses("edge_milter", c.Listen.EdgeMilter)
	addresses("edge_policy", c.Listen.EdgePolicy)
	addresses("metrics", c.Listen.Metrics)
	ck.bad(len(c.Listen.MXProxy) == 0 || len(c.Proxy.Trust) > 0, "listen.mx_proxy", "needs the balancers' networks in proxy.trust")
}

func (c *Config) checkTLS(ck *checker) {
	for i, f := range c.TLS.Certificates {
		key := fmt.Sprintf("tls.certificate[%d]", i)
		ck.bad(f.Cert != "", key+".cert", "must be set")
		ck.bad(f.Key != "", key+".key", "must be set")
	}
	a := c.TLS.ACME
	if a.Directory == "" {
		return
	}
	u, err := url.Parse(a.Directory)
	ck.bad(err == nil && u.Scheme == "https" && u.Host != "", "tls.acme.directory", "%q is not an https URL", a.Directory)
	ck.bad(a.Agree, "tls.acme.agree", "must be true once you have read the authority's terms of service")
	ck.bad(a.HTTPPort != 0 || a.ALPNPort != 0, "tls.acme.http_port", "set http_port or alpn_port, or the authority cannot check the names")
	port := func(key string, n int) { ck.bad(n >= 0 && n < 1<<16, key, "%d is not a port", n) }
	port("tls.acme.http_port", a.HTTPPort)
	port("tls.acme.alpn_port", a.ALPNPort)
	for i, n := range a.Names {
		_, err := mail.ParseDomain(n)
		ck.bad(err == nil, fmt.Sprintf("tls.acme.names[%d]", i), "%q is not a domain name", n)
	}
}

func (c *Config) checkStore(ck *checker) {
	dsn := c.Store.DSN
	ck.bad(dsn == "" || strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://"),
		"store.dsn", "must be empty for SQLite or begin with postgres://")
	ck.bad(c.Store.Reserve >= 1<<20, "store.reserve", "must be at least 1 MiB")
}

func (c *Config) checkLimits(ck *checker) {
	atLeast := func(key string, value, least int64) { ck.bad(value >= least, key, "must be at least %d", least) }
	s := c.SMTP
	ck.bad(s.MaxMessage >= 64<<10, "smtp.max_message", "must be at least 64 KiB (RFC 5321 section 4.5.3.1.7)")
	ck.bad(s.MaxRecipients >= 100, "smtp.max_recipients", "must be at least 100 (RFC 5321 section 4.5.3.1.8)")
	atLeast("smtp.max_messages", int64(s.MaxMessages), 1)
	atLeast("smtp.max_errors", int64(s.MaxErrors), 1)
	atLeast("smtp.max_connections", int64(s.MaxConnections), 1)
	atLeast("smtp.max_per_address", int64(s.MaxPerAddress), 1)
	ck.bad(s.Idle > 0, "smtp.idle", "must be more than 0")
	ck.bad(s.Total >= s.Idle, "smtp.total", "must not be shorter than smtp.idle")
	atLeast("smtp.max_hops", int64(s.MaxHops), 10)
	atLeast("imap.max_connections", int64(c.IMAP.MaxConnections), 1)
	atLeast("imap.max_per_address", int64(c.IMAP.MaxPerAddress), 1)
	atLeast("imap.max_per_account", int64(c.IMAP.MaxPerAccount), 1)
	atLeast("imap.max_message", int64(c.IMAP.MaxMessage), 1<<20)
	ck.bad(c.IMAP.Idle > 0, "imap.idle", "must be more than 0")
	atLeast("pop3.max_connections", int64(c.POP3.MaxConnections), 1)
	atLeast("pop3.max_per_address", int64(c.POP3.MaxPerAddress), 1)
	ck.bad(c.POP3.Idle > 0, "pop3.idle", "must be more than 0")
	q := c.Queue
	ck.bad(q.RetryFirst > 0, "queue.retry_first", "must be more than 0")
	ck.bad(q.RetryMax >= q.RetryFirst, "queue.retry_max", "must not be shorter than queue.retry_first")
	ck.bad(q.Lifetime >= q.RetryFirst, "queue.lifetime", "must not be shorter than queue.retry_first")
	atLeast("queue.concurrency", int64(q.Concurrency), 1)
	atLeast("queue.per_destination", int64(q.PerDestination), 1)
	ck.bad(q.DigestEvery > 0, "queue.digest_every", "must be more than 0")
}

func (r *Route) setDefaults() {
	if r.Protocol == "" {
		r.Protocol = "smtp"
	}
	if r.TLS == "" {
		r.TLS = "opportunistic"
	}
	if r.Recipients == "" {
		r.Recipients = "listed"
	}
}

func (r *Route) check(ck *checker, key string) {
	name := strings.TrimPrefix(r.Domain, ".")
	_, err := mail.ParseDomain(name)
	ck.bad(r.Domain == "*" || err == nil, key+".domain", "%q is not a domain, .domain or *", r.Domain)
	if path, ok := strings.CutPrefix(r.To, "unix:"); ok {
		ck.bad(path != "" && r.Protocol == "lmtp", key+".to", "a socket needs a path and protocol = \"lmtp\"")
	} else {
		ck.bad(hostPort(r.To) && !strings.HasPrefix(r.To, ":"), key+".to", "%q is not host:port or unix:PATH", r.To)
	}
	ck.bad(r.Protocol == "smtp" || r.Protocol == "lmtp", key+".protocol", "%q is neither smtp nor lmtp", r.Protocol)
	ck.bad(slices.Contains([]string{"none", "opportunistic", "required", "verify", "implicit"}, r.TLS), key+".tls",
		"%q is none of none, opportunistic, required, verify, implicit", r.TLS)
	ck.bad(r.User == "" || r.Password != "", key+".password_file", "must be set when user is")
	ck.bad(r.User == "" || r.TLS != "none" && r.TLS != "opportunistic", key+".tls", "a password needs tls = required, verify or implicit")
	ck.bad(r.Recipients == "any" || r.Recipients == "listed", key+".recipients", "%q is neither any nor listed", r.Recipients)
	ck.bad(!r.Relay || r.Domain != "*", key+".relay", "everything cannot be relayed for anybody")
}

// hostPort accepts "host:port" with a numeric port, and ":port".
func hostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}
