// Package client is a small and strict IMAP client for tests: it sends what it
// is told to, octet by octet, and reads what comes back into values. It knows
// no command but LOGIN, and believes nothing that the grammar does not allow.
package client

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Timeout is how long a server may be silent when an answer is due.
const Timeout = 20 * time.Second

// maxResponse bounds one response with its literals, in octets.
const maxResponse = 256 << 20

// Server says where a server is and how to connect.
type Server struct {
	Addr string // host:port
	TLS  bool   // TLS from the first octet; any certificate will do
}

// Conn is one connection. It is not for several goroutines at a time, but that
// Send and Read may run beside one another.
type Conn struct {
	// Timeout replaces the package's, when set.
	Timeout time.Duration
	// Log, when set, is given all that is sent and read.
	Log func(direction byte, text []byte)

	conn net.Conn
	in   *bufio.Reader
	tag  int
}

// Dial connects. The greeting is the first response to be read.
func (s Server) Dial() (*Conn, error) {
	var (
		d    = net.Dialer{Timeout: Timeout}
		conn net.Conn
		err  error
	)
	if s.TLS {
		conn, err = tls.DialWithDialer(&d, "tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"imap"}})
	} else {
		conn, err = d.Dial("tcp", s.Addr)
	}
	if err != nil {
		return nil, err
	}
	return &Conn{conn: conn, in: bufio.NewReaderSize(conn, 32<<10)}, nil
}

// Login connects, reads the greeting and logs in.
func (s Server) Login(user, password string) (*Conn, error) {
	c, err := s.Dial()
	if err != nil {
		return nil, err
	}
	if _, err = c.Greeting(); err == nil {
		_, err = c.OK("LOGIN " + Quote(user) + " " + Quote(password))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Greeting reads the greeting, which must be OK or PREAUTH.
func (c *Conn) Greeting() (*Response, error) {
	r, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the greeting: %w", err)
	}
	if r.Tag != "*" || !r.Status("OK") && !r.Status("PREAUTH") {
		return nil, fmt.Errorf("the server greets with %s", r)
	}
	return r, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// NextTag gives a new tag.
func (c *Conn) NextTag() string {
	c.tag++
	return fmt.Sprintf("T%d", c.tag)
}

// Send writes octets as they are.
func (c *Conn) Send(text []byte) error {
	if c.Log != nil {
		c.Log('C', text)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.timeout())); err != nil {
		return err
	}
	_, err := c.conn.Write(text)
	return err
}

func (c *Conn) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return Timeout
}

// Pending tells whether octets are read already that no Read has returned.
func (c *Conn) Pending() bool { return c.in.Buffered() > 0 }

// Read reads one response.
func (c *Conn) Read() (*Response, error) {
	raw, err := c.ReadRaw()
	if err != nil {
		return nil, err
	}
	return ParseResponse(raw)
}

// ReadLine reads one line as it is, without CRLF.
func (c *Conn) ReadLine() (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.timeout())); err != nil {
		return "", err
	}
	line, err := c.readLine(nil)
	if err == nil && c.Log != nil {
		c.Log('S', line)
	}
	return string(line), err
}

// ReadRaw reads one response with its literals and does not parse it.
func (c *Conn) ReadRaw() ([]byte, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.timeout())); err != nil {
		return nil, err
	}
	var raw []byte
	for {
		start := len(raw)
		var err error
		if raw, err = c.readLine(raw); err != nil {
			return nil, err
		}
		size, literal := literalTail(raw[start:])
		if !literal {
			break
		}
		if len(raw)+size > maxResponse {
			return nil, fmt.Errorf("the response is too long")
		}
		raw = append(raw, "\r\n"...)
		body := make([]byte, size)
		if _, err := io.ReadFull(c.in, body); err != nil {
			return nil, fmt.Errorf("reading a literal of %d octets: %w", size, err)
		}
		raw = append(raw, body...)
	}
	if c.Log != nil {
		c.Log('S', raw)
	}
	return raw, nil
}

