package senderauth

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
)

// openSPF is a resolver that answers from the zone data of the OpenSPF suite.
type openSPF map[string][]map[string]any

func (z openSPF) find(name, kind string) (values []any, err error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	records, known := z[name]
	if !known {
		return nil, &dns.Error{Name: name, Kind: dns.ErrNoName}
	}
	spf, txt := []any{}, false
	for _, r := range records {
		for k, v := range r {
			switch {
			case k == "TIMEOUT":
				if len(values) == 0 {
					return nil, &dns.Error{Name: name, Kind: dns.ErrTemporary}
				}
			case k == kind && v == "NONE":
				txt = true
			case k == kind:
				values = append(values, v)
			case k == "CNAME" && kind != "CNAME":
				if strings.EqualFold(strings.TrimSuffix(v.(string), "."), name) || len(z[strings.ToLower(v.(string))]) == 1 && z[strings.ToLower(v.(string))][0]["CNAME"] != nil {
					return nil, &dns.Error{Name: name, Kind: dns.ErrTemporary} // a loop
				}
				return z.find(v.(string), kind)
			case k == "SPF" && kind == "TXT":
				spf = append(spf, v)
			}
		}
	}
	if kind == "TXT" && !txt && len(values) == 0 {
		values = spf // records of type SPF stand for those of type TXT, too
	}
	if len(values) == 0 {
		return nil, &dns.Error{Name: name, Kind: dns.ErrNoRecord}
	}
	return values, nil
}

func (z openSPF) TXT(_ context.Context, name string) (r dns.TXTResult, err error) {
	values, err := z.find(name, "TXT")
	for _, v := range values {
		switch v := v.(type) {
		case []any:
			text := ""
			for _, part := range v {
				text += fmt.Sprint(part)
			}
			r.Texts = append(r.Texts, text)
		default:
			r.Texts = append(r.Texts, fmt.Sprint(v))
		}
	}
	return r, err
}

func (z openSPF) MX(_ context.Context, name string) (r dns.MXResult, err error) {
	values, err := z.find(name, "MX")
	for _, v := range values {
		pair := v.([]any)
		r.Hosts = append(r.Hosts, dns.MX{Preference: uint16(pair[0].(int)), Host: fmt.Sprint(pair[1])})
	}
	return r, err
}

func (z openSPF) Addrs(_ context.Context, name string) (r dns.AddrsResult, err error) {
	for _, kind := range []string{"A", "AAAA"} {
		values, ferr := z.find(name, kind)
		if ferr != nil {
			err = ferr
		}
		for _, v := range values {
			r.Addrs = append(r.Addrs, netip.MustParseAddr(fmt.Sprint(v)))
		}
	}
	if len(r.Addrs) > 0 {
		err = nil
	}
	return r, err
}

func (z openSPF) PTR(_ context.Context, a netip.Addr) (r dns.PTRResult, err error) {
	name := ""
	if a.Is4() {
		b := a.As4()
		name = fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
	} else {
		for _, o := range a.As16() {
			name = fmt.Sprintf("%x.%x.", o&15, o>>4) + name
		}
		name += "ip6.arpa"
	}
	values, err := z.find(name, "PTR")
	for _, v := range values {
		r.Names = append(r.Names, fmt.Sprint(v))
	}
	return r, err
}

func (z openSPF) TLSA(context.Context, string) (dns.TLSAResult, error) {
	return dns.TLSAResult{}, &dns.Error{Kind: dns.ErrNoName}
}

type spfTest struct {
	Helo, Host, MailFrom string
	Result               any
}

// What RFC 4408 wanted and RFC 7208 does not: there an MX with more than ten
// hosts is an error, and so are more than two answers that there is nothing.
var spfDiffers = map[string]bool{"mx-limit": true, "mech-at-limit": true, "include-at-limit": true}

func TestSPFSuites(t *testing.T) {
	root := suite(t, "01-spf")
	for _, file := range []string{"openspf-suite/rfc7208-tests.yml", "mailspf-perl-suite-2025/rfc7208-tests.yml",
		"openspf-suite/rfc4408-tests.yml", "mailspf-perl-suite-2025/rfc4408-tests.yml",
		"mailspf-perl-suite-2025/rfc4406-tests.yml"} {
		scope := ""
		if strings.HasSuffix(file, "rfc4406-tests.yml") {
			scope = "mfrom"
		}
		raw, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		passed, all := 0, 0
		decoder := yaml.NewDecoder(strings.NewReader(string(raw)))
		for {
			var group struct {
				Tests    map[string]spfTest
				ZoneData map[string][]any `yaml:"zonedata"`
			}
			if err := decoder.Decode(&group); err != nil {
				break
			}
			zone := openSPF{}
			for name, records := range group.ZoneData {
				name = strings.ToLower(name)
				zone[name] = []map[string]any{}
				for _, r := range records {
					if m, ok := r.(map[string]any); ok {
						zone[name] = append(zone[name], m)
					} else {
						zone[name] = append(zone[name], map[string]any{fmt.Sprint(r): nil})
					}
				}
			}
			for name, test := range group.Tests {
				all++
				got := runSPF(t, zone, test, scope)
				var want []string
				switch r := test.Result.(type) {
				case []any:
					for _, one := range r {
						want = append(want, fmt.Sprint(one))
					}
				default:
					want = []string{fmt.Sprint(r)}
				}
				if slices.Contains(want, string(got)) {
					passed++
				} else if !spfDiffers[name] || !strings.Contains(file, "perl-suite-2025/rfc4408") {
					t.Errorf("%s: %s: %s, want %v", file, name, got, want)
				}
			}
		}
		t.Logf("%s: %d of %d", file, passed, all)
	}
}

func runSPF(t *testing.T, zone openSPF, test spfTest, scope string) SPFResult {
	from := mail.Address{}
	if test.MailFrom != "" {
		local, domain, found := cutAt(test.MailFrom)
		if !found {
			local, domain = "postmaster", test.MailFrom
		}
		if local == "" {
			local = "postmaster"
		}
		from = mail.Address{Local: local, Domain: mail.Domain(domain), Wire: local + "@" + domain}
	}
	if scope == "" {
		return CheckSPF(t.Context(), zone, netip.MustParseAddr(test.Host), test.Helo, from)
	}
	c := newSPFCheck(t.Context(), zone, netip.MustParseAddr(test.Host), test.Helo)
	c.scope = scope
	return c.address(from)
}
