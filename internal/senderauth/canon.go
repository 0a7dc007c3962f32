package senderauth

import (
	"crypto/sha256"
	"hash"
	"strings"
)

// relaxedHeader canonicalises one field with its line end (RFC 6376 section
// 3.4.2). raw is the field as it stands, folding included.
func relaxedHeader(raw string) string {
	name, value, _ := strings.Cut(raw, ":")
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' })
	return strings.ToLower(strings.TrimRight(name, " \t")) + ":" + strings.Join(words, " ") + "\r\n"
}

// BodyHash hashes a message body in relaxed canonicalisation (RFC 6376 section
// 3.4.4) as it is written to it, in constant memory. A line may end in CRLF or
// LF; both count as CRLF, as which they will be sent.
type BodyHash struct {
	sum     hash.Hash
	out     []byte
	empty   int  // line ends seen that only count when more text follows
	space   bool // white space seen that only counts when the line goes on
	cr      bool // a CR that may belong to a line end
	written bool
}

// NewBodyHash gives the hash of an empty body.
func NewBodyHash() *BodyHash { return &BodyHash{sum: sha256.New()} }

// Write implements io.Writer. It never fails.
func (h *BodyHash) Write(b []byte) (int, error) {
	h.out = h.out[:0]
	for _, c := range b {
		if h.cr && c != '\n' {
			h.text('\r')
		}
		h.cr = c == '\r'
		switch c {
		case '\r':
		case '\n':
			h.empty++
			h.space = false
		case ' ', '\t':
			h.space = true
		default:
			h.text(c)
		}
	}
	h.sum.Write(h.out)
	return len(b), nil
}

func (h *BodyHash) text(c byte) {
	for ; h.empty > 0; h.empty-- {
		h.out = append(h.out, '\r', '\n')
		if len(h.out) > 4096 { // a bomb of empty lines stays small
			h.sum.Write(h.out)
			h.out = h.out[:0]
		}
	}
	if h.space {
		h.out = append(h.out, ' ')
		h.space = false
	}
	h.out = append(h.out, c)
	h.written = true
}

// Sum ends the body and gives its hash. Nothing may be written afterwards.
func (h *BodyHash) Sum() []byte {
	h.out = h.out[:0]
	if h.cr {
		h.cr = false
		h.text('\r')
	}
	if h.written {
		h.out = append(h.out, '\r', '\n')
	}
	h.written = false
	h.sum.Write(h.out)
	return h.sum.Sum(nil)
}
