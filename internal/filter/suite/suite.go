// Package suite puts the filters of a site together.
package suite

import (
	"context"
	"errors"
	"fmt"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/access"
	"github.com/migiwa/migiwa/internal/filter/authentic"
	"github.com/migiwa/migiwa/internal/filter/channel"
	"github.com/migiwa/migiwa/internal/filter/confirm"
	"github.com/migiwa/migiwa/internal/filter/content"
	"github.com/migiwa/migiwa/internal/filter/digest"
	"github.com/migiwa/migiwa/internal/filter/dnsbl"
	"github.com/migiwa/migiwa/internal/filter/learned"
	"github.com/migiwa/migiwa/internal/filter/link"
	"github.com/migiwa/migiwa/internal/filter/milter"
	"github.com/migiwa/migiwa/internal/filter/reputation"
	"github.com/migiwa/migiwa/internal/filter/virus"
)

// Info describes one filter.
type Info struct {
	Name    string
	Default filter.Mode // where neither recipient nor domain has said
	Doc     string
}

// Known are all filters, in the order of their findings.
var Known = []Info{
	{"senderauth", filter.Label, "Whether a message comes from whom it says: SPF, DKIM, ARC and DMARC."},
	{"virus", filter.Label, "Viruses, by ClamAV, and attachments that are programs or hide what they are."},
	{"access", filter.Label, "Senders whom you or the site allow, block or label."},
	{"channel", filter.Label, "Mail to an address that you made for one correspondent, from somebody else."},
	{"reputation", filter.Label, "What users here have made of mail of the same network or domain."},
	{"confirm", filter.Off, "Mail of senders whom you have never heard of; where it may file their mail, they are asked to confirm."},
	{"dnsbl", filter.Label, "Public lists of addresses, domains and links, asked by DNS."},
	{"link", filter.Label, "Where links lead: disguises, imitated brands, free pages."},
	{"content", filter.Label, "Header and words: what honest programs do not write, what frauds say."},
	{"digest", filter.Label, "Mail that other users here have reported as spam by moving it into Junk."},
	{"milter", filter.Label, "Mail filters of others, asked by sendmail's filter protocol."},
	{"learned", filter.Label, "A classifier that learns from what you move into Junk and out of it."},
}

// Names gives the names of all filters.
func Names() []string {
	names := make([]string, len(Known))
	for i, f := range Known {
		names[i] = f.Name
	}
	return names
}

// Default gives the mode of a filter that nobody has set.
func Default(name string) filter.Mode {
	for _, f := range Known {
		if f.Name == name {
			return f.Default
		}
	}
	return filter.Off
}

// Options are what the filters of a site need. The zero value is for filters
// that ask nobody.
type Options struct {
	Rules    string        // file of the site's own content rules, "" for none
	Access   access.Lists  // of addresses and networks; nil for none
	Lists    []dnsbl.List  // DNS lists to ask
	Resolver dns.Resolver  // for Lists and senders; nil: DNS is not asked
	Scanner  virus.Scanner // nil: only attachments are looked at
	TempDir  string        // for archives; "" is the system's
	Milters  []milter.Server
	Channels []byte            // key of addresses for one correspondent; nil: there are none
	Taught   learned.Store     // what accounts have taught; nil for none
	Reports  digest.Store      // what users have reported; nil for none
	Past     *reputation.Store // what users made of earlier mail; nil for none
	Confirm  *confirm.Filter   // Proven is set here; nil: nobody is asked
}

// New gives the filters that have all they need, in the order of Known.
func New(o Options) (*filter.Pipeline, error) {
	p := &filter.Pipeline{}
	add := func(wanted bool, f filter.Filter) {
		if wanted {
			p.Filters = append(p.Filters, f)
		}
	}
	proof := &authentic.Filter{Resolver: o.Resolver}
	var proven func(context.Context, *filter.Message) []string
	if o.Resolver != nil {
		proven = func(ctx context.Context, m *filter.Message) []string {
			known, _ := proof.Prove(ctx, m) // the filter itself tells what went wrong
			return known.Domains()
		}
	}
	if o.Confirm != nil {
		o.Confirm.Proven = proven
	}
	lists := &dnsbl.Filter{Lists: o.Lists, Resolver: o.Resolver, Hosts: link.Hosts}
	milters := &milter.Filter{Servers: o.Milters}
	if err := errors.Join(lists.Validate(), milters.Validate()); err != nil {
		return nil, err
	}
	words, err := content.New(o.Rules)
	if err != nil {
		return nil, fmt.Errorf("reading content rules: %w", err)
	}
	add(o.Resolver != nil, proof)
	add(true, &virus.Filter{Scanner: o.Scanner, TempDir: o.TempDir})
	add(o.Access != nil, &access.Filter{Lists: o.Access, Authenticated: proven})
	add(o.Channels != nil, &channel.Filter{Secret: o.Channels, Proven: proven})
	add(o.Past != nil, &reputation.Filter{Store: o.Past, Proven: proven})
	add(o.Confirm != nil, o.Confirm)
	add(len(o.Lists) > 0, lists)
	add(true, link.Filter{})
	add(true, words)
	add(o.Reports != nil, &digest.Filter{Store: o.Reports})
	add(len(o.Milters) > 0, milters)
	add(true, &learned.Filter{Model: &learned.Model{Site: learned.DefaultSite(), Store: o.Taught}})
	return p, nil
}
