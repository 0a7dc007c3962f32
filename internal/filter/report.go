package filter

import (
	"io"
	"sync"

	"github.com/migiwa/migiwa/internal/mail"
)

// Finding is a finding and the filter that made it.
type Finding struct {
	Filter string
	mail.Finding
}

// Field is a header field that a filter made.
type Field struct {
	Filter string
	Text   string // ends in CRLF
}

// Change is what a filter has made of a message for those who have it on.
type Change struct {
	Message func() (io.ReadCloser, error) // as it is now, with CRLF; nil: as it came
	From    *mail.Address                 // the envelope sender; nil: as it came
	Also    []mail.Address                // who gets the message, too
}

// maxFindings bounds what one filter may say of one message to one recipient.
const maxFindings = 50

// Report takes the findings of one filter on one message.
type Report struct {
	// Recipients are those who have the filter on, by their place in the
	// recipients of the message.
	Recipients []Recipient

	mu       sync.Mutex
	closed   bool // a filter that is too late says nothing more
	findings map[int][]mail.Finding
	fields   []string
	change   *Change
}

// Recipient is one recipient as a filter needs to know it.
type Recipient struct {
	Index   int    // in the recipients of the message
	Account string // its address, "" when it is none of ours
	ID      int64  // of the account
	Detail  string // of its address: what stands behind the plus
	Address mail.Address
}

// Add tells a finding to all recipients of the report.
func (r *Report) Add(f mail.Finding) {
	for _, to := range r.Recipients {
		r.AddFor(to.Index, f)
	}
}

// AddFor tells a finding to one recipient of the report.
func (r *Report) AddFor(index int, f mail.Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && len(r.findings[index]) < maxFindings {
		r.findings[index] = append(r.findings[index], f)
	}
}

// AddField tells a header field, which ends in CRLF, to all recipients of the
// report.
func (r *Report) AddField(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.fields = append(r.fields, text)
	}
}

// Change tells what has become of the message, for all recipients of the
// report.
func (r *Report) Change(c Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.change = &c
	}
}

// close ends the report: what is said from now on is dropped.
func (r *Report) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}
