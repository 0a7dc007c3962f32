package imapd

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	mathbits "math/bits"
	"net"
	"strings"
	"testing"
)

// clear connects to a server that begins without TLS.
func clear(t testing.TB, h *house) *client {
	t.Helper()
	c := &client{t: t}
	c.connect(h.addr)
	if line := c.line(); !strings.HasPrefix(line, "* OK [CAPABILITY ") {
		t.Fatalf("greeting %q", line)
	}
	return c
}

func (c *client) connect(addr string) {
	c.t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { nc.Close() })
	c.nc, c.r = nc, bufio.NewReader(nc)
}

// startTLS turns the connection of a client into TLS.
func (c *client) startTLS() {
	c.t.Helper()
	c.ok("STARTTLS")
	nc := tls.Client(c.nc, &tls.Config{InsecureSkipVerify: true})
	if err := nc.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.nc, c.r = nc, bufio.NewReader(nc)
}

func TestCapabilities(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Implicit = false })
	c := clear(t, h)
	all := "* CAPABILITY " + strings.Join(capabilities, " ")
	same(t, c.ok("CAPABILITY"), all+" STARTTLS LOGINDISABLED")
	c.no(`LOGIN alice "open sesame"`, "NO [PRIVACYREQUIRED]")
	c.no(`AUTHENTICATE PLAIN `+plain("alice", "open sesame"), "NO [PRIVACYREQUIRED]")
	c.startTLS()
	same(t, c.ok("CAPABILITY"), all+" AUTH=PLAIN AUTH=LOGIN")
	c.no("STARTTLS", "BAD")
	c.no("SELECT INBOX", "BAD Log in first")
	c.no("COMPRESS DEFLATE", "BAD Log in first")
	_, tagged := c.do(`LOGIN alice "open sesame"`)
	after := all + " " + strings.Join(loginCapabilities, " ") + " COMPRESS=DEFLATE APPENDLIMIT=104857600"
	if want := "OK [" + after[2:] + "] Logged in"; tagged != want {
		t.Errorf("%s, want %s", tagged, want)
	}
	same(t, c.ok("CAPABILITY"), after)
	c.no(`LOGIN alice "open sesame"`, "BAD Already logged in")
	same(t, c.ok("LOGOUT"), "* BYE Logging out")
	c.closed()
}

// TestTalkAheadOfTLS: what a stranger put behind STARTTLS is not taken for the
// client's (CVE-2011-0411 and its kind).
func TestTalkAheadOfTLS(t *testing.T) {
	h := newHouseWith(t, func(s *Server) { s.Implicit = false })
	c := clear(t, h)
	c.send("a STARTTLS\r\nb NOOP\r\n")
	if line := c.line(); line != "* BYE Talk ahead of TLS" {
		t.Fatal(line)
	}
	c.closed()
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

func TestAuthenticate(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name  string
		lines []string // what the client says; each answered with + but the last
		want  string
	}{
		{"initial response", []string{"AUTHENTICATE PLAIN " + plain("alice", "open sesame")}, "OK [CAPABILITY"},
		{"small letters, space at the end", []string{"authenticate plain " + plain("alice", "open sesame") + " "}, "OK [CAPABILITY"},
		{"asked", []string{"AUTHENTICATE PLAIN", plain("alice", "open sesame")}, "OK [CAPABILITY"},
		{"LOGIN", []string{"AUTHENTICATE LOGIN", "YWxpY2U=", "b3BlbiBzZXNhbWU="}, "OK [CAPABILITY"},
		{"empty initial response", []string{"AUTHENTICATE PLAIN ="}, "NO [AUTHENTICATIONFAILED]"},
		{"wrong", []string{"AUTHENTICATE PLAIN " + plain("alice", "x")}, "NO [AUTHENTICATIONFAILED]"},
		{"cancelled", []string{"AUTHENTICATE PLAIN", "*"}, "BAD Cancelled"},
		{"not base64", []string{"AUTHENTICATE PLAIN", "!"}, "NO [AUTHENTICATIONFAILED]"},
		{"initial not base64", []string{"AUTHENTICATE PLAIN !"}, "BAD Not base64"},
		{"unknown", []string{"AUTHENTICATE KERBEROS_V4"}, "NO [CANNOT]"},
		{"no mechanism", []string{"AUTHENTICATE"}, "BAD"},
		{"LOGIN command with literals", []string{"LOGIN {5}", "alice {11}", "open sesame"}, "OK [CAPABILITY"},
		{"LOGIN command, NUL", []string{"LOGIN {5+}\r\nali\x00e x"}, "BAD NUL in a string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := h.dial(t)
			for i, l := range c.lines {
				if i == 0 {
					l = "a " + l
				} else if line := cl.line(); !strings.HasPrefix(line, "+ ") {
					t.Fatalf("%q instead of a challenge", line)
				}
				cl.send(l + "\r\n")
			}
			if line := cl.line(); !strings.HasPrefix(line, "a "+c.want) {
				t.Errorf("%s, want %s", line, c.want)
			}
		})
	}
}

