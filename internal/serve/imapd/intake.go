package imapd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
)

// copyBuffers carry messages.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// intake writes a message that comes by IMAP to the body store. Text is stored
// as it will be told: bare LF becomes CRLF and NUL becomes 0x80, which is what
// other servers make of them when they are told. What came as literal8 is kept
// as it is until its end; then parts with binary octets are encoded, as
// whoever fetches them without BINARY could not be told of them (RFC 3516
// section 4.2).
type intake struct {
	w      blob.Writer
	binary bool // a literal8 was among what came
	last   byte // octet
	raw    bool // w holds something that is no text
	buf    []byte
}

func (in *intake) size() int64 { return in.w.Size() }

func (in *intake) abort() { in.w.Abort() }

// Write implements io.Writer.
func (in *intake) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	clean := isText(p, in.last)
	before := in.last
	in.last = p[len(p)-1]
	if clean || in.binary {
		in.raw = in.raw || !clean
		return in.w.Write(p)
	}
	in.buf = appendText(in.buf[:0], p, before)
	if _, err := in.w.Write(in.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// isText tells whether p, behind an octet, has neither bare LF nor NUL.
func isText(p []byte, before byte) bool {
	if bytes.IndexByte(p, 0) >= 0 {
		return false
	}
	for at := 0; ; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return true
		}
		if at += i; at > 0 {
			before = p[at-1]
		}
		if before != '\r' {
			return false
		}
		at++
	}
}

// appendText adds p, which stands behind an octet, as text.
func appendText(to, p []byte, before byte) []byte {
	for _, c := range p {
		if c == '\n' && before != '\r' {
			to = append(to, '\r')
		}
		if before = c; c == 0 {
			c = 0x80
		}
		to = append(to, c)
	}
	return to
}

// end makes text of what came as literal8, where it is none.
func (in *intake) end(ctx context.Context, bodies *body.Store) error {
	if !in.raw {
		return nil
	}
	stored, err := in.w.Commit(ctx)
	if err != nil {
		return err
	}
	r, err := bodies.Blobs.Open(ctx, stored.Ref)
	if err != nil {
		return err
	}
	defer r.Close()
	if in.w, err = bodies.Create(ctx); err != nil {
		in.w = none{}
		return err
	}
	from := func() io.Reader { return io.NewSectionReader(r, 0, r.Size()) }
	text := from()
	c, err := mail.Convert(from, true)
	if err == nil {
		text = c.Reader(text)
	} else if !errors.As(err, new(*mail.UnfitError)) {
		return err
	}
	in.binary, in.raw, in.last = false, false, 0
	_, err = io.Copy(struct{ io.Writer }{in}, text)
	return err
}

// none is the writer of a body that could not be begun.
type none struct{ blob.Writer }

func (none) Abort()      {}
func (none) Size() int64 { return 0 }
