package search

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// maxKeys bounds a program. Nesting is bounded by the decoder.
const maxKeys = 1000

// Charsets are what BADCHARSET offers; many more are taken.
const Charsets = "US-ASCII UTF-8 ISO-8859-1 ISO-2022-JP EUC-JP SHIFT_JIS"

// First reads the word that a program begins with; it is "" where that is a set
// or a list, which stays unread.
func First(d *wire.Decoder) string {
	if atSet(d) || d.Peek() == '(' {
		return ""
	}
	return d.Word()
}

// Parse reads [CHARSET name SP] and the keys of SEARCH, up to the end of the
// command, after First.
func Parse(d *wire.Decoder, first string) *Program {
	p := parser{d: d, prog: &Program{}}
	if first == "CHARSET" {
		d.SP()
		p.charset(d.Astring())
		p.prog.CharsetGiven = true
		d.SP()
		first = ""
	}
	return p.program(first)
}

// ParseIn reads charset SP keys, as SORT and THREAD have it.
func ParseIn(d *wire.Decoder) *Program {
	p := parser{d: d, prog: &Program{}}
	p.charset(d.Astring())
	d.SP()
	return p.program("")
}

type parser struct {
	d    *wire.Decoder
	prog *Program
	from string // charset
	keys int
}

func (p *parser) charset(name string) {
	p.from = name
	switch strings.ToUpper(name) {
	case "US-ASCII", "ASCII":
	default:
		p.prog.BadCharset = mail.Charset(name) == nil
	}
}

// program reads one or more keys. first is the word of the first one, if that
// has been read.
func (p *parser) program(first string) *Program {
	root := &key{op: opAnd}
	for {
		if first != "" {
			root.kids = append(root.kids, p.named(first))
		} else {
			root.kids = append(root.kids, p.key())
		}
		if first = ""; p.d.Err() != nil || !p.d.AcceptSP() {
			break
		}
	}
	if p.d.Err() == nil {
		root.weigh()
	}
	p.prog.root = root
	return p.prog
}

// atSet tells whether a set is next.
func atSet(d *wire.Decoder) bool {
	c := d.Peek()
	return c >= '0' && c <= '9' || c == '*' || c == '$'
}

// key reads one key. It never gives nil.
func (p *parser) key() *key {
	switch {
	case p.d.Peek() == '(':
		p.count()
		k := &key{op: opAnd}
		p.d.List(func() { k.kids = append(k.kids, p.key()) })
		if len(k.kids) == 0 {
			p.d.Fail("Expected a search key")
		}
		return k
	case atSet(p.d):
		return p.set(&key{op: opNumbers})
	}
	return p.named(p.d.Word())
}

// count counts a key.
func (p *parser) count() {
	if p.keys++; p.keys > maxKeys {
		p.d.Fail("Too many search keys")
	}
}

func (p *parser) set(k *key) *key {
	p.count()
	k.set = p.d.Set()
	if k.set.Saved {
		p.prog.Saved = true
	} else if k.op == opNumbers {
		p.prog.Numbers = true
	}
	return k
}

// named reads the rest of a key that begins with a word.
func (p *parser) named(word string) *key {
	if p.count(); p.d.Err() != nil {
		return &key{}
	}
	if flags, ok := flagKeys[word]; ok {
		return &key{op: opFlags, flags: flags}
	}
	if flag, ok := strings.CutPrefix(word, "UN"); ok && flagKeys[flag] != 0 {
		return not(&key{op: opFlags, flags: flagKeys[flag]})
	}
	if parse, ok := plainKeys[word]; ok {
		return parse()
	}
	return p.argument(word)
}

func not(k *key) *key { return &key{op: opNot, kids: []*key{k}} }

var flagKeys = map[string]mailbox.Flags{
	"ANSWERED": mailbox.Answered, "DELETED": mailbox.Deleted, "DRAFT": mailbox.Draft, "FLAGGED": mailbox.Flagged, "SEEN": mailbox.Seen,
}

// plainKeys have no argument.
var plainKeys = map[string]func() *key{
	"ALL": func() *key { return &key{op: opAnd} },
	"NEW": func() *key {
		return &key{op: opAnd, kids: []*key{{op: opRecent}, not(&key{op: opFlags, flags: mailbox.Seen})}}
	},
	"OLD":               func() *key { return not(&key{op: opRecent}) },
	"RECENT":            func() *key { return &key{op: opRecent} },
	"SAVEDATESUPPORTED": func() *key { return &key{op: opAnd} },
}

// argument reads a key that has arguments.
func (p *parser) argument(word string) *key {
	if word != "NOT" && word != "OR" {
		parse := argumentKeys[word]
		if parse == nil {
			p.d.Fail("Unknown search key")
			return &key{}
		}
		p.d.SP()
		return parse(p)
	}
	p.d.SP()
	if word == "OR" {
		return p.or()
	}
	return not(p.deeper())
}