// readLine appends one line without its CRLF.
func (c *Conn) readLine(to []byte) ([]byte, error) {
	start := len(to)
	for {
		part, err := c.in.ReadSlice('\n')
		to = append(to, part...)
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			return nil, err
		}
		if len(to) > maxResponse {
			return nil, fmt.Errorf("the line is too long")
		}
	}
	if len(to)-start < 2 || to[len(to)-2] != '\r' {
		return nil, fmt.Errorf("a line ends with a bare LF: %q", to[start:])
	}
	return to[:len(to)-2], nil
}

// literalTail tells whether a line announces a literal, and its size.
func literalTail(line []byte) (int, bool) {
	if !bytes.HasSuffix(line, []byte("}")) {
		return 0, false
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return 0, false
	}
	size, _, ok := literalHead(append(line[open:len(line):len(line)], "\r\n"...))
	return size, ok
}

// Do sends a command with a tag of its own and reads up to the response that
// ends it, which is the last one given. A literal in the command stands as
// {3}CRLF and its octets, and waits for the server's continuation; {3+} does not.
func (c *Conn) Do(command string) ([]*Response, error) {
	tag := c.NextTag()
	return c.DoTagged(tag, []byte(command))
}

// DoTagged is Do with a tag of the caller's.
func (c *Conn) DoTagged(tag string, command []byte) ([]*Response, error) {
	all, done, err := c.Write(tag, command)
	if err != nil || done {
		return all, err
	}
	for {
		r, err := c.Read()
		if err != nil {
			return all, fmt.Errorf("%s: %w", Brief(string(command)), err)
		}
		all = append(all, r)
		if r.Tag == tag {
			return all, nil
		}
	}
}

// Write sends a command and waits at each of its synchronizing literals. It
// gives the responses read meanwhile; done says that the command has ended
// already, as the server did not want the literal.
func (c *Conn) Write(tag string, command []byte) (all []*Response, done bool, err error) {
	text := append([]byte(tag+" "), command...)
	text = append(text, "\r\n"...)
	for {
		end, size := syncLiteral(text)
		if err := c.Send(text[:end]); err != nil {
			return all, false, err
		}
		if text = text[end:]; len(text) == 0 {
			return all, false, nil
		}
		for {
			r, err := c.Read()
			if err != nil {
				return all, false, fmt.Errorf("waiting to send a literal of %d octets: %w", size, err)
			}
			if r.Tag == "+" {
				break
			}
			if all = append(all, r); r.Tag == tag {
				return all, true, nil
			}
		}
	}
}

// syncLiteral gives where the first synchronizing literal's octets begin, or
// the end of text.
func syncLiteral(text []byte) (at, size int) {
	for at < len(text) {
		eol := bytes.Index(text[at:], []byte("\r\n"))
		if eol < 0 {
			return len(text), 0
		}
		line := text[at : at+eol]
		at += eol + 2
		if nonsync, ok := bytes.CutSuffix(line, []byte("+}")); ok {
			if size, ok := literalTail(append(nonsync[:len(nonsync):len(nonsync)], '}')); ok {
				at += size
				continue
			}
		}
		if size, ok := literalTail(line); ok && at < len(text) {
			return at, size
		}
	}
	return len(text), 0
}

// OK is Do for a command that must succeed.
func (c *Conn) OK(command string) ([]*Response, error) {
	all, err := c.Do(command)
	if err != nil {
		return all, err
	}
	if last := all[len(all)-1]; !last.Status("OK") {
		return all, fmt.Errorf("%s: %s", Brief(command), last)
	}
	return all, nil
}

// Brief shows a command in a message.
func Brief(command string) string {
	command = strings.ReplaceAll(command, "\r\n", `\r\n`)
	if len(command) > 160 {
		command = command[:160] + "..."
	}
	return command
}

// Quote gives s as a quoted string, or as a literal where it must be one.
func Quote(s string) string {
	if strings.ContainsAny(s, "\r\n\x00") || len(s) > 500 {
		return fmt.Sprintf("{%d}\r\n%s", len(s), s)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
