package client

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestParseResponse(t *testing.T) {
	for in, want := range map[string]string{
		`* LIST (\HasNoChildren) "/" "a \"b\""`:                         `LIST (\HasNoChildren) "/" "a \"b\""`,
		"* 3 FETCH (BODY[HEADER.FIELDS (From To)]<0> {3}\r\nabc UID 4)": `3 FETCH (BODY[HEADER.FIELDS (From To)]<0> "abc" UID 4)`,
		"* 1 FETCH (BINARY[1] ~{2}\r\n\x00) FLAGS ())":                  `1 FETCH (BINARY[1] "\x00)" FLAGS ())`,
		"* THREAD (1 (2)(3 4))(5)":                                      `THREAD (1 (2) (3 4)) (5)`,
		"* SEARCH":                                                      "SEARCH",
		`* X NIL nil "NIL"`:                                             `X NIL NIL "NIL"`,
	} {
		r, err := ParseResponse([]byte(in))
		if err != nil {
			t.Errorf("%q: %v", in, err)
		} else if got := Join(r.Values); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
	for _, bad := range []string{"", " X", "* ", "* (a", "* a)", "* a  b", "* a ", "* \"a", "* ( a)", "* (a )", "* \"\\x\"", "* a\"b\"", "* (a)b",
		"* OK [A", "* " + strings.Repeat("(", 300)} {
		if r, err := ParseResponse([]byte(bad)); err == nil {
			t.Errorf("%q is taken as %s", bad, Join(r.Values))
		}
	}
	r, err := ParseResponse([]byte(`* OK [PERMANENTFLAGS (\Deleted \*)] Limited "text`))
	if err != nil || !r.CodeIs("permanentflags") || r.Text != `Limited "text` || !r.Status("OK") {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := ParseResponse([]byte("A1 NO gone")); err != nil || r.Tag != "A1" || !r.Status("NO") || r.Text != "gone" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestWrite sends literals of both kinds.
func TestWrite(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	got := make(chan string, 1)
	go func() {
		in := bufio.NewReader(theirs)
		var all string
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			all += line
			if strings.HasSuffix(line, "{3}\r\n") {
				fmt.Fprint(theirs, "* 1 EXISTS\r\n+ go\r\n")
			}
			if strings.HasSuffix(all, "\r\n\r\n\r\n") {
				fmt.Fprint(theirs, "T1 OK\r\n")
				break
			}
		}
		got <- all
	}()
	c := &Conn{conn: ours, in: bufio.NewReader(ours)}
	all, err := c.OK("X {4+}\r\na{3} {3}\r\nabc {2+}\r\n\r\n")
	if err != nil || len(all) != 2 || all[0].Name() != "EXISTS" {
		t.Errorf("%v %v", all, err)
	}
	if got := <-got; got != "T1 X {4+}\r\na{3} {3}\r\nabc {2+}\r\n\r\n\r\n" {
		t.Errorf("%q", got)
	}
	theirs.Close()
	if r, err := c.Read(); err == nil {
		t.Errorf("%s from a closed connection", r)
	}
}

func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{"* 1 FETCH (BODY[] {3}\r\nabc)", "* OK [X (a)] b", "+ go", "* \"\\\"\"", "* ((a)(b))c"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseResponse(b)
		if err == nil {
			_ = r.Name() + r.String() + Join(r.Values)
		}
	})
}
