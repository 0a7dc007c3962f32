package outline

import (
	"bytes"
	"strings"
)

// Section gives the part that BODY[n.n...] means (RFC 9051 section 6.4.5.1);
// an empty path means the message itself. Number 1 of what is no multipart is
// its own body.
//
// Of the part given, BODY[path] is the body and BODY[path.MIME] the header;
// BODY[path.HEADER] and BODY[path.TEXT] are header and body of its Inner.
func (o *Outline) Section(path []int) (*Part, bool) {
	p := o.Root()
	for i, n := range path {
		if i > 0 && p.Kind == Message { // the numbers go on in the message
			p = &p.Children[0]
		}
		switch {
		case p.Kind == Multipart && n >= 1 && n <= len(p.Children):
			p = &p.Children[n-1]
		case p.Kind == Multipart || n != 1:
			return nil, false
		}
	}
	return p, true
}

// Inner gives the message in a Message part.
func (p *Part) Inner() (*Part, bool) {
	if p.Kind != Message {
		return nil, false
	}
	return &p.Children[0], true
}

// Fields gives the fields of those names, or with not all the others, of the
// octets of a header section, in the order and form they stand there, and the
// empty line (RFC 9051 section 6.4.5.1, HEADER.FIELDS and HEADER.FIELDS.NOT).
// Where the section has none, only not leaves it out, as Dovecot does.
func Fields(header []byte, names []string, not bool) []byte {
	wanted := oneOf(names)
	out := make([]byte, 0, 256)
	in := not
	for line := range bytes.Lines(header) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return append(out, line...)
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte{':'})
			in = wanted(bytes.TrimRight(name, " \t")) != not
		}
		if in {
			out = append(out, line...)
		}
	}
	if not {
		return out
	}
	return append(out, "\r\n"...)
}

// oneOf tells whether a name is one of names, in any case. Of few each is
// compared: that is quicker than to make a map for each message.
func oneOf(names []string) func(name []byte) bool {
	if len(names) <= 16 {
		return func(name []byte) bool {
			for _, n := range names {
				if len(n) == len(name) && strings.EqualFold(n, string(name)) {
					return true
				}
			}
			return false
		}
	}
	all := make(map[string]bool, len(names))
	for _, n := range names {
		all[strings.ToLower(n)] = true
	}
	return func(name []byte) bool { return all[strings.ToLower(string(name))] }
}
