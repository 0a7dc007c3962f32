package aggregate

import (
	"context"
	"net/url"
	"strings"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// maxDestinations bounds to how many addresses one domain's reports go; RFC
// 9990 section 3.5 asks for at least two.
const maxDestinations = 5

// Destinations gives the addresses of a record's rua, those by mail.
func Destinations(rua []string) []mail.Address {
	var out []mail.Address
	for _, uri := range rua {
		u, err := url.Parse(strings.TrimSpace(uri))
		if err != nil || !strings.EqualFold(u.Scheme, "mailto") {
			continue
		}
		text, err := url.PathUnescape(u.Opaque)
		if err != nil {
			continue
		}
		if i := strings.LastIndexByte(text, '!'); i > strings.LastIndexByte(text, '@') {
			text = text[:i] // a size limit of RFC 7489
		}
		a, err := mail.ParseAddress(text)
		if err != nil || a.Domain == "" || strings.HasPrefix(string(a.Domain), "[") {
			continue
		}
		if out = append(out, a); len(out) == maxDestinations {
			break
		}
	}
	return out
}

// Agrees tells whether a destination wants reports about a domain: it is of the
// same organisation, or its own domain says so in DNS (RFC 9990 section 4).
// Otherwise anybody could have reports sent to anybody.
func Agrees(ctx context.Context, r dns.Resolver, domain string, to mail.Address) (bool, error) {
	if senderauth.OrganisationalDomain(domain) == senderauth.OrganisationalDomain(string(to.Domain)) {
		return true, nil
	}
	res, err := r.TXT(ctx, domain+"._report._dmarc."+string(to.Domain))
	if err != nil && !dns.IsNotFound(err) {
		return false, err
	}
	for _, text := range res.Texts {
		tag, _, _ := strings.Cut(text, ";")
		name, value, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(name) == "v" && strings.TrimSpace(value) == "DMARC1" {
			return true, nil
		}
	}
	return false, nil
}
