package crash

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// pop is one POP3 connection, logged in.
type pop struct {
	conn net.Conn
	*textproto.Conn
	count int // messages at login
}

// errNo is a -ERR.
type errNo string

func (e errNo) Error() string { return string(e) }

// dialPOP3 logs user in by POP3 over TLS; the password is the name.
func dialPOP3(s *server, user string) (*pop, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", s.addr(995), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	p := &pop{conn: conn, Conn: textproto.NewConn(conn)}
	var text string
	for _, line := range []string{"", "USER " + user + "@" + domain, "PASS " + user, "STAT"} {
		if text, err = p.want(line); err != nil {
			p.Close()
			return nil, err
		}
	}
	count, _, _ := strings.Cut(text, " ")
	if p.count, err = strconv.Atoi(count); err != nil {
		p.Close()
		return nil, fmt.Errorf("STAT gives %q", text)
	}
	return p, nil
}

// want sends a line, unless it is empty, and gives what follows +OK.
func (p *pop) want(line string) (string, error) {
	p.conn.SetDeadline(time.Now().Add(replyTimeout))
	if line != "" {
		if err := p.PrintfLine("%s", line); err != nil {
			return "", err
		}
	}
	text, err := p.ReadLine()
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(text, "+OK")
	if !ok {
		return "", errNo(text)
	}
	return strings.TrimSpace(rest), nil
}

// retr gives message n.
func (p *pop) retr(n int) ([]byte, error) {
	if _, err := p.want(fmt.Sprintf("RETR %d", n)); err != nil {
		return nil, err
	}
	text, err := p.ReadDotBytes()
	if err != nil {
		return nil, err
	}
	return []byte(strings.ReplaceAll(string(text), "\n", "\r\n")), nil
}

// readAll gives the messages in a mailbox and leaves them there.
func readAll(s *server, user string) (texts [][]byte, err error) {
	p, err := dialPOP3(s, user)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	for n := 1; n <= p.count; n++ {
		text, err := p.retr(n)
		if err != nil {
			return nil, fmt.Errorf("RETR %d of %d: %w", n, p.count, err)
		}
		texts = append(texts, text)
	}
	_, err = p.want("QUIT")
	return texts, err
}

// deleteSome deletes the messages chosen and gives their ids. quit tells that
// QUIT was sent, so that they may be gone even when there is an error.
func deleteSome(s *server, user string, chosen func(n, of int) bool) (ids []string, quit bool, err error) {
	p, err := dialPOP3(s, user)
	if err != nil {
		return nil, false, err
	}
	defer p.Close()
	for n := 1; n <= p.count; n++ {
		if !chosen(n, p.count) {
			continue
		}
		text, err := p.retr(n)
		if err != nil {
			return nil, false, err
		}
		id, _, err := identify(text)
		if err != nil {
			return nil, false, errNo(err.Error())
		}
		if _, err := p.want(fmt.Sprintf("DELE %d", n)); err != nil {
			return nil, false, err
		}
		ids = append(ids, id)
	}
	_, err = p.want("QUIT")
	return ids, true, err
}
