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

// Tap passes a message on and keeps its header section, up to MaxHeader. It
// must be closed behind the message.
type Tap struct {
	W io.Writer
	// Edit may take fields away before the header is passed on, and tells
	// whether it has; nil does not. Header gives what came in all the same.
	Edit func(*mail.Header) bool

	kept []byte // of the header; until done, all there is
	done bool
}

// Write keeps what belongs to the header and passes p on, once its header is
// whole.
func (t *Tap) Write(p []byte) (int, error) {
	if t.done {
		return t.W.Write(p)
	}
	from := max(len(t.kept)-3, 0)
	n := min(len(p), MaxHeader-len(t.kept))
	t.kept = append(t.kept, p[:n]...)
	if i := bytes.Index(t.kept[from:], []byte("\r\n\r\n")); i >= 0 {
		end := from + i + 2
		n -= len(t.kept) - end
		t.kept = t.kept[:end]
	} else if len(t.kept) < MaxHeader {
		return len(p), nil
	}
	if err := t.pass(); err != nil {
		return 0, err
	}
	if n < 0 { // the header's last CRLF was there before, and is passed
		return len(p), t.rest([]byte("\r\n")[:-n], p)
	}
	return len(p), t.rest(p[n:])
}

func (t *Tap) rest(parts ...[]byte) error {
	for _, p := range parts {
		if _, err := t.W.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// pass gives the header on.
func (t *Tap) pass() error {
	t.done = true
	out := t.kept
	if t.Edit != nil {
		if h := mail.ParseHeader(t.kept); t.Edit(h) {
			out = h.Bytes()
		}
	}
	_, err := t.W.Write(out)
	return err
}

// Close passes on a message that has no body.
func (t *Tap) Close() error {
	if t.done {
		return nil
	}
	return t.pass()
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

// Commit puts body and transaction on disk and gives the final verdict, which
// may be that of the filters in in.
func (s *Session) Commit(ctx context.Context, env *mail.Envelope, m *deliver.Accepted, w blob.Writer, in *Inspection) smtpd.Verdict {
	stored, err := w.Commit(ctx)
	if err != nil {
		return s.Failed(m, err)
	}
	m.Body = stored
	open := func() (io.ReadCloser, error) { return s.Bodies.Blobs.Open(ctx, stored.Ref) }
	if reply := in.Judge(ctx, env, open); reply != nil {
		return s.Refused("DATA", env, reply)
	}
	m.Trace = s.Conn.Trace
	m.Recipients = s.Recipients
	messages, err := in.Divide(ctx, m)
	if err != nil {
		return s.Failed(m, err)
	}
	if err := s.Intake.Accept(ctx, messages...); err != nil {
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
