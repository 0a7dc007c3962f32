package script

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/test/imap/client"
)

// scope holds the variables of a run.
type scope struct {
	vars map[string]string
	// expunged are the message numbers of the EXPUNGE responses since the
	// group's beginning, in their order.
	expunged []int
	// modseq is the last $modseqN, and at what N.
	modseqIndex, modseq uint64
}

// trial gives a scope for one attempt to match.
func (s *scope) trial() *scope {
	t := *s
	t.vars = maps.Clone(s.vars)
	return &t
}

// now gives today's number of the message that was n at the group's beginning,
// or 0 when it is expunged.
func (s *scope) now(n int) int {
	for _, e := range s.expunged {
		switch {
		case e == n:
			return 0
		case e < n:
			n--
		}
	}
	return n
}

// value looks a variable up.
func (s *scope) value(name string) (string, bool) {
	if n, err := strconv.Atoi(name); err == nil {
		if now := s.now(n); now > 0 {
			return strconv.Itoa(now), true
		}
		return "<expunged>", true
	}
	v, ok := s.vars[name]
	return v, ok
}

// piece is a part of a word of a script.
type piece struct {
	text string // as it is
	name string // of a variable; "" with variable: anything
	isVar,
	exact bool // text whose case counts
}

// pieces splits a word at its variables.
func pieces(word string) ([]piece, error) {
	var all []piece
	for word != "" {
		text, rest, found := strings.Cut(word, "$")
		if text != "" {
			all = append(all, piece{text: text})
		}
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			all, word = append(all, piece{text: "$"}), rest[1:]
			continue
		case strings.HasPrefix(rest, "{"):
			name, after, ok := strings.Cut(rest[1:], "}")
			if !ok {
				return nil, fmt.Errorf("${ without }")
			}
			if text, ok := strings.CutPrefix(name, "case:"); ok {
				all, word = append(all, piece{text: text, exact: true}), after
				continue
			}
			all, word = append(all, piece{name: name, isVar: true}), after
			continue
		}
		name := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"))]
		all, word = append(all, piece{name: name, isVar: true}), rest[len(name):]
	}
	return all, nil
}

// expand gives a command with its variables' values.
func (s *scope) expand(text string) (string, error) {
	all, err := pieces(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, p := range all {
		if !p.isVar {
			out.WriteString(p.text)
			continue
		}
		v, ok := s.value(p.name)
		if !ok {
			return "", fmt.Errorf("$%s has no value", p.name)
		}
		out.WriteString(v)
	}
	return out.String(), nil
}

// word matches one word of a script with what a server sent, and sets the
// variables that had no value. With prefix, more may follow. As imaptest's, the
// comparison ends at an octet 0: there are scripts that are wrong behind one.
func (s *scope) word(want, got string, prefix bool) bool {
	want, _, _ = strings.Cut(want, "\x00")
	got, _, _ = strings.Cut(got, "\x00")
	all, err := pieces(want)
	if err != nil {
		return false
	}
	pattern, fresh := "(?is)^", []string(nil)
	for _, p := range all {
		switch v, ok := s.value(p.name); {
		case !p.isVar && p.exact:
			pattern += "(?-i:" + regexp.QuoteMeta(p.text) + ")"
		case !p.isVar:
			pattern += regexp.QuoteMeta(p.text)
		case ok:
			pattern += "(?-i:" + regexp.QuoteMeta(v) + ")"
		default:
			pattern += "(.*?)"
			fresh = append(fresh, p.name)
		}
	}
	if !prefix {
		pattern += "$"
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return want == got // octets that are no UTF-8
	}
	found := re.FindStringSubmatch(got)
	if found == nil {
		return false
	}
	for i, name := range fresh {
		if !s.set(name, found[i+1]) {
			return false
		}
	}
	return true
}

// set gives a variable its value. A $modseqN must be at least as far from the
// one before as their indexes are.
func (s *scope) set(name, value string) bool {
	if name == "" {
		return true
	}
	if index, err := strconv.ParseUint(strings.TrimPrefix(name, "modseq"), 10, 32); err == nil && strings.HasPrefix(name, "modseq") {
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || index < s.modseqIndex || n < s.modseq+index-s.modseqIndex {
			return false
		}
		s.modseqIndex, s.modseq = index, n
	}
	s.vars[name] = value
	return true
}

// response matches a response with what a script wants. On success it has set
// the variables.
func (s *scope) response(want, got *client.Response) bool {
	t := s.trial()
	if !t.try(want, got) {
		return false
	}
	*s = *t
	return true
}

func (s *scope) try(want, got *client.Response) bool {
	if status(want) {
		if !status(got) || !strings.EqualFold(want.Values[0].Text, got.Values[0].Text) {
			return false
		}
		if len(want.Code) > 0 && !s.list(want.Code, got.Code, directives{}) {
			return false
		}
		return want.Text == "" || s.word(want.Text, got.Text, true)
	}
	if status(got) || len(want.Values) != len(got.Values) {
		return false
	}
	name := got.Name() // that of the other may stand behind $2
	for i, w := range want.Values {
		if !s.valueOf(w, got.Values[i], defaults(name, i), name == "FETCH") {
			return false
		}
	}
	return true
}

// status tells whether r is a status response: its word stands alone.
func status(r *client.Response) bool {
	return r.Status("OK") || r.Status("NO") || r.Status("BAD") || r.Status("BYE") || r.Status("PREAUTH")
}

// directives say how a list is compared.
type directives struct {
	unordered bool
	chain     int  // so many values belong together
	extra     bool // more than these may be there
	ignore    []string
	ban       []string
}

// defaults are the directives of a list that has none of its own, as the value
// of that index of a response.
func defaults(name string, index int) directives {
	switch {
	case (name == "LIST" || name == "LSUB") && index == 1:
		return directives{unordered: true, chain: 1, extra: true}
	case name == "STATUS" && index == 2, name == "FETCH" && index == 2:
		return directives{unordered: true, chain: 2, extra: true}
	}
	return directives{}
}

// flagsOfFetch are the defaults of the list of FLAGS in a FETCH response.
var flagsOfFetch = directives{unordered: true, chain: 1, ignore: []string{`\recent`, "$hasattachment", "$hasnoattachment"}}

// cutDirectives takes the $!directives off a list.
func cutDirectives(list []client.Value, d directives) ([]client.Value, directives) {
	first, extra := true, -1
	for len(list) > 0 && list[0].Kind == client.Atom && strings.HasPrefix(list[0].Text, "$!") {
		if first {
			d, first = directives{chain: 1}, false
		}
		name, value, _ := strings.Cut(list[0].Text[2:], "=")
		switch list = list[1:]; name {
		case "unordered":
			d.unordered = true
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				d.chain = n
			}
		case "extra":
			extra = 1
		case "noextra":
			extra = 0
		case "ignore":
			d.ignore = append(d.ignore, value)
		case "ban":
			d.ban = append(d.ban, value)
		}
	}
	if !first {
		d.extra = extra == 1 || extra < 0 && d.unordered
	}
	return list, d
}

