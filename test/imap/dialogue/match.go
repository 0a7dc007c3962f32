package dialogue

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/test/imap/client"
)

// first tells whether a line of the script begins a response; others go on
// with a literal. tags are those of the commands sent so far.
func first(line string, tags map[string]bool) bool {
	tag, _, _ := strings.Cut(line, " ")
	return tag == `\*` || strings.HasPrefix(line, `\+`) || strings.HasPrefix(line, "+") || tags[tag] || strings.HasPrefix(line, "^")
}

// join puts the lines of a response together.
func join(block []*answer, tags map[string]bool) []*answer {
	var all []*answer
	for _, a := range block {
		if n := len(all); n > 0 && !first(a.lines[0], tags) {
			all[n-1].lines = append(all[n-1].lines, a.lines...)
			continue
		}
		all = append(all, &answer{line: a.line, lines: slices.Clone(a.lines)})
	}
	return all
}

// tag is the tag of the response: "*", "+", or that of a command.
func (a *answer) tag() string {
	tag, _, _ := strings.Cut(a.lines[0], " ")
	switch {
	case strings.HasPrefix(tag, `\+`) || strings.HasPrefix(tag, "+"):
		return "+"
	case tag == `\*` || strings.HasPrefix(tag, "^"):
		return "*"
	}
	return tag
}

func (a *answer) String() string { return strings.Join(a.lines, `\r\n`) }

var (
	uidvalidity    = regexp.MustCompile(`\\\[UIDVALIDITY \d+`) // of a run of James's
	recent         = regexp.MustCompile(` \\\\Recent|\\\\Recent ?`)
	size           = regexp.MustCompile(`( )\{(\d+)\}`) // of a literal, not a repetition
	statusLine     = regexp.MustCompile(`^(\\\*|[^ ]+) (OK|NO|BAD|BYE|PREAUTH)\b ?(.*)$`)
	capabilityLine = regexp.MustCompile(`^\\\* CAPABILITY (.*)$`)
	capabilityWord = regexp.MustCompile(`[A-Z][A-Za-z0-9=\\+\-/]+`)
)

// pattern is the regular expression of a response, without human text.
func (a *answer) pattern() (*regexp.Regexp, error) {
	text := recent.ReplaceAllLiteralString(uidvalidity.ReplaceAllLiteralString(strings.Join(a.lines, "\r\n"), `\[UIDVALIDITY \d+`), "")
	if strings.Contains(text, "(?!") {
		return nil, fmt.Errorf("what must not be there is not understood: %s", text)
	}
	if m := statusLine.FindStringSubmatch(text); m != nil {
		text = m[1] + " " + m[2] + code(m[3])
	}
	text = size.ReplaceAllString(text, `$1\{$2\}`)
	if a.tag() == "+" {
		text = `\+.*`
	}
	return regexp.Compile("(?is)^" + text + "$")
}

// code gives the pattern of a response code and of any text behind it.
func code(rest string) string {
	if strings.HasPrefix(rest, `\[`) {
		if end := strings.LastIndex(rest, `\]`); end > 0 {
			return " " + rest[:end] + `\].*`
		}
		return " " + rest
	}
	return "( .*)?" // any code, or none
}

// matches tells whether a response is what the script wants.
func (a *answer) matches(got *client.Response) (bool, error) {
	if m := capabilityLine.FindStringSubmatch(a.lines[0]); m != nil && len(a.lines) == 1 {
		return got.Name() == "CAPABILITY" && hasAll(got, capabilityWord.FindAllString(m[1], -1)), nil
	}
	re, err := a.pattern()
	if err != nil {
		return false, err
	}
	for _, text := range variants(unasked(got, a.lines[0])) {
		if re.MatchString(text) {
			return true, nil
		}
	}
	return false, nil
}