var argumentKeys = map[string]func(p *parser) *key{
	"UID":       func(p *parser) *key { return p.set(&key{op: opUIDs}) },
	"KEYWORD":   func(p *parser) *key { return &key{op: opKeyword, word: p.d.Flag()} },
	"UNKEYWORD": func(p *parser) *key { return not(&key{op: opKeyword, word: p.d.Flag()}) },
	"LARGER":    func(p *parser) *key { return &key{op: opLarger, n: p.d.Number64()} },
	"SMALLER":   func(p *parser) *key { return &key{op: opSmaller, n: p.d.Number64()} },
	"OLDER":     func(p *parser) *key { return &key{op: opOlder, n: p.interval()} },
	"YOUNGER":   func(p *parser) *key { return &key{op: opYounger, n: p.interval()} },

	"BEFORE": before(opReceived), "ON": on(opReceived), "SINCE": since(opReceived),
	"SENTBEFORE": before(opSent), "SENTON": on(opSent), "SENTSINCE": since(opSent),
	"SAVEDBEFORE": before(opSaved), "SAVEDON": on(opSaved), "SAVEDSINCE": since(opSaved),

	"BCC": address("bcc"), "CC": address("cc"), "FROM": address("from"), "TO": address("to"),
	"SUBJECT": func(p *parser) *key { return &key{op: opSubject, text: p.text()} },
	"HEADER":  (*parser).header,
	"BODY":    func(p *parser) *key { return p.textKey(opBody) },
	"TEXT":    func(p *parser) *key { return p.textKey(opText) },

	"MODSEQ":   (*parser).modSeq,
	"EMAILID":  func(p *parser) *key { return &key{op: opEmailID, word: p.d.Astring()} },
	"THREADID": func(p *parser) *key { return &key{op: opThreadID, word: p.d.Astring()} },
}

// deeper reads a key inside another.
func (p *parser) deeper() *key {
	k := &key{}
	p.d.Nest(func() { k = p.key() })
	return k
}

// or reads the two keys of OR. Where the second is again an OR, as clients
// write long alternatives, its keys are taken in here: they do not nest.
func (p *parser) or() *key {
	k := &key{op: opOr}
	for p.d.Err() == nil {
		k.kids = append(k.kids, p.deeper())
		p.d.SP()
		if atSet(p.d) || p.d.Peek() == '(' {
			break
		}
		word := p.d.Word()
		if word != "OR" {
			k.kids = append(k.kids, p.named(word))
			return k
		}
		p.count()
		p.d.SP()
	}
	k.kids = append(k.kids, p.deeper())
	return k
}

func (p *parser) interval() int64 {
	p.prog.Timed = true
	n := p.d.Number64()
	if n == 0 {
		p.d.Fail("Interval must not be 0")
	}
	return min(n, math.MaxInt32)
}

func before(o op) func(*parser) *key {
	return func(p *parser) *key { return &key{op: o, days: dayRange{math.MinInt64, day(p.d.Date()) - 1}} }
}

func on(o op) func(*parser) *key {
	return func(p *parser) *key { d := day(p.d.Date()); return &key{op: o, days: dayRange{d, d}} }
}

func since(o op) func(*parser) *key {
	return func(p *parser) *key { return &key{op: o, days: dayRange{day(p.d.Date()), math.MaxInt64}} }
}

func address(field string) func(*parser) *key {
	return func(p *parser) *key { return &key{op: opAddress, word: field, text: p.text()} }
}

func (p *parser) header() *key {
	k := &key{op: opHeader, word: strings.ToLower(p.d.Astring())}
	p.d.SP()
	k.text = p.text()
	return k
}

func (p *parser) textKey(o op) *key {
	k := &key{op: o, text: p.text(), place: len(p.prog.texts)}
	p.prog.texts = append(p.prog.texts, k)
	return k
}

// text reads a string in the charset of the search and gives it normal. Without
// a charset it is UTF-8 (RFC 9051), or what it looks like.
func (p *parser) text() string {
	s := p.d.Astring()
	if p.prog.BadCharset {
		return ""
	}
	if p.from == "" && utf8.ValidString(s) {
		return fulltext.Normal(s)
	}
	return fulltext.Normal(mail.DecodeCharset(p.from, []byte(s)))
}

// modSeq reads [entry-name SP entry-type SP] mod-sequence. As mod-sequences are
// kept for a message and not for each of its flags, the entry says nothing
// (RFC 7162 section 3.1.5).
func (p *parser) modSeq() *key {
	p.prog.ModSeq = true
	if p.d.Peek() == '"' {
		if entry := p.d.String(); !strings.HasPrefix(entry, "/flags/") {
			p.d.Fail("Expected /flags/ and a flag")
		}
		p.d.SP()
		switch p.d.Word() {
		case "ALL", "PRIV", "SHARED":
		default:
			p.d.Fail("Expected all, priv or shared")
		}
		p.d.SP()
	}
	return &key{op: opModSeq, n: p.d.Number64()}
}
