package client

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Kind is what a Value is in the grammar of RFC 9051, section 9.
type Kind int

// The kinds.
const (
	Atom    Kind = iota // also numbers, flags and BODY[...]<0>
	Quoted              // a quoted string
	Literal             // {3} or ~{3}
	List                // (...)
	Nil                 // NIL, not quoted
)

// Value is one value of a response.
type Value struct {
	Kind Kind
	Text string  // of an Atom, Quoted or Literal, without what encloses it
	List []Value // of a List
}

// Is tells whether v is an atom of that name, in either case.
func (v Value) Is(name string) bool { return v.Kind == Atom && strings.EqualFold(v.Text, name) }

// Number gives the number that v is.
func (v Value) Number() (uint64, error) {
	if v.Kind != Atom {
		return 0, fmt.Errorf("%s is no number", v)
	}
	return strconv.ParseUint(v.Text, 10, 63)
}

// String gives v as a server might have written it; line ends show as \r\n.
func (v Value) String() string {
	switch v.Kind {
	case Atom:
		return v.Text
	case Nil:
		return "NIL"
	case List:
		return "(" + Join(v.List) + ")"
	}
	return strconv.Quote(v.Text)
}

// Join writes values with a space between them.
func Join(values []Value) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = v.String()
	}
	return strings.Join(words, " ")
}

// Response is one response of a server, or one command continuation request.
type Response struct {
	Raw []byte // as read, with literals, without the last CRLF
	// Tag is "*", "+" or the tag of the command that it ends.
	Tag string
	// Values are what follows the tag. A status response has its word (OK, NO,
	// BAD, BYE, PREAUTH) only.
	Values []Value
	// Code is the response code of a status response, without brackets.
	Code []Value
	// Text is the human text of a status response or a continuation.
	Text string
}

// Name is the word that says what kind of response it is, in capitals: that
// after a message number, if there is one.
func (r *Response) Name() string {
	if len(r.Values) == 0 {
		return ""
	}
	name := r.Values[0]
	if _, err := name.Number(); err == nil && len(r.Values) > 1 {
		name = r.Values[1]
	}
	return strings.ToUpper(name.Text)
}

// Status tells whether r is a status response of that word.
func (r *Response) Status(word string) bool { return len(r.Values) == 1 && r.Values[0].Is(word) }

// CodeIs tells whether r has a response code of that name.
func (r *Response) CodeIs(name string) bool { return len(r.Code) > 0 && r.Code[0].Is(name) }

// String gives the response on one line, cut when it is long.
func (r *Response) String() string {
	s := strings.ReplaceAll(string(r.Raw), "\r\n", `\r\n`)
	if len(s) > 600 {
		s = s[:600] + "..."
	}
	return s
}

// ParseResponse reads a whole response, literals included, without the CRLF
// that ends it. It accepts what the grammar of RFC 9051 allows and, in words,
// octets above 127 (UTF8=ACCEPT).
func ParseResponse(raw []byte) (*Response, error) {
	tag, rest, _ := bytes.Cut(raw, []byte(" "))
	r := &Response{Raw: raw, Tag: string(tag)}
	if r.Tag == "" {
		return nil, fmt.Errorf("response without a tag: %q", raw)
	}
	if r.Tag == "+" {
		r.Text = string(rest)
		return r, nil
	}
	return r, r.parse(rest)
}

// ParseValues reads what may follow a tag, as ParseResponse does.
func ParseValues(raw []byte) (*Response, error) {
	r := &Response{Raw: raw}
	return r, r.parse(raw)
}

func (r *Response) parse(rest []byte) error {
	word, text, _ := bytes.Cut(rest, []byte(" "))
	switch strings.ToUpper(string(word)) {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		r.Values = []Value{{Kind: Atom, Text: string(word)}}
		return r.parseStatus(text)
	}
	p := parser{in: rest}
	values, err := p.values(0)
	if err != nil {
		return fmt.Errorf("%w at octet %d of %q", err, p.at, rest)
	}
	if len(values) == 0 {
		return fmt.Errorf("empty response %q", r.Raw)
	}
	r.Values = values
	return nil
}

// parseStatus reads [code] text.
func (r *Response) parseStatus(text []byte) error {
	if !bytes.HasPrefix(text, []byte("[")) {
		r.Text = string(text)
		return nil
	}
	p := parser{in: text, at: 1}
	code, err := p.values(']')
	if err != nil {
		return fmt.Errorf("%w in the response code of %q", err, r.Raw)
	}
	r.Code, r.Text = code, strings.TrimPrefix(string(text[p.at:]), " ")
	return nil
}

