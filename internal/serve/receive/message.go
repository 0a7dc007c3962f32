package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// MaxHeader bounds the header section, in octets. What is behind it counts as
// body: it is kept, but nothing of it is looked at.
const MaxHeader = 256 << 10

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// Copy streams r to w through a pooled buffer and gives r's error as it is.
func Copy(w io.Writer, r io.Reader) error {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := r.Read(*buf)
		if n > 0 {
			if _, err := w.Write((*buf)[:n]); err != nil {
				return fmt.Errorf("write body: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Tap passes a message on and keeps its header section, up to MaxHeader.
type Tap struct {
	W    io.Writer
	kept []byte
	done bool
}

// Write keeps what belongs to the header and passes p on.
func (t *Tap) Write(p []byte) (int, error) {
	if !t.done {
		from := max(len(t.kept)-3, 0)
		t.kept = append(t.kept, p[:min(len(p), MaxHeader-len(t.kept))]...)
		if i := bytes.Index(t.kept[from:], []byte("\r\n\r\n")); i >= 0 {
			t.kept, t.done = t.kept[:from+i+2], true
		}
		t.done = t.done || len(t.kept) == MaxHeader
	}
	return t.W.Write(p)
}

// Header gives the header section that passed by.
func (t *Tap) Header() *mail.Header { return mail.ParseHeader(t.kept) }

// MessageID gives the first identifier of a header's Message-ID, or "".
func MessageID(h *mail.Header) string {
	if ids := mail.MessageIDs(h.Get("Message-ID")); len(ids) > 0 {
		return strings.Trim(ids[0], "<>")
	}
	return ""
}

// maxSubject bounds the subject that events have, in octets.
const maxSubject = 200

// Subject gives the subject of a header for events: decoded, and not too long.
func Subject(h *mail.Header) string {
	s := strings.TrimSpace(mail.DecodeText(h.Get("Subject")))
	if len(s) > maxSubject {
		s = strings.ToValidUTF8(s[:maxSubject], "")
	}
	return s
}

// Commit puts body and transaction on disk and gives the final verdict. prefix
// is what stands in front of the body: Received and what the role adds.
func (s *Session) Commit(ctx context.Context, m *deliver.Accepted, w blob.Writer) smtpd.Verdict {
	stored, err := w.Commit(ctx)
	if err != nil {
		return s.Failed(m, err)
	}
	m.Body = stored
	m.Trace = s.Conn.Trace
	m.Recipients = s.Recipients
	if err := s.Intake.Accept(ctx, m); err != nil {
		return s.Failed(m, err)
	}
	return smtpd.Verdict{Reply: &mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "Accepted as " + string(s.Conn.Trace)}}
}

// Failed answers a message that could not be made durable.
func (s *Session) Failed(m *deliver.Accepted, err error) smtpd.Verdict {
	reply := mail.AsReply(err)
	if errors.Is(err, blob.ErrFull) || errors.Is(err, db.ErrFull) {
		reply = NoRoom.Because(err)
	}
	return s.Refused("DATA", &mail.Envelope{From: m.From}, reply)
}
