// Package arf reads and writes feedback reports on single messages: the Abuse
// Reporting Format (RFC 5965), with what reports of failed authentication add
// (RFC 6591).
package arf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// Report is one report.
type Report struct {
	Type         string // abuse, fraud, virus, not-spam, auth-failure, other; lower case
	UserAgent    string
	Incidents    int // messages alike; 1 when the report does not say
	MailFrom     string
	RcptTo       []string
	Arrival      string // as it was written
	Source       netip.Addr
	ReportingMTA string
	Domains      []string // reported
	AuthFailure  string   // adsp, bodyhash, revoked, signature, spf, dmarc; of auth-failure

	Original *mail.Header // of the message it is about; empty when it was left out
}

// ErrNone means that a message is no feedback report.
var ErrNone = errors.New("no feedback report")

// Limits of what is read.
const (
	maxFields = 64 << 10 // octets of the report itself
	maxList   = 100
)

// Read reads the report that a message is.
func Read(message io.Reader) (*Report, error) {
	r := &Report{Incidents: 1, Original: &mail.Header{}}
	found, original := false, false
	_, err := mail.ReadMIME(message, mail.DefaultMIMELimits(), func(p *mail.Part, body io.Reader) error {
		switch {
		case p.Parent != nil && strings.HasPrefix(p.Parent.Type, "message/") && !original:
			original, r.Original = true, p.Header
		case !p.Leaf:
		case p.Is("message/feedback-report") && !found:
			raw, err := io.ReadAll(io.LimitReader(p.Decode(body), maxFields))
			if err != nil {
				return err
			}
			found = true
			r.fields(mail.ParseHeader(append(bytes.TrimLeft(raw, "\r\n"), "\r\n\r\n"...)))
		case p.Is("text/rfc822-headers") && !original:
			raw, err := io.ReadAll(io.LimitReader(p.Decode(body), maxFields))
			if err != nil {
				return err
			}
			original, r.Original = true, mail.ParseHeader(append(raw, "\r\n\r\n"...))
		}
		return nil
	})
	if err == nil && !found {
		err = ErrNone
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// fields takes the fields of RFC 5965 section 3.
func (r *Report) fields(h *mail.Header) {
	for f := range h.All() {
		value := strings.Join(strings.Fields(mail.DecodeText(f.Value())), " ")
		value = strings.ToValidUTF8(value[:min(len(value), 500)], "")
		switch strings.ToLower(f.Name) {
		case "feedback-type":
			r.Type = strings.ToLower(value)
		case "user-agent":
			r.UserAgent = value
		case "incidents":
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				r.Incidents = n
			}
		case "original-mail-from":
			r.MailFrom = strings.Trim(value, "<> ")
		case "original-rcpt-to":
			if len(r.RcptTo) < maxList {
				r.RcptTo = append(r.RcptTo, strings.Trim(value, "<> "))
			}
		case "arrival-date", "received-date":
			r.Arrival = value
		case "source-ip":
			r.Source, _ = netip.ParseAddr(strings.Trim(value, "[]"))
		case "reporting-mta":
			r.ReportingMTA = strings.TrimSpace(strings.TrimPrefix(value, "dns;"))
		case "reported-domain":
			if len(r.Domains) < maxList {
				r.Domains = append(r.Domains, strings.ToLower(value))
			}
		case "auth-failure":
			r.AuthFailure = strings.ToLower(value)
		}
	}
}

// Fields writes the part message/feedback-report.
func (r *Report) Fields() []byte {
	var b bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, strings.Join(strings.Fields(value), " "))
		}
	}
	field("Feedback-Type", r.Type)
	field("User-Agent", r.UserAgent)
	field("Version", "1")
	if r.MailFrom != "" {
		field("Original-Mail-From", "<"+r.MailFrom+">")
	}
	for _, to := range r.RcptTo {
		field("Original-Rcpt-To", "<"+to+">")
	}
	field("Arrival-Date", r.Arrival)
	if r.Source.IsValid() {
		field("Source-IP", r.Source.String())
	}
	if r.ReportingMTA != "" {
		field("Reporting-MTA", "dns; "+r.ReportingMTA)
	}
	for _, d := range r.Domains {
		field("Reported-Domain", d)
	}
	field("Auth-Failure", r.AuthFailure)
	if r.Incidents > 1 {
		field("Incidents", strconv.Itoa(r.Incidents))
	}
	return b.Bytes()
}
