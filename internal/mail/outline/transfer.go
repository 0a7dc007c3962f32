package outline

import (
	"io"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
)

// Transfer gives the transfer encoding in lower case: "7bit", "8bit",
// "binary", "base64" or "quoted-printable", and false for one that is unknown,
// which nobody can undo.
func (p *Part) Transfer() (string, bool) {
	switch e := strings.ToLower(p.Encoding); e {
	case "":
		return "7bit", true
	case "7bit", "8bit", "binary", "base64", "quoted-printable":
		return e, true
	}
	return "", false
}

// Decode undoes the transfer encoding of the part's body, as BINARY gives it
// (RFC 3516 section 4.3). It gives false where the encoding is unknown.
func (p *Part) Decode(body io.Reader) (io.Reader, bool) {
	encoding, ok := p.Transfer()
	if !ok {
		return nil, false
	}
	if p.Kind != Leaf { // composite parts have no encoding of their own (RFC 2045 section 6.4)
		return body, true
	}
	return (&mail.Part{Encoding: encoding}).Decode(body), true
}
