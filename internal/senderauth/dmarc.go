package senderauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

// DMARCPolicy is what an author's domain wants done with mail that is not
// proven to be its own (RFC 7489 section 6.3).
type DMARCPolicy string

// Policies.
const (
	PolicyNone       DMARCPolicy = "none"
	PolicyQuarantine DMARCPolicy = "quarantine"
	PolicyReject     DMARCPolicy = "reject"
)

// DMARCRecord is a domain's record.
type DMARCRecord struct {
	Domain       string      // where it was found
	Policy       DMARCPolicy // of the domain
	Subdomains   DMARCPolicy // of those below it
	Nonexistent  DMARCPolicy // of those below it that do not exist
	StrictDKIM   bool
	StrictSPF    bool
	Testing      bool     // t=y, or a share (pct) below 100
	PublicSuffix bool     // psd=y: others register below it
	Reports      []string // URIs of rua, where reports go
}

// DMARC checks whether the author's domain stands behind a message (RFC 7489,
// RFC 9989).
type DMARC struct{ Resolver dns.Resolver }

// Signed is the domain of one DKIM signature that has passed.
type Signed string

// DMARCResult is the outcome.
type DMARCResult struct {
	Result string // none, pass, fail, temperror, permerror
	Domain string // of the author
	Policy DMARCPolicy
	Record *DMARCRecord // nil: none
	Reason string
	// DKIM and SPF tell which of them has proven the author's domain.
	DKIM, SPF bool
}

// ErrAuthor means that no single domain stands in From.
var ErrAuthor = errors.New("no single author's domain")

// AuthorDomain gives the one domain that From shows, in ASCII. Anything that a
// reader could take for another is an error: several fields, several domains,
// or an address that cannot be read.
func AuthorDomain(h *mail.Header) (string, error) {
	fields := h.Values("From")
	if len(fields) != 1 {
		return "", fmt.Errorf("%w: %d From fields", ErrAuthor, len(fields))
	}
	if strings.ContainsAny(fields[0], "\x00\r\n") {
		return "", fmt.Errorf("%w: control characters in From", ErrAuthor)
	}
	list, err := mail.ParseAddressList(fields[0])
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrAuthor, err)
	}
	if angles(fields[0]) > len(list) {
		return "", fmt.Errorf("%w: addresses side by side", ErrAuthor)
	}
	domain := ""
	for _, a := range list {
		d := strings.ToLower(string(a.Address.Domain))
		if d == "" || strings.HasPrefix(d, "[") || domain != "" && d != domain {
			return "", fmt.Errorf("%w: %q", ErrAuthor, fields[0])
		}
		domain = d
	}
	if domain == "" {
		return "", fmt.Errorf("%w: no address", ErrAuthor)
	}
	return domain, nil
}

// angles counts the addresses in angle brackets, outside of quotes and comments:
// programs differ in which of two without a comma they show.
func angles(value string) int {
	n, depth, quoted := 0, 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\':
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '<' && depth == 0:
			n++
		}
	}
	return n
}

// Find looks up what the author's domain asks for. The result is final (none,
// temperror, permerror) unless there is a record, and then waits for Align.
func (c *DMARC) Find(ctx context.Context, h *mail.Header) DMARCResult {
	domain, err := AuthorDomain(h)
	if err != nil {
		return DMARCResult{Result: "permerror", Reason: err.Error()}
	}
	r := DMARCResult{Domain: domain, Result: "none", Policy: PolicyNone}
	r.Record, err = c.Lookup(ctx, domain)
	if err != nil && !dns.IsNotFound(err) {
		r.Result, r.Reason = "temperror", "the record cannot be asked for now"
	}
	return r
}

// Align compares the author's domain with what SPF and DKIM have proven. spf is
// the domain that SPF passed for, "" when it did not.
func (r DMARCResult) Align(spf string, signed []Signed) DMARCResult {
	if r.Record == nil {
		return r
	}
	r.Result, r.Policy = "fail", r.Record.of(r.Domain)
	r.DKIM = slices.ContainsFunc(signed, func(d Signed) bool { return aligned(r.Domain, string(d), r.Record.StrictDKIM) })
	r.SPF = spf != "" && aligned(r.Domain, spf, r.Record.StrictSPF)
	if r.DKIM || r.SPF {
		r.Result = "pass"
	}
	return r
}

// of gives the policy for a domain at or below that of the record. A test asks
// for the policy one below.
func (r *DMARCRecord) of(domain string) DMARCPolicy {
	p := r.Policy
	if domain != r.Domain {
		p = r.Subdomains
	}
	if !r.Testing {
		return p
	}
	if p == PolicyReject {
		return PolicyQuarantine
	}
	return PolicyNone
}

