package imapd

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
	"github.com/migiwa/migiwa/test/peers"
)

// told is a session that tells what a server says of messages.
type told struct {
	t     testing.TB
	name  string
	dial  func() (net.Conn, error)
	login string
	nc    net.Conn
	r     *bufio.Reader
	gone  bool // the server closed the session
}

// byDovecot is a session with a Dovecot.
func byDovecot(t testing.TB) *told {
	t.Helper()
	p := peers.DovecotLMTP(t, "ann@example.test")
	d := &told{t: t, name: "Dovecot", login: "ann@example.test " + peers.DovecotPassword}
	d.dial = func() (net.Conn, error) { return net.Dial("tcp", p.IMAP) }
	d.connect()
	t.Cleanup(func() { d.nc.Close() })
	return d
}

// byUs is a session with our server.
func byUs(t testing.TB) *told {
	t.Helper()
	h := newHouse(t)
	d := &told{t: t, name: "our server", login: `alice "open sesame"`}
	d.dial = func() (net.Conn, error) { return tls.Dial("tcp", h.addr, &tls.Config{InsecureSkipVerify: true}) }
	d.connect()
	t.Cleanup(func() { d.nc.Close() })
	return d
}

func (d *told) connect() {
	d.t.Helper()
	nc, err := d.dial()
	if err != nil {
		d.t.Fatal(err)
	}
	d.nc, d.r, d.gone = nc, bufio.NewReader(nc), false
	d.line()
	d.do("LOGIN " + d.login)
	d.do("SELECT INBOX")
}

// line reads one response line with its literals.
func (d *told) line() string {
	d.t.Helper()
	d.nc.SetDeadline(time.Now().Add(time.Minute))
	var b strings.Builder
	for {
		s, err := d.r.ReadString('\n')
		if err == io.EOF {
			d.gone = true
			return "a GONE"
		}
		if err != nil {
			d.t.Fatalf("%s: %v", d.name, err)
		}
		b.WriteString(s)
		n := literalSize(strings.TrimRight(s, "\r\n"))
		if n < 0 {
			return b.String()
		}
		if _, err := io.CopyN(&b, d.r, n); err != nil {
			d.t.Fatalf("%s: %v", d.name, err)
		}
	}
}

