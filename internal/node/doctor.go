package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/cert"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/dns"
)

// Level says how much a Finding matters.
type Level string

// Levels of findings.
const (
	Good Level = "good"
	Note Level = "note" // works, but others will like it less
	Bad  Level = "bad"  // mail or users are turned away
)

// Finding is what an examination has to say of one thing.
type Finding struct {
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Mend  string `json:"mend,omitempty"` // what to do
}

// examination gathers findings.
type examination struct {
	rooms    *Rooms
	resolver dns.Resolver
	findings []Finding
	leaf     *x509.Certificate // the one looked at last
}

func (e *examination) say(l Level, mend, text string, args ...any) {
	e.findings = append(e.findings, Finding{l, fmt.Sprintf(text, args...), mend})
}

// expiryWarning is how long before its end a certificate is reported.
const expiryWarning = 14 * 24 * time.Hour

// Examine looks at a node and at what the world sees of it: room, services,
// certificates, and the DNS records of its domains.
func Examine(ctx context.Context, cfg *config.Config) ([]Finding, error) {
	rooms, err := OpenRooms(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer rooms.Close()
	e := &examination{rooms: rooms}
	if e.resolver, err = newResolver(cfg); err != nil {
		return nil, err
	}
	e.room()
	e.listeners(cfg)
	if err := e.acme(cfg); err != nil {
		return nil, err
	}
	e.host(ctx, cfg)
	domains, err := rooms.Directory.Domains(ctx)
	if err != nil {
		return nil, err
	}
	if len(domains) == 0 {
		e.say(Bad, "migiwa domain add DOMAIN", "there is no domain: nobody can get mail")
	}
	for _, d := range domains {
		if err := e.domain(ctx, d); err != nil {
			return nil, err
		}
	}
	return e.findings, nil
}

func (e *examination) room() {
	free, reserve := e.rooms.Blobs.Room(), int64(e.rooms.Config.Store.Reserve)
	switch {
	case free < reserve:
		e.say(Bad, "free some room; mail is taken again by itself", "only %d MiB are free: new mail is answered 452", free>>20)
	case free < 10*reserve:
		e.say(Note, "", "%d MiB are free", free>>20)
	default:
		e.say(Good, "", "%d MiB are free for mail", free>>20)
	}
}

// listeners connects to every service of this node and looks at the
// certificates of those that are TLS from the start.
func (e *examination) listeners(cfg *config.Config) {
	for _, l := range []struct {
		name string
		role config.Role
		list []string
		tls  bool
	}{
		{"mx", config.MX, cfg.Listen.MX, false},
		{"submission", config.Submission, cfg.Listen.Submission, false},
		{"submissions", config.Submission, cfg.Listen.Submissions, true},
		{"imap", config.IMAP, cfg.Listen.IMAP, false},
		{"imaps", config.IMAP, cfg.Listen.IMAPS, true},
		{"pop3", config.POP3, cfg.Listen.POP3, false},
		{"pop3s", config.POP3, cfg.Listen.POP3S, true},
	} {
		if !cfg.Has(l.role) {
			continue
		}
		for _, a := range l.list {
			e.listener(l.name, a, l.tls)
		}
	}
}

func (e *examination) listener(name, address string, implicit bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 5*time.Second)
	if err != nil {
		e.say(Bad, "is migiwa serve running?", "%s does not answer at %s", name, address)
		return
	}
	defer c.Close()
	e.say(Good, "", "%s answers at %s", name, address)
	if !implicit {
		return
	}
	t := tls.Client(c, &tls.Config{ServerName: e.rooms.Config.Hostname, InsecureSkipVerify: true})
	t.SetDeadline(time.Now().Add(5 * time.Second))
	if err := t.Handshake(); err != nil {
		e.say(Bad, "", "%s at %s: TLS: %v", name, address, err)
		return
	}
	e.certificate(t.ConnectionState().PeerCertificates)
}

