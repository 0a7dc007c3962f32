package aggregate

import (
	"context"
	"net/url"
	"slices"
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
		twice := slices.ContainsFunc(out, func(b mail.Address) bool { return a.Key() == b.Key() })
		if err != nil || twice || a.Domain == "" || strings.HasPrefix(string(a.Domain), "[") {
			continue
		}
		if out = append(out, a); len(out) == maxDestinations {
			break
		}
	}
	return out
}

// Agreed gives where reports about a domain go of those meant for a destination:
// to itself when it is of the same organisation, or its own domain says so in
// DNS, where it may name other addresses of the same domain (RFC 9990 section
// 4). Otherwise anybody could have reports sent to anybody.
func Agreed(ctx context.Context, r dns.Resolver, domain string, to mail.Address) ([]mail.Address, error) {
	if senderauth.OrganisationalDomain(domain) == senderauth.OrganisationalDomain(string(to.Domain)) {
		return []mail.Address{to}, nil
	}
	res, err := r.TXT(ctx, domain+"._report._dmarc."+string(to.Domain))
	if err != nil && !dns.IsNotFound(err) {
		return nil, err
	}
	for _, text := range res.Texts {
		tag, rest, _ := strings.Cut(text, ";")
		if name, value := cutTag(tag); name != "v" || value != "DMARC1" {
			continue
		}
		for tag := range strings.SplitSeq(rest, ";") {
			if name, value := cutTag(tag); name == "rua" {
				others := Destinations(strings.Split(value, ","))
				return slices.DeleteFunc(others, func(a mail.Address) bool { return a.Domain != to.Domain }), nil
			}
		}
		return []mail.Address{to}, nil
	}
	return nil, nil
}

func cutTag(tag string) (name, value string) {
	name, value, _ = strings.Cut(tag, "=")
	return strings.TrimSpace(name), strings.TrimSpace(value)
}
