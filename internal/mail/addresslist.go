package mail

import (
	"errors"
	"fmt"
	"strings"
)

// HeaderAddress is one mailbox of an address field (RFC 5322 section 3.4).
type HeaderAddress struct {
	Name    string // display name, decoded; from a comment behind the address when there is no other
	Address Address
	Group   string // decoded name of the group it stands in, "" outside

	// Positions in the parsed value: value[Start:End] is local-part@domain as
	// it stands there, value[Host:End] its domain.
	Start, Host, End int
}

// String writes the mailbox for a header, the name quoted or encoded as it
// needs. Control characters in it become spaces.
func (h HeaderAddress) String() string {
	if h.Name == "" {
		return h.Address.Wire
	}
	name := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, h.Name)
	switch enc := EncodeText(name); {
	case enc != name:
		name = strings.Join(encodeWords(name), " ")
	case strings.ContainsAny(name, `()<>[]:;@\,."`):
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name + " <" + h.Address.Wire + ">"
}

// Bounds of a list: more tokens in one element are no address, more addresses
// are not read.
const (
	maxElement   = 4096
	maxAddresses = 100_000
)

// ParseAddressList parses the value of From, To, Cc and their like, folded or
// not. It takes obsolete syntax, groups, empty elements, unquoted dots and
// "@" in names, 8-bit text, and ";" for ",". Elements that are no address are
// skipped; the error, when not nil, wraps ErrAddress, tells of the first of
// them, and stands beside all addresses that could be read.
func ParseAddressList(value string) ([]HeaderAddress, error) {
	p := listParser{in: value, angle: -1}
	for {
		t := p.next()
		if t.kind == tokEnd {
			p.element()
			return p.out, p.err
		}
		if len(p.out) >= maxAddresses {
			return p.out, fmt.Errorf("%w: more than %d in list", ErrAddress, maxAddresses)
		}
		switch {
		case t.is(',') && p.route:
			p.item = append(p.item, t)
		case t.is(','), t.is(';'):
			p.element()
			if t.is(';') {
				p.group = ""
			}
		case t.is(':') && p.angle < 0 && !p.at:
			p.group = phrase(p.item)
			p.reset()
		default:
			p.add(t)
		}
	}
}

// RewriteAddresses gives value with every address replaced by what fn makes
// of it, where fn says true. Names, comments, folding and everything else stay
// as they are; where only the domain changes, only the domain is replaced.
func RewriteAddresses(value string, fn func(Address) (Address, bool)) string {
	list, _ := ParseAddressList(value)
	var b strings.Builder
	done := 0
	for _, a := range list {
		now, ok := fn(a.Address)
		if !ok || now.Wire == a.Address.Wire {
			continue
		}
		if now.Local == a.Address.Local && now.Domain != "" {
			b.WriteString(value[done:a.Host] + now.Wire[strings.LastIndexByte(now.Wire, '@')+1:])
		} else {
			b.WriteString(value[done:a.Start] + now.Wire)
		}
		done = a.End
	}
	b.WriteString(value[done:])
	return b.String()
}

type tokKind byte

const (
	tokEnd     tokKind = iota
	tokAtom            // a run of other characters
	tokQuoted          // text is without quotes and backslashes
	tokLiteral         // [...] with its brackets
	tokComment         // text is without the outer parentheses
	tokSpecial         // one of , ; : < > @ .
)

type token struct {
	kind       tokKind
	text       string
	start, end int
}

func (t token) is(c byte) bool { return t.kind == tokSpecial && t.text[0] == c }

type listParser struct {
	in     string
	pos    int
	broken [256]bool // opening characters that have no closing one ahead
	group  string
	out    []HeaderAddress
	err    error

	// Of the element so far:
	item  []token
	angle int  // index of "<" in item, -1 before it
	at    bool // an "@" was seen
	route bool // inside "<@a,@b:"
}

func (p *listParser) reset() { p.item, p.angle, p.at, p.route = p.item[:0], -1, false, false }

// fail keeps the first error.
func (p *listParser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *listParser) add(t token) {
	if len(p.item) > maxElement {
		return
	}
	switch {
	case t.is('<') && p.angle < 0:
		p.angle = len(p.item)
	case t.is('@'):
		p.at = true
		p.route = p.route || p.angle >= 0 && p.angle == len(p.item)-1
	case t.is(':'), t.is('>'):
		p.route = false
	}
	p.item = append(p.item, t)
}

// next gives the next token; white space only separates.
func (p *listParser) next() token {
	for p.pos < len(p.in) && isSpace(p.in[p.pos]) {
		p.pos++
	}
	start := p.pos
	if start == len(p.in) {
		return token{kind: tokEnd}
	}
	switch c := p.in[start]; c {
	case '"', '[', '(':
		return p.delimited(c)
	case ',', ';', ':', '<', '>', '@', '.':
		p.pos++
		return token{tokSpecial, p.in[start:p.pos], start, p.pos}
	}
	for p.pos++; p.pos < len(p.in) && !isSpace(p.in[p.pos]) && strings.IndexByte(`"[(,;:<>@.`, p.in[p.pos]) < 0; {
		p.pos++
	}
	return token{tokAtom, p.in[start:p.pos], start, p.pos}
}