func (e *examination) certificate(chain []*x509.Certificate) {
	leaf := chain[0]
	if leaf.Equal(e.leaf) {
		return // the other port has the same
	}
	e.leaf = leaf
	host := e.rooms.Config.Hostname
	pool := x509.NewCertPool()
	for _, c := range chain[1:] {
		pool.AddCert(c)
	}
	left := time.Until(leaf.NotAfter)
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Intermediates: pool})
	switch {
	case left < expiryWarning:
		e.say(Bad, "renew it; migiwa takes the new files by itself", "the certificate ends on %s", leaf.NotAfter.Format(time.DateOnly))
	case leaf.VerifyHostname(host) != nil:
		e.say(Bad, "get one for it, or set hostname", "the certificate is not for %s", host)
	case err != nil:
		e.say(Note, "set tls.acme, or give certificate files of your own", "mail programs will not trust the certificate: %v", err)
	default:
		e.say(Good, "", "the certificate for %s is good until %s", host, leaf.NotAfter.Format(time.DateOnly))
	}
}

// acme tells of certificates that the serving process could not obtain.
func (e *examination) acme(cfg *config.Config) error {
	if cfg.TLS.ACME.Directory == "" {
		return nil
	}
	failures, err := cert.Failures(certificateDir(cfg))
	if err != nil {
		return err
	}
	for _, name := range certificateNames(cfg) {
		if f := failures[strings.ToLower(name)]; f != nil {
			e.say(Bad, "mend the cause; migiwa tries again by itself",
				"no new certificate for %s: the last attempt failed on %s: %s", name, f.Time.UTC().Format(time.RFC1123), f.Text)
		}
	}
	return nil
}

// host looks at the name the world knows this node by.
func (e *examination) host(ctx context.Context, cfg *config.Config) {
	res, err := e.resolver.Addrs(ctx, cfg.Hostname)
	if err != nil {
		e.say(Bad, "publish an A or AAAA record for it", "%s has no address: %v", cfg.Hostname, err)
		return
	}
	for _, ip := range res.Addrs {
		name, ok, err := dns.ForwardConfirmed(ctx, e.resolver, ip)
		if err != nil || !ok || !strings.EqualFold(name, cfg.Hostname) {
			e.say(Note, "ask whoever gave you the address for a PTR record", "%s does not lead back to %s: some servers will refuse our mail", ip, cfg.Hostname)
			continue
		}
		e.say(Good, "", "%s and %s lead to each other", cfg.Hostname, ip)
	}
}

// domain compares what a domain should publish with what it does.
func (e *examination) domain(ctx context.Context, d directory.Domain) error {
	records, err := e.rooms.Admin.Records(ctx, string(d.Name), e.rooms.Config.Hostname, Ports(e.rooms.Config))
	if err != nil {
		return err
	}
	for _, r := range records {
		switch {
		case r.Type == "MX":
			e.mx(ctx, r)
		case r.Type == "TXT":
			e.txt(ctx, r)
		}
	}
	return nil
}

func (e *examination) mx(ctx context.Context, r admin.Record) {
	res, err := e.resolver.MX(ctx, r.Name)
	for _, h := range res.Hosts {
		if strings.EqualFold(h.Host, e.rooms.Config.Hostname) {
			e.say(Good, "", "mail for %s comes here", r.Name)
			return
		}
	}
	if dns.IsTemporary(err) {
		e.say(Note, "", "the MX of %s could not be found out: %v", r.Name, err)
		return
	}
	e.say(Bad, "publish: "+r.String(), "mail for %s does not come here", r.Name)
}

// txt looks for a record of the same kind: v=spf1, v=DKIM1, v=DMARC1.
func (e *examination) txt(ctx context.Context, r admin.Record) {
	kind, _, _ := strings.Cut(strings.ReplaceAll(r.Value, ";", " "), " ")
	res, err := e.resolver.TXT(ctx, r.Name)
	for _, t := range res.Texts {
		if !strings.HasPrefix(strings.ToLower(t), strings.ToLower(kind)) {
			continue
		}
		if kind == "v=DKIM1" && !sameKey(t, r.Value) {
			continue
		}
		e.say(Good, "", "%s has its %s record", r.Name, kind)
		return
	}
	if dns.IsTemporary(err) {
		e.say(Note, "", "the records of %s could not be found out: %v", r.Name, err)
		return
	}
	e.say(Note, "publish: "+r.String(), "%s has no right %s record: our mail is trusted less", r.Name, kind)
}

// sameKey compares the public keys of two DKIM records.
func sameKey(a, b string) bool {
	key := func(s string) string {
		_, p, _ := strings.Cut(strings.Join(strings.Fields(s), ""), "p=")
		p, _, _ = strings.Cut(p, ";")
		return p
	}
	return key(a) == key(b)
}
