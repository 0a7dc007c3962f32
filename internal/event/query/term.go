package query

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/VictoriaMetrics/VictoriaLogs/lib/logstorage"

	"github.com/migiwa/migiwa/internal/event"
)

// addressed are the fields that hold mail addresses, in lower case.
var addressed = []string{"from", "to", "account", "actor"}

// worded are the fields in which free words are looked for.
var worded = []string{"from", "to", "subject", "text", "reason", "evidence", "message_id", "account", "actor", "host", "helo", "name",
	"identity", "mailbox", "verb", "query"}

// known are the fields by which a message is known.
var known = []string{"trace", "session", "next", "message_id", "ref", "queue"}

// judged are the fields that hold what was decided.
var judged = []string{"verdict", "why", "truth", "spf"}

// compile makes a test of a word.
func compile(w word) (test, error) {
	switch {
	case w.field == "":
		return contains(worded, w.value), nil
	case slices.Contains(addressed, w.field):
		return address(w.field, strings.ToLower(w.value)), nil
	}
	switch w.field {
	case "ip":
		return network(w)
	case "subject":
		return contains([]string{"subject"}, w.value), nil
	case "id":
		return equals(known, strings.Trim(w.value, "<>")), nil
	case "verdict":
		return equals(judged, w.value), nil
	case "code":
		return code(w)
	}
	if !event.IsField(w.field) || w.field == "time" {
		return test{}, &Error{w.text, "there is no such field; there are id, code, verdict, since, until, logsql and " + fieldNames()}
	}
	if strings.Contains(w.value, "*") && !w.quoted {
		return pattern(w.field, w.value, "", ""), nil
	}
	return equals([]string{w.field}, w.value), nil
}