// aligned tells whether two domains are the same, or belong to the same
// organisation (RFC 7489 section 3.1).
func aligned(author, other string, strict bool) bool {
	other = strings.ToLower(strings.TrimSuffix(other, "."))
	if author == other {
		return true
	}
	return !strict && OrganisationalDomain(author) == OrganisationalDomain(other)
}

// OrganisationalDomain gives the domain that somebody has registered, by the
// public suffix list; a public suffix is its own.
func OrganisationalDomain(domain string) string {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}

// maxWalk bounds how many names are asked for a record (RFC 9989 section 4.10).
const maxWalk = 8

// Lookup gives the record that holds for a domain: its own, or the nearest
// above it. A name below which strangers register counts only when its record
// says that it means them (psd=y). nil and no error: there is none.
func (c *DMARC) Lookup(ctx context.Context, domain string) (*DMARCRecord, error) {
	for i, at := range walk(domain) {
		if i > 0 && isPublicSuffix(at) && !speaking[at] {
			continue
		}
		res, err := c.Resolver.TXT(ctx, "_dmarc."+at)
		if err != nil && !dns.IsNotFound(err) {
			return nil, err
		}
		r := onlyRecord(res.Texts)
		if r == nil || i > 0 && isPublicSuffix(at) && !r.PublicSuffix {
			continue
		}
		r.Domain = at
		if at != domain && r.Nonexistent != r.Subdomains && c.missing(ctx, domain) {
			r.Subdomains = r.Nonexistent
		}
		return r, nil
	}
	return nil, nil
}

// speaking are the public suffixes that have a policy for those below them. All
// others are not asked: their servers would hear of every message in the world.
var speaking = map[string]bool{"bank": true, "insurance": true, "gov": true, "mil": true, "gov.uk": true, "police.uk": true}

// walk gives a domain and those above it; of a long one only the upper ones
// beside itself.
func walk(domain string) []string {
	names := []string{domain}
	labels := strings.Split(domain, ".")
	for i := max(1, len(labels)-maxWalk+1); i < len(labels); i++ {
		names = append(names, strings.Join(labels[i:], "."))
	}
	return names
}

func isPublicSuffix(domain string) bool {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix == domain
}

// missing tells whether a name does not exist (RFC 9989 section 3.2.12).
func (c *DMARC) missing(ctx context.Context, domain string) bool {
	_, mx := c.Resolver.MX(ctx, domain)
	_, addrs := c.Resolver.Addrs(ctx, domain)
	return dns.IsNotFound(mx) && dns.IsNotFound(addrs)
}

// onlyRecord gives the record among texts; several are as good as none.
func onlyRecord(texts []string) *DMARCRecord {
	var found *DMARCRecord
	for _, t := range texts {
		r := ParseDMARC(t)
		if r == nil {
			continue
		}
		if found != nil {
			return nil
		}
		found = r
	}
	return found
}

// ParseDMARC reads a record; nil when the text is none. Tags that are unknown
// or wrong are left out, but a record without a usable p and without reports
// is none (RFC 7489 section 6.6.3).
func ParseDMARC(text string) *DMARCRecord {
	tags := strings.Split(text, ";")
	name, value := cutTag(tags[0])
	if name != "v" || value != "DMARC1" {
		return nil
	}
	r := &DMARCRecord{}
	for _, tag := range tags[1:] {
		r.tag(cutTag(tag))
	}
	if r.Policy == "" {
		if len(r.Reports) == 0 {
			return nil
		}
		r.Policy = PolicyNone
	}
	if r.Subdomains == "" {
		r.Subdomains = r.Policy
	}
	if r.Nonexistent == "" {
		r.Nonexistent = r.Subdomains
	}
	return r
}

// tag takes one tag; one that is unknown or wrong changes nothing.
func (r *DMARCRecord) tag(name, value string) {
	switch name {
	case "p":
		r.Policy = policy(value)
	case "sp":
		r.Subdomains = policy(value)
	case "np":
		r.Nonexistent = policy(value)
	case "adkim":
		r.StrictDKIM = strings.EqualFold(value, "s")
	case "aspf":
		r.StrictSPF = strings.EqualFold(value, "s")
	case "psd":
		r.PublicSuffix = strings.EqualFold(value, "y")
	case "t":
		r.Testing = r.Testing || strings.EqualFold(value, "y")
	case "pct":
		n, err := strconv.Atoi(value)
		r.Testing = r.Testing || err == nil && n < 100
	case "rua":
		for _, uri := range strings.Split(value, ",") {
			if uri = strings.TrimSpace(uri); uri != "" {
				r.Reports = append(r.Reports, uri)
			}
		}
	}
}

func cutTag(tag string) (name, value string) {
	name, value, _ = strings.Cut(tag, "=")
	return strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
}

func policy(value string) DMARCPolicy {
	switch p := DMARCPolicy(strings.ToLower(value)); p {
	case PolicyNone, PolicyQuarantine, PolicyReject:
		return p
	}
	return ""
}
