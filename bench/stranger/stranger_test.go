package stranger

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
)

// serve plays a server that answers each line with the next of the replies, and
// gives its address and what it was told. first, if any, is read before it greets.
func serve(t *testing.T, first func(*bufio.Reader) string, replies ...string) (addr string, told <-chan []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines := make(chan []string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		var all []string
		defer func() { lines <- all }()
		if first != nil {
			all = append(all, first(r))
		}
		all = append(all, "from "+c.RemoteAddr().(*net.TCPAddr).IP.String())
		for _, reply := range replies {
			fmt.Fprintf(c, "%s\r\n", reply)
			for line := ""; ; {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				line = strings.TrimRight(line, "\r\n")
				if line == "." || !strings.HasPrefix(reply, "354") {
					all = append(all, line)
					break
				}
			}
		}
	}()
	return l.Addr().String(), lines
}

func proxyHeader(r *bufio.Reader) string {
	h, err := proxyproto.Read(r)
	if err != nil {
		return err.Error()
	}
	src, _, _ := h.TCPAddrs()
	return fmt.Sprintf("v%d %s", h.Version, src)
}

func TestClaims(t *testing.T) {
	four := Host{Addr: netip.MustParseAddr("192.0.2.7"), Name: "mail.a.test", Hello: "mail.a.test"}
	six := Host{Addr: netip.MustParseAddr("2001:db8::7"), Hello: "[IPv6:2001:db8::7]"}
	lo := Host{Addr: netip.MustParseAddr("127.3.2.1"), Hello: "x"}
	greet := []string{"220 hi", "250 hello", "250 from", "450 4.1.1 later"}
	for _, c := range []struct {
		way     Way
		host    Host
		first   func(*bufio.Reader) string
		replies []string
		want    string
	}{
		{Proxy1, four, proxyHeader, greet, "v1 192.0.2.7:40000"},
		{Proxy1, six, proxyHeader, greet, "v1 [2001:db8::7]:40000"},
		{Proxy2, four, proxyHeader, greet, "v2 192.0.2.7:40000"},
		{Proxy2, six, proxyHeader, greet, "v2 [2001:db8::7]:40000"},
		{Bind, lo, nil, greet, "from 127.3.2.1"},
		{Plain, four, nil, greet, "from 127.0.0.1"},
		{XClient, four, nil, append([]string{"220 hi", "250 hello"}, greet...), "XCLIENT NAME=mail.a.test ADDR=192.0.2.7"},
		{XClient, six, nil, append([]string{"220 hi", "250 hello"}, greet...), "XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7"},
	} {
		addr, told := serve(t, c.first, c.replies...)
		d := Dialer{Server: addr, Way: c.way}
		o := d.Try(c.host, "a@a.test", "b@b.test", "")
		lines := <-told
		if !strings.Contains(strings.Join(lines, "\n"), c.want) {
			t.Errorf("%s: the server was told %q, want %q", c.way, lines, c.want)
		}
		if o.Err != nil || o.Step != Rcpt || o.Reply.Code != 450 || o.Reply.Enhanced() != "4.1.1" || o.Took <= 0 {
			t.Errorf("%s: %+v", c.way, o)
		}
	}
}

func TestSteps(t *testing.T) {
	for _, c := range []struct {
		replies []string
		step    Step
		code    int // 0: an error
	}{
		{nil, Connect, 0},
		{[]string{"421 4.7.0 busy"}, Connect, 421},
		{[]string{"220-wait\r\n220 hi", "250-a\r\n250-b\r\n250 c", "451 no"}, Mail, 451},
		{[]string{"220 hi", "250 a", "250 b", "550 5.1.1 who"}, Rcpt, 550},
		{[]string{"220 hi", "250 a", "250 b", "250 c", "354 go", "250 2.0.0 mine"}, Data, 250},
		{[]string{"220 hi", "250 a", "250 b", "250 c", "451 4.3.0 not now"}, Data, 451},
		{[]string{"220 hi", "250 a", "250 b", "250 c", "354 go"}, Data, 0},
		{[]string{"hello"}, Connect, 0},
		{[]string{"220 " + strings.Repeat("x", maxLine)}, Connect, 0},
	} {
		addr, _ := serve(t, nil, c.replies...)
		d := Dialer{Server: addr, Way: Plain, Timeout: 5 * time.Second}
		o := d.Try(Host{Hello: "x"}, "a@a.test", "b@b.test", "Subject: x\r\n\r\nx")
		if o.Step != c.step || o.Reply.Code != c.code || (o.Err == nil) != (c.code != 0) {
			t.Errorf("%q: %+v, want %d at %s", c.replies, o, c.code, c.step)
		}
	}
}

// FuzzRead wants of any octets a reply with a code or an error.
func FuzzRead(f *testing.F) {
	f.Add([]byte("250-a\r\n250 b\r\n"))
	f.Add([]byte("421\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := session{r: bufio.NewReaderSize(bytes.NewReader(b), maxLine)}
		if r, err := s.read(); (err == nil) != (r.Code >= 200 && r.Code <= 599) {
			t.Errorf("%q: %+v, %v", b, r, err)
		}
	})
}
