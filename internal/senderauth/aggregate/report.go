// Package aggregate reads and writes DMARC aggregate reports (RFC 9990; their
// older form is that of RFC 7489 appendix C). Nothing in it asks a network or a
// clock.
package aggregate

import (
	"strings"
)

// Report is one report: what a receiver saw of mail that shows a domain as its
// author's. Words are as RFC 9990 section 3.1 spells them, in lower case; what
// a reporter left out is "".
type Report struct {
	Version  string   `xml:"version,omitempty"`
	Metadata Metadata `xml:"report_metadata"`
	Policy   Policy   `xml:"policy_published"`
	Records  []Record `xml:"record"`
}

// Metadata tells who reports of when.
type Metadata struct {
	OrgName      string   `xml:"org_name"`
	Email        string   `xml:"email"`
	ExtraContact string   `xml:"extra_contact_info,omitempty"`
	ReportID     string   `xml:"report_id"`
	Begin        Seconds  `xml:"date_range>begin"`
	End          Seconds  `xml:"date_range>end"`
	Errors       []string `xml:"error"`
	Generator    string   `xml:"generator,omitempty"`
}

// Policy is the record that the reporter found.
type Policy struct {
	Domain          string `xml:"domain"`
	DiscoveryMethod string `xml:"discovery_method,omitempty"` // psl or treewalk
	Policy          string `xml:"p,omitempty"`
	Subdomains      string `xml:"sp,omitempty"`
	Nonexistent     string `xml:"np,omitempty"`
	DKIM            string `xml:"adkim,omitempty"` // r or s
	SPF             string `xml:"aspf,omitempty"`
	FailureOptions  string `xml:"fo,omitempty"`
	Testing         string `xml:"testing,omitempty"` // n or y
	Percent         string `xml:"pct,omitempty"`     // of the older form
}

// Record counts messages that were alike in everything it tells.
type Record struct {
	Source       string   `xml:"row>source_ip"`
	Count        Number   `xml:"row>count" json:"-"`               // in JSON a Record is what messages have in common
	Disposition  string   `xml:"row>policy_evaluated>disposition"` // none, pass, quarantine or reject
	DKIM         string   `xml:"row>policy_evaluated>dkim"`        // pass or fail, for the author's domain
	SPF          string   `xml:"row>policy_evaluated>spf"`
	Reasons      []Reason `xml:"row>policy_evaluated>reason"`
	EnvelopeTo   string   `xml:"identifiers>envelope_to,omitempty"`
	EnvelopeFrom string   `xml:"identifiers>envelope_from"`
	HeaderFrom   string   `xml:"identifiers>header_from"`
	Signatures   []DKIM   `xml:"auth_results>dkim"`
	Senders      []SPF    `xml:"auth_results>spf"`
}

// Reason is why a receiver did not do what the policy asks for.
type Reason struct {
	Type    string `xml:"type"`
	Comment string `xml:"comment,omitempty"`
}

// DKIM is the outcome of one signature.
type DKIM struct {
	Domain      string `xml:"domain"`
	Selector    string `xml:"selector"` // may be empty; the older schema wants it
	Result      string `xml:"result"`
	HumanResult string `xml:"human_result,omitempty"`
}

// SPF is the outcome of SPF.
type SPF struct {
	Domain string `xml:"domain"`
	Scope  string `xml:"scope,omitempty"` // mfrom; helo in the older form
	Result string `xml:"result"`
}

// Passed tells whether the author's domain was proven.
func (r *Record) Passed() bool { return r.DKIM == "pass" || r.SPF == "pass" }

// maxValue bounds one value that a stranger wrote, in octets.
const maxValue = 1000

// tidy cuts what is long, and spells words as the schema does.
func (r *Report) tidy() {
	m := &r.Metadata
	clean(&m.OrgName, &m.Email, &m.ExtraContact, &m.ReportID, &m.Generator)
	m.Errors = m.Errors[:min(len(m.Errors), 100)]
	for i := range m.Errors {
		clean(&m.Errors[i])
	}
	p := &r.Policy
	lower(&p.Domain, &p.DiscoveryMethod, &p.Policy, &p.Subdomains, &p.Nonexistent, &p.DKIM, &p.SPF, &p.FailureOptions, &p.Testing, &p.Percent)
}

func (r *Record) tidy() {
	lower(&r.Source, &r.Disposition, &r.DKIM, &r.SPF, &r.EnvelopeTo, &r.EnvelopeFrom, &r.HeaderFrom)
	r.Reasons = r.Reasons[:min(len(r.Reasons), 100)]
	for i := range r.Reasons {
		lower(&r.Reasons[i].Type)
		clean(&r.Reasons[i].Comment)
	}
	r.Signatures = r.Signatures[:min(len(r.Signatures), 100)]
	for i := range r.Signatures {
		s := &r.Signatures[i]
		lower(&s.Domain, &s.Result)
		clean(&s.Selector, &s.HumanResult)
	}
	r.Senders = r.Senders[:min(len(r.Senders), 100)]
	for i := range r.Senders {
		lower(&r.Senders[i].Domain, &r.Senders[i].Scope, &r.Senders[i].Result)
	}
}

// clean makes one line of a value.
func clean(values ...*string) {
	for _, v := range values {
		*v = strings.Join(strings.Fields(*v), " ")
		if len(*v) > maxValue {
			*v = strings.ToValidUTF8((*v)[:maxValue], "")
		}
	}
}

func lower(values ...*string) {
	clean(values...)
	for _, v := range values {
		*v = strings.ToLower(*v)
	}
}