func hasAll(got *client.Response, words []string) bool {
	for _, w := range words {
		w = strings.ReplaceAll(w, `\`, "")
		if !slices.ContainsFunc(got.Values, func(v client.Value) bool { return v.Is(w) }) {
			return false
		}
	}
	return true
}

// unasked leaves UID and MODSEQ out of the news of a message, where they may
// be, if the script does not have them.
func unasked(r *client.Response, pattern string) *client.Response {
	if r.Name() != "FETCH" || len(r.Values) != 3 || !news(r) {
		return r
	}
	var items []client.Value
	list := r.Values[2].List
	for i := 0; i+1 < len(list); i += 2 {
		if list[i].Is("FLAGS") || strings.Contains(pattern, list[i].Text) {
			items = append(items, list[i], list[i+1])
		}
	}
	less := *r
	less.Values = []client.Value{r.Values[0], r.Values[1], {Kind: client.List, List: items}}
	return &less
}

// variants gives the ways in which a response might have been written.
func variants(r *client.Response) []string {
	all := []string{string(r.Raw)}
	if r.CodeIs("PERMANENTFLAGS") && len(r.Code) == 2 {
		for _, order := range flagOrders {
			all = append(all, "* OK [PERMANENTFLAGS "+orderFlags(r.Code[1].List, order)+"]")
		}
		return all
	}
	if r.Name() == "FLAGS" && len(r.Values) == 2 {
		for _, order := range flagOrders {
			all = append(all, "* FLAGS "+orderFlags(r.Values[1].List, order))
		}
		return all
	}
	if r.Tag != "*" || len(r.Values) < 2 {
		return all
	}
	if r.Name() == "FETCH" && len(r.Values) == 3 && r.Values[2].Kind == client.List {
		items := r.Values[2].List
		if len(items)%2 == 0 && len(items) <= 12 {
			for _, order := range flagOrders {
				permute(pairs(items, order), 0, func(order []string) {
					all = append(all, fmt.Sprintf("* %s FETCH (%s)", r.Values[0], strings.Join(order, " ")))
				})
			}
		}
		return all
	}
	for _, quote := range []bool{true, false} {
		words := []string{"*"}
		for i, v := range r.Values {
			words = append(words, write(v, quote && i > 0))
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}

// write gives a value as a server may write it: strings all quoted, or quoted
// only where they must be.
func write(v client.Value, quote bool) string {
	switch v.Kind {
	case client.List:
		words := make([]string, len(v.List))
		for i, w := range v.List {
			words[i] = write(w, quote && w.Kind != client.Atom)
		}
		return "(" + strings.Join(words, " ") + ")"
	case client.Nil:
		return "NIL"
	case client.Literal:
		if strings.ContainsAny(v.Text, "\r\n") {
			return fmt.Sprintf("{%d}\r\n%s", len(v.Text), v.Text)
		}
	}
	if !quote && v.Kind != client.Literal && v.Text != "" && !strings.ContainsAny(v.Text, " \"\\()") {
		return v.Text
	}
	if strings.HasPrefix(v.Text, `\`) && v.Kind == client.Atom {
		return v.Text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v.Text) + `"`
}

// flagOrders are the orders in which James and Cyrus write the flags that they
// know; others follow as the server has them. Which session sees \Recent is
// left to the server and not compared.
var flagOrders = [][]string{
	{`\Answered`, `\Deleted`, `\Draft`, `\Flagged`, `\Seen`},
	{`\Answered`, `\Flagged`, `\Draft`, `\Deleted`, `\Seen`},
}

func orderFlags(flags []client.Value, order []string) string {
	place := func(v client.Value) int {
		if i := slices.IndexFunc(order, func(f string) bool { return strings.EqualFold(f, v.Text) }); i >= 0 {
			return i
		}
		return len(order)
	}
	flags = slices.DeleteFunc(slices.Clone(flags), func(v client.Value) bool { return v.Is(`\Recent`) })
	slices.SortStableFunc(flags, func(a, b client.Value) int { return place(a) - place(b) })
	return "(" + client.Join(flags) + ")"
}

// pairs gives the items of a FETCH response as they are, but with their flags
// in that order.
func pairs(items []client.Value, order []string) []string {
	var all []string
	for i := 0; i+1 < len(items); i += 2 {
		value := exact(items[i+1])
		if items[i].Is("FLAGS") {
			value = orderFlags(items[i+1].List, order)
		}
		all = append(all, items[i].Text+" "+value)
	}
	return all
}

// exact writes a value as servers do.
func exact(v client.Value) string {
	switch v.Kind {
	case client.List:
		var out strings.Builder
		lists := true // so far: addresses and parts stand without a space
		for i, w := range v.List {
			if lists = lists && w.Kind == client.List; i > 0 && !lists {
				out.WriteByte(' ')
			}
			out.WriteString(exact(w))
		}
		return "(" + out.String() + ")"
	case client.Literal:
		return fmt.Sprintf("{%d}\r\n%s", len(v.Text), v.Text)
	case client.Quoted:
		return write(v, true)
	}
	return v.String()
}

// permute calls f with every order of words from index n on.
func permute(words []string, n int, f func([]string)) {
	if n >= len(words)-1 {
		f(words)
		return
	}
	for i := n; i < len(words); i++ {
		words[n], words[i] = words[i], words[n]
		permute(words, n+1, f)
		words[n], words[i] = words[i], words[n]
	}
}

// news tells whether a server may say it unasked.
func news(r *client.Response) bool {
	switch r.Name() {
	case "EXISTS", "RECENT", "FLAGS", "CAPABILITY":
		return true
	case "OK":
		return len(r.Code) > 0
	case "FETCH":
		for i := 0; len(r.Values) == 3 && i < len(r.Values[2].List); i += 2 {
			if v := r.Values[2].List[i]; !v.Is("FLAGS") && !v.Is("UID") && !v.Is("MODSEQ") {
				return false
			}
		}
		return true
	}
	return false
}
