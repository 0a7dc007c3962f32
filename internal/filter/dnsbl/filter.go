package dnsbl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Bounds of one message.
const (
	maxHosts    = 20 // different names for each list
	maxFound    = 500
	maxQueries  = 16 // at the same time, over all lists
	maxEvidence = 3  // names told in one finding
)

// Filter is the filter "dnsbl". Its fields are set before use.
type Filter struct {
	Lists    []List
	Resolver dns.Resolver
	// Cache keeps verdicts; nil is one of CacheSize.
	Cache *Cache
	// Hosts gives the hosts of links in a message, as names or addresses;
	// nil gives none.
	Hosts func(m *filter.Message) []string
	// Never are domains that are not asked for, nor those below them.
	Never []string

	once  sync.Once
	zones []*zone
	never []string
	err   error
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "dnsbl" }

// Validate tells what is wrong with Lists and Never.
func (f *Filter) Validate() error {
	f.once.Do(f.build)
	return f.err
}

func (f *Filter) build() {
	seen := map[string]bool{}
	for _, l := range f.Lists {
		z, err := newZone(l)
		if err != nil {
			f.err = err
			return
		}
		k := string(z.Kind) + " " + z.Zone
		if seen[k] {
			f.err = fmt.Errorf("list %s is there twice", z.Name)
			return
		}
		seen[k] = true
		f.zones = append(f.zones, z)
	}
	for _, n := range f.Never {
		d, err := mail.ParseDomain(n)
		if err != nil {
			f.err = fmt.Errorf("domain %q that is never asked for: %w", n, err)
			return
		}
		f.never = append(f.never, string(d))
	}
	if f.Cache == nil {
		f.Cache = &Cache{}
	}
}

// Check implements filter.Filter. It asks all lists side by side; the error
// tells of every list that could not be used, and the findings of the others
// stand beside it.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	if err := f.Validate(); err != nil {
		return err
	}
	gate := make(chan struct{}, maxQueries)
	findings, errs := make([]mail.Finding, len(f.zones)), make([]error, len(f.zones))
	subjects := f.subjects(m)
	var wg sync.WaitGroup
	for i, z := range f.zones {
		if len(subjects[i]) == 0 {
			continue
		}
		wg.Go(func() { findings[i], errs[i] = f.ask(ctx, z, subjects[i], gate) })
	}
	wg.Wait()
	for i, finding := range findings {
		if finding.Symbol != "" {
			r.Add(finding)
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("list %s: %w", f.zones[i].Name, errs[i])
		}
	}
	return errors.Join(errs...)
}

// subjects gives what each list is asked about.
func (f *Filter) subjects(m *filter.Message) [][]subject {
	hosts := map[Kind][]string{Domain: senders(m)}
	if f.Hosts != nil && slices.ContainsFunc(f.zones, func(z *zone) bool { return z.Kind == URL }) {
		hosts[URL] = f.Hosts(m)
	}
	out := make([][]subject, len(f.zones))
	for i, z := range f.zones {
		if z.Kind == Address {
			if m.Account == "" && public(m.Client) {
				out[i] = []subject{{m.Client.Unmap().String(), reversed(m.Client)}}
			}
			continue
		}
		for _, h := range hosts[z.Kind] {
			s, ok := z.hostSubject(h)
			if !ok || slices.Contains(out[i], s) || under(s.name, f.never) {
				continue
			}
			if out[i] = append(out[i], s); len(out[i]) == maxFound {
				break
			}
		}
		out[i] = some(z.Kind, out[i])
	}
	return out
}

// some leaves as many as may be asked for. Of the hosts in links any: whoever
// writes a message knows which would be the first, and can put others there.
func some(kind Kind, all []subject) []subject {
	if kind == URL && len(all) > maxHosts {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return all[:min(len(all), maxHosts)]
}

// senders gives the domains of those who say that they sent the message, what
// is least easily changed first.
func senders(m *filter.Message) []string {
	hosts := []string{m.ClientName, string(m.From.Domain)}
	if author, n := m.Author(); n > 0 {
		hosts = append(hosts, string(author.Address.Domain))
	}
	for _, field := range []string{"Reply-To", "Sender"} {
		for _, value := range m.Header.Values(field) {
			list, _ := mail.ParseAddressList(value)
			for _, a := range list[:min(len(list), maxHosts)] {
				hosts = append(hosts, string(a.Address.Domain))
			}
		}
	}
	return append(hosts, m.Hello)
}

// answer is the outcome of one question.
type answer struct {
	verdict
	err error
}

// ask asks one list, if it is well, for all its subjects.
func (f *Filter) ask(ctx context.Context, z *zone, subjects []subject, gate chan struct{}) (mail.Finding, error) {
	if err := z.well(ctx, f.Resolver); err != nil {
		return mail.Finding{}, err
	}
	answers := make([]answer, len(subjects))
	var wg sync.WaitGroup
	for i, s := range subjects {
		wg.Go(func() {
			select {
			case gate <- struct{}{}:
				defer func() { <-gate }()
				answers[i] = f.query(ctx, z, s.name)
			case <-ctx.Done():
				answers[i].err = ctx.Err()
			}
		})
	}
	wg.Wait()
	for _, a := range answers {
		if a.refused != nil {
			z.fail(a.refused)
			return mail.Finding{}, a.refused
		}
	}
	return z.finding(subjects, answers)
}

func (f *Filter) query(ctx context.Context, z *zone, name string) answer {
	full := name + "." + z.Zone
	key := string(z.Kind) + " " + full
	now := time.Now()
	if v, ok := f.Cache.get(key, now); ok {
		return answer{verdict: v}
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	res, err := f.Resolver.Addrs(asking, full)
	switch {
	case dns.IsNotFound(err):
		f.Cache.put(key, verdict{}, now, notListed)
		return answer{}
	case err != nil:
		if ctx.Err() != context.Canceled {
			z.doubt()
		}
		return answer{err: plain(err)}
	}
	v := z.judge(res.Addrs)
	if v.refused == nil {
		f.Cache.put(key, v, now, res.TTL)
	}
	return answer{verdict: v}
}

// finding makes one finding of all answers of a list, with the heaviest weight:
// ten links to one spammer are no more than one.
func (z *zone) finding(subjects []subject, answers []answer) (mail.Finding, error) {
	var f mail.Finding
	var evidence []string
	var err error
	for i, a := range answers {
		if a.err != nil {
			err = a.err
		}
		if !a.listed {
			continue
		}
		if f.Symbol == "" || max(a.weight, -a.weight) > max(f.Score, -f.Score) {
			f.Symbol, f.Score = z.symbol, a.weight
		}
		evidence = append(evidence, a.describe(subjects[i].shown))
	}
	if f.Symbol == "" {
		return f, err
	}
	f.Evidence = z.Name + " lists " + strings.Join(evidence[:min(len(evidence), maxEvidence)], "; ")
	if n := len(evidence) - maxEvidence; n > 0 {
		f.Evidence += fmt.Sprintf("; and %d more", n)
	}
	return f, err
}

func (v *verdict) describe(shown string) string {
	codes := make([]string, 0, len(v.answers))
	for _, a := range v.answers {
		if s := a.String(); !slices.Contains(codes, s) {
			codes = append(codes, s)
		}
	}
	s := shown + " (" + strings.Join(codes, ", ")
	if len(v.words) > 0 {
		s += ": " + strings.Join(v.words, ", ")
	}
	return s + ")"
}
