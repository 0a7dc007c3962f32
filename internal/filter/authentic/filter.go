// Package authentic finds out whether a message comes from whom it says: by
// SPF, Sender ID, DKIM, ARC and DMARC.
package authentic

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-msgauth/authres"
	"golang.org/x/sync/errgroup"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// Filter checks senders. What it finds goes into Authentication-Results (RFC
// 8601), and only what speaks against a message becomes a finding.
type Filter struct {
	Resolver dns.Resolver
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "senderauth" }

// Proof is what is proven of a message's origin.
type Proof struct {
	SPF       senderauth.SPFResult // "" when the client is not known
	SPFDomain string               // that SPF is about
	SenderID  senderauth.SenderIDResult
	DKIM      []senderauth.DKIMResult
	ARC       senderauth.ARCResult
	DMARC     senderauth.DMARCResult
}

// Domains gives the domains that stand behind the message: those SPF passed
// for or DKIM has signed with.
func (p Proof) Domains() []string {
	var out []string
	if p.SPF == senderauth.SPFPass {
		out = append(out, p.SPFDomain)
	}
	for _, s := range p.signed() {
		out = append(out, string(s))
	}
	return out
}

// signed gives the domains of signatures that count for DMARC: one that leaves
// room for more text does not.
func (p Proof) signed() []senderauth.Signed {
	var out []senderauth.Signed
	for _, d := range p.DKIM {
		if d.Result == senderauth.Pass && !d.Partial {
			out = append(out, senderauth.Signed(d.Domain))
		}
	}
	return out
}

// Check implements filter.Filter.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	p, err := f.Prove(ctx, m)
	if err != nil {
		return err
	}
	if m.Hostname != "" {
		r.AddField(p.field(m))
	}
	for _, finding := range p.findings() {
		r.Add(finding)
	}
	return nil
}

// Prove makes all checks, once for each message.
func (f *Filter) Prove(ctx context.Context, m *filter.Message) (Proof, error) {
	type proven struct {
		Proof
		err error
	}
	p := filter.Once(m, func(m *filter.Message) proven {
		p, err := f.prove(ctx, m)
		return proven{p, err}
	})
	return p.Proof, p.err
}

// prove asks for SPF, Sender ID, the keys of signatures and the author's policy
// side by side: DNS is what takes the time.
func (f *Filter) prove(ctx context.Context, m *filter.Message) (p Proof, err error) {
	body, err := m.Open()
	if err != nil {
		return p, err
	}
	defer body.Close()
	var g errgroup.Group
	beside := func(check func()) {
		g.Go(func() error {
			return filter.Contained(func() error { check(); return nil })
		})
	}
	if m.Client.IsValid() {
		beside(func() { p.SPF = senderauth.CheckSPF(ctx, f.Resolver, m.Client, m.Hello, m.From) })
		beside(func() { p.SenderID = senderauth.CheckSenderID(ctx, f.Resolver, m.Client, m.Hello, m.Header) })
	}
	var policy senderauth.DMARCResult
	beside(func() { policy = (&senderauth.DMARC{Resolver: f.Resolver}).Find(ctx, m.Header) })
	v := &senderauth.Verifier{Resolver: f.Resolver}
	p.DKIM, p.ARC, err = v.Verify(ctx, body)
	err = errors.Join(err, g.Wait())
	p.SPFDomain = strings.ToLower(string(m.From.Domain))
	if m.From.IsNull() {
		p.SPFDomain = strings.ToLower(m.Hello)
	}
	spf := ""
	if p.SPF == senderauth.SPFPass {
		spf = p.SPFDomain
	}
	p.DMARC = policy.Align(spf, p.signed())
	return p, err
}

// findings are what speaks against the message.
func (p Proof) findings() []mail.Finding {
	var out []mail.Finding
	add := func(symbol, evidence string) {
		out = append(out, mail.Finding{Symbol: symbol, Score: filter.Score(symbol), Evidence: evidence})
	}
	switch p.SPF {
	case senderauth.SPFFail:
		add("SPF_FAIL", p.SPFDomain+" does not let this server send for it")
	case senderauth.SPFSoftFail:
		add("SPF_SOFTFAIL", p.SPFDomain+" doubts that this server sends for it")
	}
	for _, d := range p.DKIM {
		if d.Result == senderauth.Fail && !d.Testing {
			add("DKIM_FAIL", "signature of "+d.Domain+": "+d.Reason)
			break
		}
	}
	switch r := p.DMARC; r.Result {
	case "permerror":
		add("DMARC_NO_AUTHOR", r.Reason)
	case "fail":
		said := fmt.Sprintf("nothing proves that this comes from %s, whose policy is %s", r.Domain, r.Policy)
		if p.ARC.Result == senderauth.Pass {
			said += "; " + p.ARC.Domain + " has handed it on"
		}
		add("DMARC_FAIL_"+strings.ToUpper(string(r.Policy)), said)
	}
	return out
}

// field gives Authentication-Results.
func (p Proof) field(m *filter.Message) string {
	var results []authres.Result
	if p.SPF != "" {
		results = append(results, &authres.SPFResult{Value: authres.ResultValue(p.SPF), From: token(m.From.String()), Helo: token(m.Hello)})
	}
	for _, d := range p.DKIM {
		results = append(results, &authres.DKIMResult{Value: authres.ResultValue(d.Result), Reason: token(d.Reason), Domain: token(d.Domain), Identifier: token(d.Identity)})
	}
	if id := p.SenderID; id.Result != "" && id.Result != senderauth.SPFNone {
		results = append(results, &authres.SenderIDResult{Value: authres.ResultValue(id.Result), HeaderKey: strings.ToLower(id.Field), HeaderValue: token(id.Address.Wire)})
	}
	if p.ARC.Result != senderauth.None {
		results = append(results, &authres.GenericResult{Method: "arc", Value: authres.ResultValue(p.ARC.Result)})
	}
	results = append(results, &authres.DMARCResult{Value: authres.ResultValue(p.DMARC.Result), From: token(p.DMARC.Domain)})
	return "Authentication-Results: " + strings.ReplaceAll(authres.Format(m.Hostname, results), "; ", ";\r\n\t") + "\r\n"
}

// token keeps what strangers wrote from breaking out of its place.
func token(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`;"()\<>,`, r) {
			return '_'
		}
		return r
	}, s[:min(len(s), 200)])
}