// delimited reads a quoted string, domain literal or comment. Comments nest,
// counted and not by recursion. An opening character without a closing one is
// an atom, and so are all further ones of its kind: looking for their ends
// again would take quadratic time.
func (p *listParser) delimited(open byte) token {
	kind, end := tokQuoted, byte('"')
	switch open {
	case '[':
		kind, end = tokLiteral, ']'
	case '(':
		kind, end = tokComment, ')'
	}
	start, depth := p.pos, 1
	var b strings.Builder
	for i := start + 1; i < len(p.in) && !p.broken[open]; i++ {
		c := p.in[i]
		switch {
		case c == '\\' && i+1 < len(p.in):
			i++
			c = p.in[i]
		case c == end:
			depth--
		case c == '(' && open == '(':
			depth++
		case c == '\r' || c == '\n': // folding
			continue
		}
		if depth > 0 {
			b.WriteByte(c)
			continue
		}
		p.pos = i + 1
		if kind == tokLiteral {
			return token{kind, p.in[start:p.pos], start, p.pos}
		}
		return token{kind, b.String(), start, p.pos}
	}
	p.broken[open] = true
	p.pos++
	return token{tokAtom, p.in[start:p.pos], start, p.pos}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// element makes an address of the tokens gathered and begins the next one.
func (p *listParser) element() {
	defer p.reset()
	if len(p.item) > maxElement {
		p.fail(fmt.Errorf("%w: element of more than %d words", ErrAddress, maxElement))
		return
	}
	spec, name := p.item, []token(nil)
	if p.angle >= 0 {
		name, spec = p.item[:p.angle], p.item[p.angle+1:]
		for i, t := range spec {
			if t.is('>') {
				spec = spec[:i]
				break
			}
		}
		spec = dropRouteTokens(spec)
	}
	comment := ""
	words := make([]token, 0, len(spec))
	for _, t := range spec {
		if t.kind != tokComment {
			words = append(words, t)
		} else if comment == "" {
			comment = t.text
		}
	}
	if len(words) == 0 && len(name) == 0 && p.angle < 0 {
		return // an empty element
	}
	a, err := specAddress(words)
	if err != nil {
		p.fail(err)
		return
	}
	a.Group = p.group
	if a.Name = phrase(name); a.Name == "" {
		a.Name = DecodeText(comment)
	}
	p.out = append(p.out, a)
}

// dropRouteTokens cuts an obsolete route "@a,@b:" from a spec.
func dropRouteTokens(spec []token) []token {
	if len(spec) > 0 && spec[0].is('@') {
		for i, t := range spec {
			if t.is(':') {
				return spec[i+1:]
			}
		}
	}
	return spec
}

// specAddress reads addr-spec, obsolete white space around its dots included.
func specAddress(words []token) (HeaderAddress, error) {
	at := -1
	for i, t := range words {
		if t.is('@') {
			at = i
		}
	}
	if at <= 0 || at == len(words)-1 {
		return HeaderAddress{}, fmt.Errorf("%w: no local-part@domain in list", ErrAddress)
	}
	var local, host strings.Builder
	if err := joinDotted(&local, words[:at]); err != nil {
		return HeaderAddress{}, err
	}
	if err := joinDotted(&host, words[at+1:]); err != nil {
		return HeaderAddress{}, err
	}
	a := MakeAddress(local.String(), "")
	a, err := ParseAddress(a.Wire + "@" + host.String())
	if err != nil {
		return HeaderAddress{}, err
	}
	return HeaderAddress{Address: a, Start: words[0].start, Host: words[at+1].start, End: words[len(words)-1].end}, nil
}

var errTwoWords = errors.New("words without a dot between them")

// joinDotted joins words, which may stand beside each other only with a dot
// between. Dots at the ends or in a row are left for the caller to judge: the
// local parts of some telephone companies have them.
func joinDotted(b *strings.Builder, words []token) error {
	wasWord := false
	for _, t := range words {
		isWord := t.kind != tokSpecial
		if isWord && wasWord || !isWord && !t.is('.') {
			return fmt.Errorf("%w: %w", ErrAddress, errTwoWords)
		}
		wasWord = isWord
		b.WriteString(t.text)
	}
	return nil
}

// phrase gives display name or group name.
func phrase(words []token) string {
	var b strings.Builder
	last := 0
	for _, t := range words {
		if t.kind == tokComment {
			continue
		}
		if b.Len() > 0 && t.start > last {
			b.WriteByte(' ')
		}
		last = t.end
		b.WriteString(t.text)
	}
	return strings.TrimSpace(DecodeText(b.String()))
}
