package outline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// maxParams bounds the parameters of one field that are kept.
const maxParams = 1000

// contentType reads the value of Content-Type. A type may stand alone; what is
// otherwise broken has no type, no subtype and no parameters.
func contentType(value string) (kind, sub string, params []Param) {
	l := lexer{in: value}
	if l.space() != more {
		return "", "", nil
	}
	kind, st := l.token()
	if st == ended {
		return kind, "", nil
	}
	if kind == "" || st == broken || !l.take('/') || l.space() != more {
		return "", "", nil
	}
	if sub, st = l.token(); sub == "" || st == broken || st == more && !l.at(';') {
		return "", "", nil
	}
	return kind, sub, l.params()
}

// disposition reads the value of Content-Disposition.
func disposition(value string) (string, []Param) {
	l := lexer{in: value}
	l.space()
	word, st := l.token()
	if st == broken {
		return "", nil
	}
	return word, l.params()
}

// transferEncoding reads the value of Content-Transfer-Encoding: a token and
// nothing behind it, else "".
func transferEncoding(value string) string {
	l := lexer{in: value}
	l.space()
	if word, st := l.token(); st == ended {
		return word
	}
	return ""
}

// languages reads the value of Content-Language (RFC 3282).
func languages(value string) []string {
	l := lexer{in: value}
	l.space()
	var out []string
	for len(out) < maxParams {
		word, st := l.atom()
		if st == broken {
			break
		}
		out = append(out, word)
		if !l.take(',') {
			break
		}
		l.space()
	}
	return out
}

// numbered is a piece of a parameter that RFC 2231 section 3 splits.
type numbered struct {
	name, value string
	index       int
	extended    bool // percent-encoded
}

// params reads all that follows as parameters. What is none is skipped.
func (l *lexer) params() []Param {
	var out []Param
	var pieces []numbered
	for !l.end() && len(out)+len(pieces) < maxParams {
		p, ok := l.param()
		if !ok {
			if !l.end() {
				l.pos++
			}
			continue
		}
		if n, ok := p.numbered(); ok {
			pieces = append(pieces, n)
		} else {
			out = append(out, p)
		}
	}
	return append(out, join(pieces)...)
}

// param reads ";" name "=" value.
func (l *lexer) param() (Param, bool) {
	var p Param
	if !l.take(';') || l.space() != more {
		return p, false
	}
	name, st := l.token()
	if st != more || !l.take('=') {
		return p, false
	}
	p.Name = name
	switch st = l.space(); {
	case st != more:
	case l.at('"'):
		p.Value, st = l.quoted()
	case l.at('='): // name==?utf-8?B?...?=
		p.Value, _ = l.run(func(c byte) bool { return strings.IndexByte("; \t\r\n", c) < 0 })
	default:
		p.Value, st = l.token()
	}
	return p, st != broken
}

// numbered takes the name apart as RFC 2231 has it: name*, name*1, name*1*.
func (p Param) numbered() (numbered, bool) {
	name, rest, found := strings.Cut(p.Name, "*")
	if !found {
		return numbered{}, false
	}
	n := numbered{name: name, value: p.Value}
	if rest == "" {
		n.extended = true
		return n, true
	}
	rest, n.extended = strings.CutSuffix(rest, "*")
	if rest == "" {
		return n, true
	}
	i, err := strconv.ParseUint(rest, 10, 31)
	n.index = int(i)
	return n, err == nil
}

// join puts pieces together. Where one is missing they stay as they are.
func join(pieces []numbered) []Param {
	slices.SortStableFunc(pieces, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name)), cmp.Compare(a.index, b.index))
	})
	var out []Param
	for len(pieces) > 0 {
		n, whole, extended := 0, true, false
		for n < len(pieces) && strings.EqualFold(pieces[n].name, pieces[0].name) {
			whole = whole && pieces[n].index == n
			extended = extended || pieces[n].extended
			n++
		}
		if whole {
			out = append(out, joined(pieces[:n], extended))
		} else {
			for _, p := range pieces[:n] {
				out = append(out, p.alone())
			}
		}
		pieces = pieces[n:]
	}
	return out
}

// joined makes one parameter of all its pieces.
func joined(pieces []numbered, extended bool) Param {
	var b strings.Builder
	if extended && !pieces[0].extended {
		b.WriteString("''") // neither charset nor language
	}
	for _, p := range pieces {
		if extended && !p.extended {
			p.value = strings.ReplaceAll(p.value, "%", "%25")
		}
		b.WriteString(p.value)
	}
	if extended {
		return Param{pieces[0].name + "*", b.String()}
	}
	return Param{pieces[0].name, b.String()}
}

func (n numbered) alone() Param {
	p := Param{n.name + "*" + strconv.Itoa(n.index), n.value}
	if n.extended {
		p.Name += "*"
	}
	return p
}