// literalSize gives what {n} at the end of a line says, or -1.
func literalSize(s string) int64 {
	i := strings.LastIndexByte(s, '{')
	if i < 0 || !strings.HasSuffix(s, "}") {
		return -1
	}
	n, err := strconv.ParseInt(s[i+1:len(s)-1], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// do sends a command and gives the FETCH responses and the tagged one.
func (d *told) do(cmd string) (fetch []string, tagged string) {
	d.t.Helper()
	d.nc.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(d.nc, "a "+cmd+"\r\n"); err != nil {
		d.gone = true
		return nil, "a GONE"
	}
	for {
		s := d.line()
		if strings.HasPrefix(s, "a ") {
			return fetch, s
		}
		if w := strings.SplitN(s, " ", 4); len(w) == 4 && w[2] == "FETCH" {
			fetch = append(fetch, w[3])
		}
	}
}

// fetch gives the items of the last message.
func (d *told) fetch(items ...string) (map[string]string, string) {
	d.t.Helper()
	list, tagged := d.do("FETCH * (" + strings.Join(items, " ") + ")")
	got := map[string]string{}
	for _, s := range list {
		p := parser{s[1:]}
		for p.in != "" && p.in[0] != ')' {
			name := p.item()
			got[name] = p.value()
			p.in = strings.TrimPrefix(p.in, " ")
		}
	}
	return got, tagged
}

// parser rewrites IMAP data so that the same data is the same text.
type parser struct{ in string }

// item reads the name of a FETCH item and the space behind it.
func (p *parser) item() string {
	depth, i := 0, 0
	for ; i < len(p.in) && (depth > 0 || p.in[i] != ' '); i++ {
		switch p.in[i] {
		case '[':
			depth++
		case ']':
			depth--
		}
	}
	name := p.in[:i]
	p.in = p.in[min(i+1, len(p.in)):]
	return name
}

func (p *parser) value() string {
	switch {
	case p.in == "":
		return "?"
	case p.in[0] == '(':
		return p.list()
	case p.in[0] == '"':
		var b strings.Builder
		i := 1
		for ; p.in[i] != '"'; i++ {
			if p.in[i] == '\\' {
				i++
			}
			b.WriteByte(p.in[i])
		}
		p.in = p.in[i+1:]
		return strconv.Quote(b.String())
	case p.in[0] == '{' || strings.HasPrefix(p.in, "~{"):
		head, rest, _ := strings.Cut(p.in, "\r\n")
		n := literalSize(head)
		p.in = rest[n:]
		return strconv.Quote(rest[:n])
	}
	i := strings.IndexAny(p.in, " ()\r\n")
	if i < 0 {
		i = len(p.in)
	}
	s := p.in[:i]
	p.in = p.in[i:]
	return s
}

func (p *parser) list() string {
	var out []string
	for p.in = p.in[1:]; p.in != "" && p.in[0] != ')'; p.in = strings.TrimLeft(p.in, " ") {
		out = append(out, p.value())
	}
	p.in = strings.TrimPrefix(p.in, ")")
	return "(" + strings.Join(out, " ") + ")"
}

// fieldsOf is what is asked for with HEADER.FIELDS.
const fieldsOf = "FROM TO CONTENT-TYPE RECEIVED"

// ours gives what we say of a message: values by item, and the items in order.
func ours(t testing.TB, raw string) (map[string]string, []string) {
	t.Helper()
	o, err := outline.Read(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if o, err = outline.Decode(o.Append(nil)); err != nil {
		t.Fatal(err)
	}
	got, order := map[string]string{}, []string{}
	put := func(item, value string) {
		got[item] = value
		order = append(order, item)
	}
	write := func(item string, fn func(e *wire.Encoder)) {
		var b bytes.Buffer
		e := &wire.Encoder{W: bufio.NewWriter(&b)}
		fn(e)
		e.W.Flush()
		p := parser{b.String()}
		put(item, p.value())
		if p.in != "" {
			t.Errorf("%s: %q is left of %q", item, p.in, b.String())
		}
	}
	write("ENVELOPE", func(e *wire.Encoder) { writeEnvelope(e, &o.Envelope) })
	write("BODY", func(e *wire.Encoder) { writeStructure(e, o.Root(), false) })
	write("BODYSTRUCTURE", func(e *wire.Encoder) { writeStructure(e, o.Root(), true) })
	put("RFC822.SIZE", strconv.Itoa(len(raw)))
	header := raw[:o.Root().HeaderSize]
	put("BODY[HEADER]", strconv.Quote(header))
	put("BODY[TEXT]", strconv.Quote(raw[o.Root().BodyOffset:]))
	put("BODY[HEADER.FIELDS ("+fieldsOf+")]", strconv.Quote(string(outline.Fields([]byte(header), strings.Fields(fieldsOf), false))))
	put("BODY[HEADER.FIELDS.NOT ("+fieldsOf+")]", strconv.Quote(string(outline.Fields([]byte(header), strings.Fields(fieldsOf), true))))
	if o.Root().Kind == outline.Multipart {
		sections(o, raw, nil, put)
	} else {
		sectionOf(o, raw, []int{1}, put)
	}
	return got, order
}

// sections puts the sections of the children of the multipart at path.
func sections(o *outline.Outline, raw string, path []int, put func(item, value string)) {
	p, _ := o.Section(path)
	if in, ok := p.Inner(); ok {
		p = in
	}
	for n := range p.Children {
		sectionOf(o, raw, append(path[:len(path):len(path)], n+1), put)
	}
}

func sectionOf(o *outline.Outline, raw string, path []int, put func(item, value string)) {
	name := strings.Trim(strings.ReplaceAll(fmt.Sprint(path), " ", "."), "[]")
	p, ok := o.Section(path)
	if !ok {
		put("BODY["+name+"]", "not found")
		return
	}
	body := raw[p.BodyOffset : p.BodyOffset+p.BodySize]
	put("BODY["+name+"]", strconv.Quote(body))
	put("BODY["+name+".MIME]", strconv.Quote(raw[p.HeaderOffset:p.BodyOffset]))
	if decoded, ok := p.Decode(strings.NewReader(body)); p.Kind != outline.Leaf {
		// RFC 3516 knows no decoding of composites; Dovecot decodes what is in them.
	} else if ok {
		b, err := io.ReadAll(decoded)
		if err != nil {
			panic(err)
		}
		put("BINARY["+name+"]", strconv.Quote(string(b)))
		put("BINARY.SIZE["+name+"]", strconv.Itoa(len(b)))
	} else {
		put("BINARY["+name+"]", "[UNKNOWN-CTE]")
	}
	if in, ok := p.Inner(); ok {
		put("BODY["+name+".HEADER]", strconv.Quote(raw[in.HeaderOffset:in.BodyOffset]))
		put("BODY["+name+".TEXT]", strconv.Quote(raw[in.BodyOffset:in.BodyOffset+in.BodySize]))
		if in.Kind != outline.Multipart {
			sectionOf(o, raw, append(path[:len(path):len(path)], 1), put)
			return
		}
	}
	sections(o, raw, path, put)
}

// ask gives what the server says of the items of a message. What it does not
// say, because it fails, is not there.
func (d *told) ask(raw string, items []string) map[string]string {
	d.t.Helper()
	_, tagged := d.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(raw), raw))
	if !strings.HasPrefix(tagged, "a OK") {
		d.t.Fatalf("%s: APPEND: %s", d.name, tagged)
	}
	var plain, binary []string
	for _, item := range items {
		if strings.HasPrefix(item, "BINARY") {
			binary = append(binary, item)
		} else {
			plain = append(plain, strings.Replace(item, "BODY[", "BODY.PEEK[", 1))
		}
	}
	got, tagged := d.fetch(plain...)
	if !strings.HasPrefix(tagged, "a OK") {
		d.t.Errorf("%s: FETCH: %s", d.name, tagged)
	}
	for _, item := range binary {
		m, tagged := d.fetch(strings.Replace(item, "BINARY[", "BINARY.PEEK[", 1))
		if d.gone {
			d.nc.Close()
			d.connect()
			return got
		}
		got[item] = m[item]
		if _, why, no := strings.Cut(tagged, "NO "); no {
			got[item], _, _ = strings.Cut(why, " ")
		}
	}
	return got
}

// compare tells how what Dovecot says of a message differs from what we say,
// "" when it does not or when the difference is one that we want, whose reason
// is counted.
func compare(us, dovecot *told, raw string, reasons map[string]int) string {
	us.t.Helper()
	meant, items := ours(us.t, raw)
	mine, theirs := us.ask(raw, items), dovecot.ask(raw, items)
	var out []string
	for _, item := range items {
		if mine[item] != meant[item] {
			out = append(out, item+" of our server is not of the outline"+difference(mine[item], meant[item]))
		}
		if mine[item] == theirs[item] {
			continue
		}
		if why := wanted(item, mine, theirs); why != "" {
			reasons[why]++
			continue
		}
		out = append(out, item+difference(mine[item], theirs[item]))
	}
	return strings.Join(out, "\n")
}

// wanted gives the reason for a difference of an item that we want.
func wanted(item string, mine, theirs map[string]string) string {
	a, b := mine[item], theirs[item]
	if _, said := theirs[item]; !said && strings.HasPrefix(item, "BINARY") {
		return "Dovecot fails at BINARY of a broken message and closes the session"
	}
	binary := strings.Replace(item, ".SIZE", "", 1)
	switch {
	case strings.HasPrefix(item, "BINARY") && (b == "[PARSE]" || b == "[UNKNOWN-CTE]"):
		return "BINARY decodes broken encodings as far as possible, and a part whatever its neighbours are"
	case strings.HasPrefix(item, "BINARY.SIZE") && mine[binary] == theirs[binary]:
		return "BINARY.SIZE is the size of BINARY, which Dovecot's is not for some"
	case strings.HasPrefix(item, "BINARY[") && strings.Count(mine["BODY"+item[len("BINARY"):len(item)-1]+".MIME]"], "Content-Transfer-Encoding:") > 1:
		return "of encodings given twice the first counts, for BINARY as well as for BODYSTRUCTURE"
	case strings.HasPrefix(item, "BODY[") && longerByLine(a, b):
		return lineEnd
	case strings.HasPrefix(item, "BODY") && digits.ReplaceAllString(a, "") == digits.ReplaceAllString(b, ""):
		for section := range mine { // the same, in the size of a message
			if strings.HasSuffix(section, ".TEXT]") && longerByLine(mine[section], theirs[section]) {
				return lineEnd
			}
		}
	}
	return ""
}

// longerByLine tells whether b is a and a line end.
func longerByLine(a, b string) bool {
	return strings.TrimSuffix(a, `"`) == strings.TrimSuffix(b, `\r\n"`)
}

const lineEnd = "the line end before a boundary belongs to it, behind a closing boundary too (RFC 2046 section 5.1.1)"

var digits = regexp.MustCompile(`[0-9]+`)

// ourWay are the breakages for which we want another answer.
var ourWay = map[string]string{
	"empty boundary":          "a boundary of no octets is none",
	"encoding with semicolon": "an encoding that cannot be read is 7bit for BINARY, as BODYSTRUCTURE says",
	"message/global":          "HEADER and TEXT of a message/global are what they are of a message/rfc822",
	"fields of white space":   "a field of white space is an empty field",
	"long boundary":           "Dovecot cuts boundaries at 80 octets",
	"pieces":                  "Dovecot gives name* the number of the parameter before it",
	"pieces in other case":    "Dovecot joins pieces of a parameter only where the case is the same",
}

// difference shows where two texts differ.
func difference(ours, theirs string) string {
	n := 0
	for n < min(len(ours), len(theirs)) && ours[n] == theirs[n] {
		n++
	}
	n = max(n-60, 0)
	return fmt.Sprintf("\n   ours %.200s\ndovecot %.200s", ours[min(n, len(ours)):], theirs[min(n, len(theirs)):])
}

// compareAll reports each difference that is not wanted, and how many messages
// agree.
func compareAll(t *testing.T, messages iter.Seq2[string, string]) {
	dovecot, us := byDovecot(t), byUs(t)
	agree, all, reasons := 0, 0, map[string]int{}
	for name, raw := range messages {
		all++
		here := map[string]int{}
		diff := compare(us, dovecot, raw, here)
		switch why := ourWay[name]; {
		case diff != "" && why != "":
			reasons[why]++
		case diff != "":
			t.Errorf("%s: %s", name, diff)
		case why != "":
			t.Errorf("%s: no difference, but one is expected: %s", name, why)
		case len(here) == 0:
			agree++
		}
		for why, n := range here {
			reasons[why] += n
		}
	}
	t.Logf("%d of %d messages agree with Dovecot in every item", agree, all)
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		t.Logf("%d items differ: %s", reasons[why], why)
	}
}

func TestAsDovecotCorpora(t *testing.T) { compareAll(t, corpus(t)) }

func TestAsDovecotBreakages(t *testing.T) {
	compareAll(t, func(yield func(string, string) bool) {
		for _, name := range slices.Sorted(maps.Keys(breakages)) {
			if !yield(name, strings.ReplaceAll(breakages[name], "\n", "\r\n")) {
				return
			}
		}
	})
}
