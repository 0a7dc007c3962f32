package crash

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// client is one SMTP connection.
type client struct {
	conn net.Conn
	*textproto.Conn
}

// dialSMTP connects and says EHLO.
func dialSMTP(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, Conn: textproto.NewConn(conn)}
	if _, err = c.want(""); err == nil {
		_, err = c.want("EHLO client.sender.test")
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// replyTimeout is longer than anything that is not a fault: of the server, or
// of a machine that does too much at once.
const replyTimeout = 60 * time.Second

// want sends a line, unless it is empty, and gives the reply. A reply that is
// neither 2xx nor 3xx is a *textproto.Error.
func (c *client) want(line string) (code int, err error) {
	c.conn.SetDeadline(time.Now().Add(replyTimeout))
	if line != "" {
		if err := c.PrintfLine("%s", line); err != nil {
			return 0, err
		}
	}
	return c.reply()
}

func (c *client) reply() (int, error) {
	code, text, err := c.ReadResponse(0)
	if err == nil && code >= 400 {
		err = &textproto.Error{Code: code, Msg: text}
	}
	return code, err
}

// send gives m to the server. beforeEnd is called before the octets that end
// the message are written: from then on the server may have it.
func (c *client) send(m *message, chunked bool, beforeEnd func()) error {
	if _, err := c.want("MAIL FROM:<a@sender.test>"); err != nil {
		return err
	}
	for _, r := range m.local {
		if _, err := c.want("RCPT TO:<" + r + "@" + domain + ">"); err != nil {
			return err
		}
	}
	for _, r := range m.sent {
		if _, err := c.want("RCPT TO:<" + r + ">"); err != nil {
			return err
		}
	}
	if chunked {
		beforeEnd()
		fmt.Fprintf(c.W, "BDAT %d LAST\r\n", len(m.text))
		c.W.Write(m.text)
		c.conn.SetDeadline(time.Now().Add(replyTimeout))
		if err := c.W.Flush(); err != nil {
			return err
		}
		_, err := c.reply()
		return err
	}
	if _, err := c.want("DATA"); err != nil {
		return err
	}
	w := c.DotWriter()
	w.Write(m.text)
	c.W.Flush()
	beforeEnd()
	c.conn.SetDeadline(time.Now().Add(replyTimeout))
	if err := w.Close(); err != nil {
		return err
	}
	_, err := c.reply()
	return err
}

// sink is an SMTP server for the domain remote. It answers 250 to all and
// counts what it was given.
type sink struct {
	Addr string

	mu       sync.Mutex
	got      map[string]int // by id and recipient
	problems []string
}

func startSink(t testing.TB) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{Addr: l.Addr().String(), got: map[string]int{}}
	var open sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			open.Go(func() {
				s.serve(c)
				c.Close()
				mu.Lock()
				delete(conns, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	return s
}

func (s *sink) serve(conn net.Conn) {
	c := textproto.NewReader(bufio.NewReader(conn))
	say := func(line string) { io.WriteString(conn, line+"\r\n") }
	say("220 sink.test")
	var rcpts []string
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(line, ":")
		switch strings.ToUpper(verb) {
		case "MAIL FROM":
			rcpts = nil
			say("250 ok")
		case "RCPT TO":
			rcpts = append(rcpts, strings.Trim(strings.Fields(arg)[0], "<>"))
			say("250 ok")
		case "DATA":
			say("354 go on")
			text, err := c.ReadDotBytes()
			if err != nil {
				return
			}
			s.count(text, rcpts)
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default: // EHLO and what else there is
			say("250 sink.test")
		}
	}
}

// count counts a message before it is acknowledged. ReadDotBytes has turned
// CRLF into LF.
func (s *sink) count(text []byte, rcpts []string) {
	id, _, err := identify([]byte(strings.ReplaceAll(string(text), "\n", "\r\n")))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.problems = append(s.problems, err.Error())
	}
	for _, r := range rcpts {
		s.got[id+" "+r]++
	}
}

func (s *sink) copies(id, rcpt string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[id+" "+rcpt]
}