func TestID(t *testing.T) {
	h := newHouse(t)
	c := h.dial(t)
	same(t, c.ok(`ID ("name" "tester" "version" NIL)`), `* ID ("name" "migiwa")`)
	same(t, c.ok(`ID NIL`), `* ID ("name" "migiwa")`)
	c.ok("ID ()")
	c.no("ID", "BAD")
	c.no("ID x", "BAD")
	c.no(`ID ("a")`, "BAD")
	c = h.login(t, "alice")
	c.no(`ID ("`+strings.Repeat("x", 31)+`" "")`, "BAD Field too long")
	c.no(`ID ("x" {1025+}`+"\r\n"+strings.Repeat("x", 1025)+`)`, "BAD Field too long")
	c.no(`ID (`+strings.Repeat(`"a" "b" `, 31)+`)`, "BAD More than 30 fields")
	c.ok(`ID (` + strings.Repeat(`"a" "`+strings.Repeat("b", 999)+`" `, 30) + `)`)
}

func TestEnable(t *testing.T) {
	h := newHouse(t)
	c := h.login(t, "alice")
	same(t, c.ok("ENABLE X-NONE qresync CONDSTORE"), "* ENABLED qresync") // which has turned on the other
	same(t, c.ok("ENABLE QRESYNC"), "* ENABLED")
	same(t, c.ok("ENABLE IMAP4rev2 UTF8=ACCEPT UIDONLY"), "* ENABLED IMAP4rev2 UTF8=ACCEPT UIDONLY")
	c.no("ENABLE", "BAD")
	h.dial(t).no("ENABLE CONDSTORE", "BAD")
}

// TestUTF8Names: the same mailbox by its name in modified UTF-7 and in UTF-8.
func TestUTF8Names(t *testing.T) {
	h := newHouse(t)
	if _, err := h.Mailboxes.Create(context.Background(), 1, "下書き", ""); err != nil {
		t.Fatal(err)
	}
	c := h.login(t, "alice")
	c.ok("SELECT &Tgtm+DBN-")
	c.ok(`SELECT "下書き"`) // forgiven
	has(t, c.ok("ENABLE IMAP4rev2"), "* ENABLED IMAP4rev2")
	has(t, c.ok(`SELECT "下書き"`), `* LIST () "/" "下書き"`)
	c.no("SELECT &Tgtm+DBN-", "NO [NONEXISTENT]")
}

// deflated speaks compressed over c, each write flushed.
func (c *client) deflated() {
	w, _ := flate.NewWriter(c.nc, flate.BestCompression)
	c.nc = &deflatedConn{Conn: c.nc, w: w}
	c.r = bufio.NewReader(flate.NewReader(c.r))
}

type deflatedConn struct {
	net.Conn
	w *flate.Writer
}

func (d *deflatedConn) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err == nil {
		err = d.w.Flush()
	}
	return n, err
}

func TestCompress(t *testing.T) {
	h := newHouse(t)
	f := h.fill(t, 1)
	c := h.login(t, "alice")
	c.no("COMPRESS LZW", "NO [CANNOT]")
	c.no("COMPRESS", "BAD")
	c.ok("COMPRESS DEFLATE")
	c.deflated()
	has(t, c.ok("SELECT INBOX"), "* 1 EXISTS")
	c.no("COMPRESS DEFLATE", "NO [COMPRESSIONACTIVE]")
	if caps := c.ok("CAPABILITY"); strings.Contains(caps[0], "COMPRESS") {
		t.Error(caps)
	}
	// As in life: a push while it idles, literals, many commands at once.
	c.send("i IDLE\r\n")
	c.line()
	h.flag(t, f, 1, 0, 1)
	if line := c.line(); !strings.HasPrefix(line, "* 1 FETCH ") {
		t.Error(line)
	}
	c.send("DONE\r\n")
	c.line()
	c.ok("SELECT {5+}\r\nINBOX")
	var many bytes.Buffer
	for i := range 500 {
		fmt.Fprintf(&many, "n%d NOOP\r\n", i)
	}
	c.send(many.String())
	for i := range 500 {
		if line := c.line(); line != fmt.Sprintf("n%d OK NOOP completed", i) {
			t.Fatal(line)
		}
	}
	c.ok("LOGOUT")
}