// valueOf matches one value.
func (s *scope) valueOf(want, got client.Value, d directives, fetch bool) bool {
	switch {
	case want.Kind == client.Atom && want.Text == "$":
		return true
	case want.Kind == client.List:
		if got.Kind != client.List {
			return false
		}
		list, d := cutDirectives(want.List, d)
		if d.unordered {
			return s.set1(list, got.List, d, fetch)
		}
		return s.list(list, got.List, d)
	case want.Kind == client.Nil || got.Kind == client.Nil || got.Kind == client.List:
		return want.Kind == got.Kind
	}
	return s.word(want.Text, got.Text, false)
}

// list matches lists whose order counts.
func (s *scope) list(want, got []client.Value, d directives) bool {
	for i, w := range want {
		if w.Kind == client.Atom && w.Text == "$" && i == len(want)-1 && i > 0 && len(got) >= i {
			return true // [CAPABILITY $]
		}
		if i >= len(got) || !s.valueOf(w, got[i], directives{}, false) {
			return false
		}
	}
	return len(want) == len(got) || d.extra
}

// set1 matches lists whose order does not count.
func (s *scope) set1(want, got []client.Value, d directives, fetch bool) bool {
	if len(want)%d.chain != 0 || len(got)%d.chain != 0 {
		return false
	}
	used := make([]bool, len(got))
	for i := 0; i < len(want); i += d.chain {
		if !s.findChain(want[i:i+d.chain], got, used, fetch) {
			return false
		}
	}
	for i := 0; i < len(got); i += d.chain {
		if used[i] {
			continue
		}
		if !d.extra && !holds(d.ignore, got[i]) || holds(d.ban, got[i]) {
			return false
		}
	}
	return true
}

// findChain looks for values that belong together among those not used yet.
func (s *scope) findChain(want, got []client.Value, used []bool, fetch bool) bool {
	for i := 0; i < len(got); i += len(want) {
		if used[i] {
			continue
		}
		t := s.trial()
		matches := true
		for k, w := range want {
			d := directives{}
			if fetch && k == 1 && want[0].Is("FLAGS") {
				d = flagsOfFetch
			}
			if matches = t.valueOf(w, got[i+k], d, false); !matches {
				break
			}
		}
		if matches {
			*s = *t
			used[i] = true
			return true
		}
	}
	return false
}

func holds(names []string, v client.Value) bool {
	for _, n := range names {
		if strings.EqualFold(n, v.Text) {
			return true
		}
	}
	return false
}
