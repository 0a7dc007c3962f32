package report

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/report/arf"
	"github.com/migiwa/migiwa/internal/senderauth"
)

// Complaints tells senders that want to know it when a user here takes their
// mail for spam (CFBL-Address, RFC 9477). They do not hear who.
type Complaints struct {
	Post
	Resolver dns.Resolver

	mu   sync.Mutex
	told map[string]bool // mail that was complained about, by Message-ID
}

// maxTold bounds what is remembered, so that moving mail to and fro tells once.
const maxTold = 10_000

// returned are the fields of a message that go back with a complaint: none that
// names a recipient.
var returned = []string{"From", "Date", "Message-ID", "Subject", "List-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID", "CFBL-Address", "CFBL-Feedback-ID", "DKIM-Signature"}

// About complains about a message, where its sender wants that, and tells
// whether he does.
func (c *Complaints) About(ctx context.Context, message io.Reader) (bool, error) {
	raw, err := io.ReadAll(message)
	if err != nil {
		return false, err
	}
	h := mail.ParseHeader(raw)
	to, ok := c.wanted(h)
	if !ok || !c.first(h.Get("Message-ID")) {
		return false, nil
	}
	signatures, _, err := (&senderauth.Verifier{Resolver: c.Resolver}).Verify(ctx, bytes.NewReader(raw))
	if err != nil {
		return false, err
	}
	author, err := senderauth.AuthorDomain(h)
	if err != nil || !slices.ContainsFunc(signatures, func(s senderauth.DKIMResult) bool { return vouches(s, author, string(to.Domain)) }) {
		return false, nil
	}
	r := &arf.Report{Type: "abuse", UserAgent: "migiwa", ReportingMTA: c.Intake.Hostname, Domains: []string{author}}
	var header bytes.Buffer
	for f := range h.All() {
		if slices.ContainsFunc(returned, f.Is) {
			header.WriteString(f.Raw())
		}
	}
	words := fmt.Sprintf("A user here has marked a message from %s as unwanted.\r\n", author)
	return true, c.Post.Send(ctx, to, "FW: "+mail.DecodeText(h.Get("Subject")), "report; report-type=feedback-report", text(words),
		part{map[string]string{"Content-Type": "message/feedback-report"}, r.Fields()},
		part{map[string]string{"Content-Type": "text/rfc822-headers"}, header.Bytes()})
}

// wanted gives where complaints shall go, in the format that is made here.
func (c *Complaints) wanted(h *mail.Header) (mail.Address, bool) {
	values := h.Values("CFBL-Address")
	if len(values) != 1 {
		return mail.Address{}, false
	}
	address, params, _ := strings.Cut(values[0], ";")
	if p := strings.ToLower(strings.TrimSpace(params)); p != "" && p != "report=arf" {
		return mail.Address{}, false
	}
	a, err := mail.ParseAddress(strings.Trim(strings.TrimSpace(address), "<>"))
	return a, err == nil && a.Domain != ""
}

// first tells whether nobody here has complained about the message yet.
func (c *Complaints) first(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[id] {
		return false
	}
	if c.told == nil || len(c.told) >= maxTold {
		c.told = map[string]bool{}
	}
	c.told[id] = true
	return true
}

// vouches tells whether a signature says that complaints about an author go to
// a destination: it is of the author's organisation, passes, and covers the
// field, and the destination is within its domain (RFC 9477 section 3.1).
func vouches(s senderauth.DKIMResult, author, destination string) bool {
	within := func(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }
	return s.Result == senderauth.Pass && !s.Partial && slices.Contains(s.Fields, "cfbl-address") &&
		within(author, s.Domain) && within(strings.ToLower(destination), s.Domain)
}