// maxDepth bounds lists within lists.
const maxDepth = 200

type parser struct {
	in    []byte
	at    int
	depth int
}

func (p *parser) more() bool { return p.at < len(p.in) }

// values reads values up to the closing octet, or to the end where that is 0.
func (p *parser) values(end byte) ([]Value, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("lists are nested too deep")
	}
	defer func() { p.depth-- }()
	var all []Value
	for {
		if !p.more() {
			if end == 0 {
				return all, nil
			}
			return nil, fmt.Errorf("%c is missing", end)
		}
		if c := p.in[p.at]; c == end && end != 0 {
			p.at++
			return all, nil
		}
		if len(all) > 0 && p.in[p.at] == ' ' {
			p.at++
			if !p.more() || p.in[p.at] == ' ' || p.in[p.at] == end {
				return nil, fmt.Errorf("a space too much")
			}
		} else if len(all) > 0 && (p.in[p.at] != '(' || all[len(all)-1].Kind != List) {
			return nil, fmt.Errorf("a space is missing")
		}
		v, err := p.value(end)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
}

func (p *parser) value(end byte) (Value, error) {
	switch c := p.in[p.at]; {
	case c == '(':
		p.at++
		list, err := p.values(')')
		return Value{Kind: List, List: list}, err
	case c == '"':
		text, err := p.quoted()
		return Value{Kind: Quoted, Text: text}, err
	case c == '{' || c == '~' && p.at+1 < len(p.in) && p.in[p.at+1] == '{':
		if size, ok := p.literal(); ok {
			text := string(p.in[p.at : p.at+size])
			p.at += size
			return Value{Kind: Literal, Text: text}, nil
		}
	}
	text, err := p.atom(end)
	if strings.EqualFold(text, "NIL") {
		return Value{Kind: Nil}, err
	}
	return Value{Kind: Atom, Text: text}, err
}

func (p *parser) quoted() (string, error) {
	var text []byte
	for p.at++; p.more(); p.at++ {
		switch c := p.in[p.at]; c {
		case '"':
			p.at++
			return string(text), nil
		case '\\':
			p.at++
			if !p.more() || p.in[p.at] != '"' && p.in[p.at] != '\\' {
				return "", fmt.Errorf("backslash before an ordinary octet in a quoted string")
			}
			text = append(text, p.in[p.at])
		case '\r', '\n', 0:
			return "", fmt.Errorf("octet %d in a quoted string", c)
		default:
			text = append(text, c)
		}
	}
	return "", fmt.Errorf("the quoted string has no end")
}

// literal steps over the head of a literal and gives its size.
func (p *parser) literal() (size int, ok bool) {
	size, length, ok := literalHead(bytes.TrimPrefix(p.in[p.at:], []byte("~")))
	if p.in[p.at] == '~' {
		length++
	}
	if !ok || p.at+length+size > len(p.in) {
		return 0, false
	}
	p.at += length
	return size, true
}

// literalHead reads {size}CRLF at the beginning of b.
func literalHead(b []byte) (size, length int, ok bool) {
	end := bytes.Index(b, []byte("}\r\n"))
	if end < 2 || b[0] != '{' {
		return 0, 0, false
	}
	size, err := strconv.Atoi(string(b[1:end]))
	return size, end + 3, err == nil && size >= 0
}

// atom reads up to a space, a parenthesis or the closing octet, but takes the
// section of BODY[HEADER.FIELDS (From)] as a part of the word.
func (p *parser) atom(end byte) (string, error) {
	start := p.at
	for ; p.more(); p.at++ {
		c := p.in[p.at]
		if c == '[' && p.at > start {
			if n := section(p.in[p.at:]); n > 0 {
				p.at += n
				continue
			}
		}
		if c == ' ' || c == '(' || c == ')' || c == '"' || c == end && end != 0 {
			break
		}
		if c < ' ' || c == 0x7f {
			return "", fmt.Errorf("octet %d in an atom", c)
		}
	}
	if p.at == start {
		return "", fmt.Errorf("no value where one must be")
	}
	return string(p.in[start:p.at]), nil
}

// section gives the length of a section in brackets without its last octet, or
// 0 where b holds none.
func section(b []byte) int {
	quoted := false
	for i, c := range b {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted:
			return i
		case c < ' ':
			return 0
		}
	}
	return 0
}
