package mail

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// maxParams bounds the parameters of one field that are kept.
const maxParams = 256

// ParseParams parses the value of Content-Type, Content-Disposition and their
// like: the word before the first ";" in lower case, and the parameters with
// lower-case names, their values decoded to UTF-8: RFC 2231 continuations and
// charsets, and the encoded-words that many programs use instead. It is
// tolerant of missing quotes, missing ";", comments and white space anywhere;
// of a name given twice, the first counts. What was wrong is in defects.
func ParseParams(value string) (word string, params map[string]string, defects []Defect) {
	p := paramParser{in: value, params: map[string]string{}, pieces: map[string]map[int]piece{}}
	word = p.word()
	for p.pos < len(p.in) {
		p.param()
	}
	p.join()
	return word, p.params, p.defects
}

// piece is one part of a value that RFC 2231 section 3 splits.
type piece struct {
	text    string
	percent bool // "*" at the end of the name: percent-encoded
	at      int  // which of the parameters
}

type paramParser struct {
	in      string
	pos     int
	count   int
	params  map[string]string
	pieces  map[string]map[int]piece
	defects []Defect
}

func (p *paramParser) defect(kind DefectKind, detail string) {
	p.defects = addDefect(p.defects, Defect{kind, detail})
}

// space skips white space and comments.
func (p *paramParser) space() {
	depth := 0
	for ; p.pos < len(p.in); p.pos++ {
		switch c := p.in[p.pos]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			p.pos++
		case depth == 0 && !isSpace(c):
			return
		}
	}
	p.pos = min(p.pos, len(p.in))
}

// word reads the text before the first ";".
func (p *paramParser) word() string {
	p.space()
	var b strings.Builder
	for p.pos < len(p.in) && p.in[p.pos] != ';' {
		c := p.in[p.pos]
		if isSpace(c) || c == '(' {
			p.space()
			// "text/plain charset=x": the ";" is missing.
			if b.Len() > 0 && p.pos < len(p.in) && p.in[p.pos] != ';' && p.in[p.pos] != '/' && !strings.HasSuffix(b.String(), "/") {
				p.defect(DefectSyntax, "missing ;")
				break
			}
			continue
		}
		if c != '"' {
			b.WriteByte(c)
		}
		p.pos++
	}
	return strings.ToLower(strings.ToValidUTF8(b.String(), "\ufffd"))
}

// param reads [";"] name "=" value, or what stands in its place.
func (p *paramParser) param() {
	for p.pos < len(p.in) && (p.in[p.pos] == ';' || isSpace(p.in[p.pos])) {
		p.pos++
	}
	p.space()
	start := p.pos
	for p.pos < len(p.in) && strings.IndexByte("=;( \t\r\n", p.in[p.pos]) < 0 {
		p.pos++
	}
	name := strings.ToLower(p.in[start:p.pos])
	p.space()
	if p.pos >= len(p.in) || p.in[p.pos] != '=' {
		if name != "" {
			p.defect(DefectSyntax, "parameter without =")
		}
		if p.pos == start && p.pos < len(p.in) {
			p.pos++ // never stand still
		}
		return
	}
	p.pos++
	p.space()
	value := p.value()
	if name == "boundary" || name == "charset" { // "(" never stands in those
		value, _, _ = strings.Cut(value, "(")
	}
	if name == "" {
		p.defect(DefectSyntax, "parameter without name")
		return
	}
	p.keep(name, value)
}

func (p *paramParser) value() string {
	if p.pos < len(p.in) && p.in[p.pos] == '"' {
		return p.quoted()
	}
	start := p.pos
	for p.pos < len(p.in) && p.in[p.pos] != ';' {
		// White space ends a token, but attackers and old programs write
		// file names without quotes; only another name= ends those.
		if isSpace(p.in[p.pos]) && nameAhead(p.in[p.pos:]) {
			p.defect(DefectSyntax, "missing ;")
			break
		}
		if strings.HasPrefix(p.in[p.pos:], `\;`) { // escaped, though without quotes
			p.defect(DefectSyntax, "value without quotes")
			p.pos++
		}
		p.pos++
	}
	v := strings.TrimSpace(p.in[start:p.pos])
	if strings.ContainsAny(v, " \t\"") && !strings.Contains(v, "(") && !strings.HasPrefix(v, "=?") {
		p.defect(DefectSyntax, "value without quotes")
	}
	if i := strings.Index(v, " ("); i >= 0 {
		v = strings.TrimSpace(v[:i])
	}
	return unfold([]byte(strings.ReplaceAll(v, `\;`, ";")))
}

