package imapd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail/outline"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
	"github.com/migiwa/migiwa/test/peers"
)

// dovecot is a session with a Dovecot that has a mailbox selected.
type dovecot struct {
	t    testing.TB
	peer *peers.DovecotServer
	nc   net.Conn
	r    *bufio.Reader
	gone bool // it closed the session
}

func newDovecot(t testing.TB) *dovecot {
	t.Helper()
	d := &dovecot{t: t, peer: peers.DovecotLMTP(t, "ann@example.test")}
	d.connect()
	t.Cleanup(func() { d.nc.Close() })
	return d
}

func (d *dovecot) connect() {
	d.t.Helper()
	nc, err := net.Dial("tcp", d.peer.IMAP)
	if err != nil {
		d.t.Fatal(err)
	}
	d.nc, d.r, d.gone = nc, bufio.NewReader(nc), false
	d.line()
	d.do("LOGIN ann@example.test " + peers.DovecotPassword)
	d.do("SELECT INBOX")
}

// line reads one response line with its literals.
func (d *dovecot) line() string {
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
			d.t.Fatalf("dovecot: %v", err)
		}
		b.WriteString(s)
		n := literalSize(strings.TrimRight(s, "\r\n"))
		if n < 0 {
			return b.String()
		}
		if _, err := io.CopyN(&b, d.r, n); err != nil {
			d.t.Fatalf("dovecot: %v", err)
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
func (d *dovecot) do(cmd string) (fetch []string, tagged string) {
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
func (d *dovecot) fetch(items ...string) (map[string]string, string) {
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
	write("BODY", func(e *wire.Encoder) { writeStructure(e, &o.Root, false) })
	write("BODYSTRUCTURE", func(e *wire.Encoder) { writeStructure(e, &o.Root, true) })
	put("RFC822.SIZE", strconv.Itoa(len(raw)))
	header := raw[:o.Root.HeaderSize]
	put("BODY[HEADER]", strconv.Quote(header))
	put("BODY[TEXT]", strconv.Quote(raw[o.Root.BodyOffset:]))
	put("BODY[HEADER.FIELDS ("+fieldsOf+")]", strconv.Quote(string(outline.Fields([]byte(header), strings.Fields(fieldsOf), false))))
	put("BODY[HEADER.FIELDS.NOT ("+fieldsOf+")]", strconv.Quote(string(outline.Fields([]byte(header), strings.Fields(fieldsOf), true))))
	if o.Root.Kind == outline.Multipart {
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
		size, _, _ := p.DecodedSize(strings.NewReader(body))
		put("BINARY["+name+"]", strconv.Quote(string(b)))
		put("BINARY.SIZE["+name+"]", strconv.FormatInt(size, 10))
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

// ask gives what Dovecot says of the items of a message.
func (d *dovecot) ask(raw string, items []string) map[string]string {
	d.t.Helper()
	_, tagged := d.do(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(raw), raw))
	if !strings.HasPrefix(tagged, "a OK") && !d.gone {
		d.t.Fatalf("dovecot: %s", tagged)
	}
	var plain []string
	got := map[string]string{}
	for _, item := range items {
		peek := strings.Replace(strings.Replace(item, "BODY[", "BODY.PEEK[", 1), "BINARY[", "BINARY.PEEK[", 1)
		if !strings.HasPrefix(item, "BINARY") {
			plain = append(plain, peek)
			continue
		}
		m, tagged := d.fetch(peek)
		got[item] = m[item]
		if !strings.HasPrefix(tagged, "a OK") {
			_, tagged, _ = strings.Cut(tagged, "NO ")
			tagged, _, _ = strings.Cut(tagged, " ")
			got[item] = tagged
		}
	}
	m, tagged := d.fetch(plain...)
	if !strings.HasPrefix(tagged, "a OK") && !d.gone {
		d.t.Errorf("dovecot: %s", tagged)
	}
	for item, v := range m {
		got[item] = v
	}
	return got
}

// compare gives the items of a message that Dovecot tells otherwise.
func (d *dovecot) compare(raw string) []string {
	d.t.Helper()
	mine, items := ours(d.t, raw)
	theirs := d.ask(raw, items)
	if d.gone {
		d.nc.Close()
		d.connect()
		return nil
	}
	// Of plain ASCII Dovecot remembers no more than that, and writes the type
	// in lower case.
	plain := strings.HasPrefix(theirs["BODY"], `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit"`)
	var out []string
	for _, item := range items {
		if mine[item] != theirs[item] && !(plain && strings.EqualFold(mine[item], theirs[item])) {
			out = append(out, item+difference(mine[item], theirs[item]))
		}
	}
	return out
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

func TestAsDovecotCorpora(t *testing.T) {
	d := newDovecot(t)
	agree, all := 0, 0
	for name, raw := range corpus(t) {
		diff := d.compare(raw)
		all++
		if len(diff) == 0 {
			agree++
			continue
		}
		t.Logf("%s: %d items differ: %s", name, len(diff), strings.Join(diff, "\n"))
	}
	t.Logf("%d of %d messages agree in every item", agree, all)
}

func TestAsDovecotBreakages(t *testing.T) {
	d := newDovecot(t)
	agree := 0
	for _, name := range slices.Sorted(maps.Keys(breakages)) {
		diff := d.compare(strings.ReplaceAll(breakages[name], "\n", "\r\n"))
		if len(diff) == 0 {
			agree++
			continue
		}
		t.Logf("%s: %d items differ: %s", name, len(diff), strings.Join(diff, "\n"))
	}
	t.Logf("%d of %d messages agree in every item", agree, len(breakages))
}