func fieldNames() string {
	var names []string
	for _, f := range event.Fields[1:] {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

// quote makes a string of LogsQL.
func quote(s string) string { return strconv.Quote(strings.ToValidUTF8(s, "\uFFFD")) }

// equals looks for a field that is the value.
func equals(fields []string, want string) test {
	want = strings.ToValidUTF8(want, "\uFFFD")
	var parts []string
	for _, f := range fields {
		switch f {
		case "node", "kind": // those of streams
			parts = append(parts, fmt.Sprintf("{%s=%s}", f, quote(want)))
		default:
			parts = append(parts, fmt.Sprintf("%s:=%s", f, quote(want)))
		}
	}
	return test{either(parts), func(e *event.Event) bool {
		return slices.ContainsFunc(fields, func(f string) bool { return e.Get(f) == want })
	}}
}

func either(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + strings.Join(parts, " or ") + ")"
}

// spellings gives the usual ways to write a word, which the store finds by its
// index. To look for any others would mean to read all text there is.
func spellings(s string) []string {
	lower := strings.ToLower(s)
	first, size := utf8.DecodeRuneInString(lower)
	forms := []string{s, lower, string(unicode.ToUpper(first)) + lower[size:], strings.ToUpper(s)}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// contains looks for words in texts, written as they are, in small letters, with
// a capital or in capitals. What has * at both ends, or letters beyond ASCII, as
// languages have that put no spaces between words, is looked for within words,
// too.
func contains(fields []string, part string) test {
	part = strings.ToValidUTF8(part, "\uFFFD")
	inner := strings.Trim(part, "*")
	within := inner != "" && strings.HasPrefix(part, "*") && strings.HasSuffix(part, "*")
	if within {
		part = inner
	}
	within = within || strings.ContainsFunc(part, func(r rune) bool { return r >= utf8.RuneSelf })
	forms := spellings(part)
	var all, parts []string
	for _, f := range forms {
		if within {
			all = append(all, "*"+quote(f)+"*")
		} else {
			all = append(all, quote(f))
		}
	}
	for _, f := range fields {
		parts = append(parts, fmt.Sprintf("%s:(%s)", f, strings.Join(all, " or ")))
	}
	return test{either(parts), func(e *event.Event) bool {
		return slices.ContainsFunc(fields, func(f string) bool {
			text := e.Get(f)
			return slices.ContainsFunc(forms, func(form string) bool {
				if within {
					return strings.Contains(text, form)
				}
				return hasPhrase(text, form)
			})
		})
	}}
}

// hasPhrase tells whether a text has a phrase that does not begin or end within
// a word.
func hasPhrase(text, phrase string) bool {
	first, _ := utf8.DecodeRuneInString(phrase)
	last, _ := utf8.DecodeLastRuneInString(phrase)
	for at := 0; ; {
		i := strings.Index(text[at:], phrase)
		if i < 0 {
			return false
		}
		begin, end := at+i, at+i+len(phrase)
		before, _ := utf8.DecodeLastRuneInString(text[:begin])
		after, _ := utf8.DecodeRuneInString(text[end:])
		if !(begin > 0 && inWord(first) && inWord(before)) && !(end < len(text) && inWord(last) && inWord(after)) {
			return true
		}
		at = begin + 1
	}
}

// inWord tells whether a character is a part of words, as the store has it.
func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

// address looks for an address, a local part, a domain or a pattern.
func address(field, want string) test {
	bare := strings.Trim(want, "<>")
	local, domain, at := strings.Cut(bare, "@")
	switch {
	case bare == "": // the null sender
		return equals([]string{field}, "<>")
	case strings.Contains(bare, "*"):
		return pattern(field, bare, "<?", ">?")
	case at && local == "":
		return within(field, domain, "@", ">?$")
	case !at && strings.Contains(bare, "."):
		return within(field, bare, "@", ">?$")
	case !at:
		return within(field, bare, "^<?", "@")
	}
	forms := []string{bare, "<" + bare + ">"}
	return test{fmt.Sprintf("%s:in(%s,%s)", field, quote(forms[0]), quote(forms[1])), func(e *event.Event) bool {
		return slices.Contains(forms, e.Get(field))
	}}
}

// within looks for a part between two expressions. The words in it are looked
// for first, which the store does by its index.
func within(field, part, before, behind string) test {
	part = strings.ToValidUTF8(part, "\uFFFD")
	re := regexp.MustCompile(before + regexp.QuoteMeta(part) + behind)
	logsql := fmt.Sprintf("%s:~%s", field, quote(re.String()))
	if isWord(part) {
		logsql = fmt.Sprintf("%s:%s %s", field, quote(part), logsql)
	}
	return test{"(" + logsql + ")", func(e *event.Event) bool { return re.MatchString(e.Get(field)) }}
}

// isWord tells whether a part that ends at other characters is found as a
// phrase by the store.
func isWord(part string) bool {
	ends := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
	return part != "" && ends(part[0]) && ends(part[len(part)-1])
}

// pattern compares a whole field with a text in which * is anything.
func pattern(field, want, before, behind string) test {
	want = strings.ToValidUTF8(want, "\uFFFD")
	parts := strings.Split(want, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	re := regexp.MustCompile("(?s)^" + before + strings.Join(parts, ".*") + behind + "$")
	inner := strings.Trim(want, "*")
	logsql := fmt.Sprintf("%s:~%s", field, quote(re.String()))
	if inner != "" && !strings.Contains(inner, "*") {
		logsql = fmt.Sprintf("%s:*%s* %s", field, quote(inner), logsql) // quicker, and mostly enough
	}
	return test{"(" + field + ":* " + logsql + ")", func(e *event.Event) bool {
		v := e.Get(field)
		return v != "" && re.MatchString(v)
	}}
}

// network looks for an address of the peer.
func network(w word) (test, error) {
	if a, err := netip.ParseAddr(w.value); err == nil {
		return equals([]string{"ip"}, a.Unmap().String()), nil
	}
	p, err := netip.ParsePrefix(w.value)
	if err != nil {
		return test{}, &Error{w.text, "neither an address nor a network: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"}
	}
	p = p.Masked()
	filter := "ipv6_range"
	if p.Addr().Is4() {
		filter = "ipv4_range"
	}
	return test{fmt.Sprintf("ip:%s(%s)", filter, quote(p.String())), func(e *event.Event) bool { return p.Contains(e.IP) }}, nil
}

var (
	replyClass = regexp.MustCompile(`^([2-5])xx$`)
	enhanced   = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)
)

// code looks for a reply code, a class of them or an enhanced code.
func code(w word) (test, error) {
	if m := replyClass.FindStringSubmatch(strings.ToLower(w.value)); m != nil {
		class := int(m[1][0] - '0')
		return test{fmt.Sprintf("code:range[%d00,%d99]", class, class), func(e *event.Event) bool { return e.Code/100 == class }}, nil
	}
	if enhanced.MatchString(w.value) {
		return equals([]string{"enhanced"}, w.value), nil
	}
	if n, err := strconv.Atoi(w.value); err != nil || n < 100 || n > 999 {
		return test{}, &Error{w.text, "no reply code: write 550, 5xx or 5.1.1"}
	}
	return equals([]string{"code"}, w.value), nil
}

// checkRaw tells what is wrong with LogsQL.
func checkRaw(raw string) error {
	if raw == "" {
		return &Error{"logsql:", "there is nothing to look for"}
	}
	if _, err := logstorage.ParseFilter(raw); err != nil {
		return &Error{"logsql:", err.Error()}
	}
	return nil
}
