// Package reputation is the filter "reputation": what users here have made of
// mail of the same source before.
//
// A source is the network of the client, and a domain that SPF or DKIM proves.
// Moving a message into Junk counts against its sources, moving it out or filing
// it counts for them, and so does, a little, each message that was left where it
// came. An account has one voice about a source, however often it speaks, so
// that nobody makes a reputation alone; and counts halve in 30 days, so that a
// source gets back to where it was without a person.
package reputation

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// Symbols of findings.
const (
	Bad  = "REPUTATION_BAD"
	Good = "REPUTATION_GOOD"
)

// Bounds of a finding, in points. A network has many senders and counts less.
const (
	maxBad     = 3
	maxGood    = 1
	ofNetwork  = 0.6
	minVoices  = 1.5 // in sum: one account alone makes no reputation
	maxSources = 4
)

// Filter is the filter "reputation".
type Filter struct {
	Store *Store
	// Proven gives the domains that stand behind a message; nil: none does.
	Proven func(context.Context, *filter.Message) []string
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "reputation" }

// Check implements filter.Filter.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	var strongest mail.Finding
	for _, source := range f.Sources(ctx, m) {
		v, err := f.Store.Voices(ctx, source)
		if err != nil {
			return err
		}
		if found := v.finding(source); math.Abs(found.Score) > math.Abs(strongest.Score) {
			strongest = found
		}
	}
	if strongest.Symbol != "" {
		r.Add(strongest)
	}
	return nil
}

// Sources gives the names of a message's sources.
func (f *Filter) Sources(ctx context.Context, m *filter.Message) []string {
	var domains []string
	if f.Proven != nil {
		domains = f.Proven(ctx, m)
	}
	return names(m.Client, domains)
}

// names gives those of a client and of domains that are proven.
func names(client netip.Addr, domains []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, d := range domains {
		name := "domain:" + senderauth.OrganisationalDomain(d)
		if !seen[name] && len(name) < 300 && len(out) < maxSources-1 {
			seen[name] = true
			out = append(out, name)
		}
	}
	if client = client.Unmap().WithZone(""); client.IsValid() && !client.IsLoopback() && !client.IsPrivate() && !client.IsLinkLocalUnicast() {
		bits := 24
		if client.Is6() {
			bits = 48
		}
		if p, err := client.Prefix(bits); err == nil {
			out = append(out, "net:"+p.String())
		}
	}
	return out
}

// Voices are what accounts say of a source, each between 0 and 1 in all.
type Voices struct{ Spam, Ham float64 }

func (v Voices) finding(source string) mail.Finding {
	if v.Spam+v.Ham < minVoices {
		return mail.Finding{}
	}
	score := math.Log((v.Spam + 0.3) / (v.Ham + 0.3))
	what, name, _ := strings.Cut(source, ":")
	if what == "net" {
		score *= ofNetwork
	}
	score = math.Round(10*min(max(score, -maxGood), maxBad)) / 10
	f := mail.Finding{Symbol: Bad, Score: score, Evidence: fmt.Sprintf("users here took mail of %s for spam (%.1f voices) or wanted it (%.1f)", name, v.Spam, v.Ham)}
	switch {
	case score == 0:
		return mail.Finding{}
	case score < 0:
		f.Symbol = Good
	}
	return f
}

var (
	client = regexp.MustCompile(`\[(?:IPv6:)?([0-9A-Fa-f:.]+)\]`)
	proofs = regexp.MustCompile(`(?:spf=pass[^;]*smtp\.mailfrom="?[^;\s@]*@?|dkim=pass[^;]*header\.d=)([A-Za-z0-9.-]+)`)
)

// Stored gives the sources of a message that was stored, by the fields that we
// put in front of it.
func Stored(prefix []byte) []string {
	h := mail.ParseHeader(append(prefix[:len(prefix):len(prefix)], "\r\n"...))
	var addr netip.Addr
	if m := client.FindStringSubmatch(h.Get("Received")); m != nil {
		addr, _ = netip.ParseAddr(m[1])
	}
	var domains []string
	for _, m := range proofs.FindAllStringSubmatch(h.Get("Authentication-Results"), -1) {
		domains = append(domains, m[1])
	}
	return names(addr, domains)
}
