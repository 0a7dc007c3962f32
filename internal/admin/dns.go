package admin

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// Record is a DNS record that a domain should publish.
type Record struct {
	Name  string // absolute, without the last dot
	Type  string
	Value string // of a TXT record its text, without quotes
	Why   string
}

// String gives the record as a line of a zone file.
func (r Record) String() string {
	value := r.Value
	if r.Type == "TXT" {
		value = senderauth.ZoneText(r.Value)
	}
	return fmt.Sprintf("%s. 3600 IN %s %s", r.Name, r.Type, value)
}

// Ports are where clients find the services of a domain; 0: not offered.
type Ports struct {
	Submission, Submissions, IMAPS, POP3S int
}

// Records gives what a domain should publish when hostname takes its mail: MX,
// SPF, the DKIM keys, DMARC, and where clients find the services (RFC 6186,
// RFC 8314). A port of 0 is published as not available.
func (a *Admin) Records(ctx context.Context, name, hostname string, p Ports) ([]Record, error) {
	dom, err := a.Domain(ctx, name)
	if err != nil {
		return nil, err
	}
	d, host := string(dom.Name), strings.TrimSuffix(hostname, ".")
	out := []Record{
		{d, "MX", "10 " + host + ".", "mail for the domain comes here"},
		{d, "TXT", "v=spf1 mx ~all", "SPF: mail of the domain comes from its MX hosts (RFC 7208)"},
	}
	keys, err := a.DKIMKeys(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		r, err := dkimRecord(d, k)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	reader := cmp.Or(a.Reporter, "postmaster@"+d)
	out = append(out, Record{"_dmarc." + d, "TXT", "v=DMARC1; p=none; rua=mailto:" + reader,
		"DMARC: reports first, then p=quarantine or p=reject"})
	if _, at, _ := strings.Cut(reader, "@"); senderauth.OrganisationalDomain(at) != senderauth.OrganisationalDomain(d) {
		out = append(out, Record{d + "._report._dmarc." + at, "TXT", "v=DMARC1", "reports about the domain may go to " + reader + " (RFC 9990)"})
	}
	for _, s := range []struct {
		service string
		port    int
	}{{"submission", p.Submission}, {"submissions", p.Submissions}, {"imaps", p.IMAPS}, {"pop3s", p.POP3S}} {
		value := "0 0 0 ."
		if s.port > 0 {
			value = fmt.Sprintf("0 1 %d %s.", s.port, host)
		}
		out = append(out, Record{"_" + s.service + "._tcp." + d, "SRV", value, "clients find " + s.service})
	}
	return out, nil
}

func dkimRecord(domain string, k directory.DKIMKey) (Record, error) {
	why := "DKIM key that signs"
	if !k.Active {
		why = "DKIM key that does not sign"
	}
	key, err := senderauth.ParseKey([]byte(k.Private))
	if err != nil {
		return Record{}, fmt.Errorf("DKIM key %s of %s: %w", k.Selector, domain, err)
	}
	return Record{k.Selector + "._domainkey." + domain, "TXT", key.Record(), why}, nil
}