// nameAhead tells whether s, which starts with white space, goes on with
// "name=". Names are short, so the look ahead is bounded.
func nameAhead(s string) bool {
	s = strings.TrimLeft(s[:min(len(s), 80)], " \t\r\n")
	n := strings.IndexAny(s, "= ;\"?")
	return n > 0 && s[n] == '='
}

func (p *paramParser) quoted() string {
	var b strings.Builder
	for p.pos++; p.pos < len(p.in); p.pos++ {
		switch c := p.in[p.pos]; {
		case c == '"':
			p.pos++
			return b.String()
		case c == '\\' && p.pos+1 < len(p.in):
			p.pos++
			// Windows paths with single backslashes are no quoting.
			if n := p.in[p.pos]; n != '"' && n != '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(p.in[p.pos])
		case c != '\r' && c != '\n':
			b.WriteByte(c)
		}
	}
	p.defect(DefectSyntax, "quote without end")
	return b.String()
}

// keep files a value under its name, or as a piece of one.
func (p *paramParser) keep(name, value string) {
	if p.count++; p.count > maxParams {
		p.defect(DefectLimit, "parameters")
		return
	}
	base, percent := strings.CutSuffix(name, "*")
	index := 0
	if b, n, ok := strings.Cut(base, "*"); ok {
		i := number(n)
		if i < 0 {
			p.defect(DefectSyntax, "parameter piece")
			return
		}
		base, index = b, i
	} else if !percent {
		if _, twice := p.params[name]; twice {
			p.defect(DefectDuplicate, "parameter "+clip(name))
			return
		}
		p.params[name] = DecodeText(value)
		return
	}
	if p.pieces[base] == nil {
		p.pieces[base] = map[int]piece{}
	}
	if _, twice := p.pieces[base][index]; twice {
		p.defect(DefectDuplicate, "parameter "+clip(name))
		return
	}
	p.pieces[base][index] = piece{value, percent, p.count}
}

// join puts pieces together from number 0 until one is missing. They count
// more than a plain parameter of that name (RFC 6266 section 4.3 says so for
// HTTP, and mail programs do the same).
func (p *paramParser) join() {
	for _, name := range slices.Sorted(maps.Keys(p.pieces)) {
		pieces := p.pieces[name]
		var text []byte
		charset, percent := "", false
		for i := range len(pieces) {
			pc, ok := pieces[i]
			if !ok {
				p.defect(DefectSyntax, "missing parameter piece")
				break
			}
			if pc.at < pieces[i-1].at { // some programs join them as they stand
				p.defect(DefectSyntax, "parameter pieces out of order")
			}
			if pc.percent && i == 0 {
				charset, pc.text = cutCharset(pc.text)
			}
			if pc.percent {
				percent = true
				text = append(text, unpercent(pc.text)...)
			} else {
				text = append(text, pc.text...)
			}
		}
		if len(text) == 0 {
			continue
		}
		value := ""
		if percent {
			value = DecodeCharset(charset, text)
		} else {
			value = DecodeText(string(text))
		}
		// Plain text beside the encoded one is usual for file names only, and then
		// names a file of the same kind.
		if plain, twice := p.params[name]; twice && (name != "filename" && name != "name" || otherKind(plain, value)) {
			p.defect(DefectDuplicate, "parameter "+clip(name))
		}
		p.params[name] = value
	}
}

// otherKind tells whether two names of a file end in different ways.
func otherKind(a, b string) bool {
	a, b = path.Ext(a), path.Ext(b)
	return a != "" && !strings.EqualFold(a, b)
}

// cutCharset splits charset'language'text (RFC 2231 section 4).
func cutCharset(s string) (charset, text string) {
	charset, rest, ok := strings.Cut(s, "'")
	if !ok {
		return "", s
	}
	_, text, ok = strings.Cut(rest, "'")
	if !ok {
		return "", s
	}
	return charset, text
}

func unpercent(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0 {
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return out
}

// clip shortens a stranger's text for a defect.
func clip(s string) string {
	return strconv.QuoteToASCII(s[:min(len(s), 40)])
}