// partialFlush writes texts as zlib does with Z_PARTIAL_FLUSH: each is a block
// of fixed codes (RFC 1951, 3.2.6) and an empty one behind it, whose last bits
// are held back.
type partialFlush struct {
	out  []byte
	bits uint
	n    int
}

// put writes the n low bits of v, the lowest first.
func (p *partialFlush) put(v uint, n int) {
	p.bits |= v << p.n
	for p.n += n; p.n >= 8; p.n -= 8 {
		p.out = append(p.out, byte(p.bits))
		p.bits >>= 8
	}
}

func (p *partialFlush) write(text string) []byte {
	p.put(0b010, 3)
	for _, b := range []byte(text) {
		p.put(uint(mathbits.Reverse8(0x30+b)), 8) // codes go highest bit first
	}
	p.put(0, 7)
	p.put(0b010, 3)
	p.put(0, 7)
	out := p.out
	p.out = nil
	return out
}

// TestCompressPartialFlush: a command is answered though its sender ended no
// octet behind it, as mbsync does.
func TestCompressPartialFlush(t *testing.T) {
	h := newHouse(t)
	c := h.login(t, "alice")
	c.ok("COMPRESS DEFLATE")
	c.r = bufio.NewReader(flate.NewReader(c.r))
	var p partialFlush
	for i := range 20 {
		tag := strings.Repeat("x", i+1)
		if _, err := c.nc.Write(p.write(tag + " NOOP\r\n")); err != nil {
			t.Fatal(err)
		}
		if line := c.line(); line != tag+" OK NOOP completed" {
			t.Fatal(line)
		}
	}
}

// TestCompressedBomb: a megabyte that becomes a gigabyte is read over, up to
// the bound, and held nowhere.
func TestCompressedBomb(t *testing.T) {
	h := newHouse(t)
	c := h.login(t, "alice")
	c.ok("COMPRESS DEFLATE")
	var bomb bytes.Buffer
	w, _ := flate.NewWriter(&bomb, flate.BestSpeed)
	io.WriteString(w, "a SELECT ")
	io.CopyN(w, zeros{}, 100<<20)
	w.Flush()
	go func() {
		c.nc.Write(bomb.Bytes())
	}()
	c.r = bufio.NewReader(flate.NewReader(c.r))
	if line := c.line(); !strings.HasPrefix(line, "a BAD Command too long") {
		t.Fatal(line)
	}
	if line := c.line(); !strings.HasPrefix(line, "* BYE [TOOBIG]") {
		t.Fatal(line)
	}
}

// zeros are letters without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestFaults(t *testing.T) {
	h := newHouse(t)
	c := h.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\nfoo\r\nbar\r\n\r\n")
	var last string
	for range 6 {
		last = c.line()
	}
	if last != "* BYE Too many wrong commands" {
		t.Error(last)
	}
	c.closed()
	c = h.login(t, "alice")
	for range 19 {
		c.no("FROB", "BAD Unknown command")
	}
	c.ok("NOOP") // begins anew
	for range 20 {
		c.no("FROB", "BAD Unknown command")
	}
	if line := c.line(); line != "* BYE Too many wrong commands" {
		t.Error(line)
	}
	c.closed()
}

// TestStrangersKeepLittle: before login a command is shorter.
func TestStrangersKeepLittle(t *testing.T) {
	h := newHouse(t)
	c := h.dial(t)
	c.no("LOGIN x {99999}", "NO [TOOBIG]")
	c.no("LOGIN "+strings.Repeat("x", maxStranger), "BAD Command too long")
	c.ok(`LOGIN alice "open sesame"`)
	c.no("SELECT {99999+}\r\n"+strings.Repeat("x", 99999), "NO")
}
