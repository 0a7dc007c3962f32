// Package chain writes events into a file that shows later tampering.
//
// The file is JSON lines: a Header, a line for each event, an end. Each line
// has the hash of all before it and of itself: SHA-256 of the last line's hash
// and of the JSON of the header or event, byte for byte as it stands there. Who
// changes, takes out, adds or moves a line must change all hashes behind it,
// and the last one is known elsewhere: it is in the event that tells of the
// export.
package chain

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

// Header begins a file.
type Header struct {
	Format string    `json:"format"` // Format
	Query  string    `json:"query"`
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	Made   time.Time `json:"made"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// Format is what Header says of itself.
const Format = "migiwa events, SHA-256 chain, 1"

// line is one line of a file; one of Header, Event and End is set.
type line struct {
	Header json.RawMessage `json:"header,omitempty"`
	Event  json.RawMessage `json:"event,omitempty"`
	End    json.RawMessage `json:"end,omitempty"` // number of events
	Hash   string          `json:"hash"`
}

// Writer writes a file.
type Writer struct {
	w     *bufio.Writer
	hash  [sha256.Size]byte
	count int64
}

// NewWriter begins a file.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	c := &Writer{w: bufio.NewWriterSize(w, 1<<16)}
	h.Format = Format
	b, err := marshal(h)
	if err == nil {
		err = c.write(line{Header: b}, b)
	}
	return c, err
}

// Write adds an event.
func (c *Writer) Write(e event.Event) error {
	b, err := marshal(e)
	if err == nil {
		err = c.write(line{Event: b}, b)
	}
	c.count++
	return err
}

// Close ends the file and gives the last hash.
func (c *Writer) Close() (hash string, err error) {
	b, err := marshal(c.count)
	if err == nil {
		err = c.write(line{End: b}, b)
	}
	return hex.EncodeToString(c.hash[:]), errors.Join(err, c.w.Flush())
}

// marshal gives JSON as it will stand in a line.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), err
}

func (c *Writer) write(l line, content []byte) error {
	c.hash = next(c.hash, content)
	l.Hash = hex.EncodeToString(c.hash[:])
	b, err := marshal(l)
	if err == nil {
		_, err = c.w.Write(append(b, '\n'))
	}
	return err
}

func next(hash [sha256.Size]byte, content []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(hash[:])
	h.Write(content)
	return [sha256.Size]byte(h.Sum(nil))
}

// Report is what Verify found.
type Report struct {
	Header Header `json:"header"`
	Events int64  `json:"events"`
	Hash   string `json:"hash"` // the last one
}

// TamperError tells where a file is not what was written.
type TamperError struct {
	Line int64
	Why  string
}

func (e *TamperError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Why) }

// maxLine is the longest line that is read, in octets.
const maxLine = 1 << 20

// Verify reads a file and tells whether it is as it was written; its error is
// a *TamperError when it is not. Whether it is the file that was written then,
// the last hash tells.
func Verify(r io.Reader) (rep Report, err error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 1<<16), maxLine)
	var hash [sha256.Size]byte
	n, ended := int64(0), false
	for sc.Scan() {
		n++
		if ended {
			return rep, &TamperError{n, "something stands behind the end"}
		}
		var l line
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			return rep, &TamperError{n, "it is no line of such a file"}
		}
		content, err := rep.take(n, &l)
		if err != nil {
			return rep, err
		}
		hash = next(hash, content)
		if l.Hash != hex.EncodeToString(hash[:]) {
			return rep, &TamperError{n, "its hash is wrong: it, or what stands before it, was changed"}
		}
		rep.Hash, ended = l.Hash, l.End != nil
	}
	if err := sc.Err(); err != nil {
		return rep, &TamperError{n + 1, err.Error()}
	}
	if !ended {
		return rep, &TamperError{n, "the end is missing"}
	}
	return rep, nil
}

// take gives what of a line is hashed.
func (rep *Report) take(n int64, l *line) ([]byte, error) {
	switch {
	case (n == 1) != (l.Header != nil):
		return nil, &TamperError{n, "the header is missing or in the wrong place"}
	case l.Header != nil:
		if json.Unmarshal(l.Header, &rep.Header) != nil || rep.Header.Format != Format {
			return nil, &TamperError{n, "the header is of another format"}
		}
		return l.Header, nil
	case l.Event != nil && l.End == nil:
		rep.Events++
		return l.Event, nil
	case l.End != nil && l.Event == nil:
		if string(l.End) != fmt.Sprint(rep.Events) {
			return nil, &TamperError{n, "the number of events is wrong"}
		}
		return l.End, nil
	}
	return nil, &TamperError{n, "it is no line of such a file"}
}
