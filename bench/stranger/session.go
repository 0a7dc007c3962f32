package stranger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Reply is what a server answered.
type Reply struct {
	Code int
	Text string // all lines behind their codes, joined by " / "
}

// Enhanced is the status code of RFC 2034 that the text begins with, or empty.
func (r Reply) Enhanced() string {
	word, _, _ := strings.Cut(r.Text, " ")
	if strings.Count(word, ".") == 2 && len(word) >= 5 && strings.Trim(word, "0123456789.") == "" {
		return word
	}
	return ""
}

// Step is a point of a dialogue.
type Step string

// The steps, in their order.
const (
	Connect Step = "connect"
	Hello   Step = "hello"
	Mail    Step = "mail"
	Rcpt    Step = "rcpt"
	Data    Step = "data"
)

// Outcome is how an attempt ended.
type Outcome struct {
	Reply Reply         // the last one; Code 0 when Err is set
	Step  Step          // what it answered
	Took  time.Duration // from the last octet of RCPT to the first of its reply; 0 before that
	Quit  time.Duration // from QUIT to the end of the connection
	Err   error         // of the connection
}

// Try opens a session as h and goes from EHLO to RCPT, and on through DATA when
// there is a message, as far as the server says yes. It quits politely.
func (d *Dialer) Try(h Host, from, to, message string) (o Outcome) {
	o.Step = Connect
	c, err := d.connect(h)
	if err != nil {
		o.Err = err
		return o
	}
	s := session{c: c, r: bufio.NewReaderSize(c, maxLine)}
	defer func() { o.Quit = s.quit() }()
	if o.Reply, o.Err = s.read(); !o.goesOn() {
		return o
	}
	o.Step = Hello
	if s.hello(&o, d.Way, h); !o.goesOn() {
		return o
	}
	o.Step = Mail
	if o.Reply, o.Err = s.say("MAIL FROM:<" + from + ">"); !o.goesOn() {
		return o
	}
	o.Step = Rcpt
	if o.Err = s.write("RCPT TO:<" + to + ">\r\n"); o.Err != nil {
		return o
	}
	sent := time.Now()
	o.Reply, o.Err = s.read()
	o.Took = s.first.Sub(sent)
	if message == "" || !o.goesOn() {
		return o
	}
	o.Step = Data
	if o.Reply, o.Err = s.say("DATA"); o.Err == nil && o.Reply.Code == 354 {
		o.Reply, o.Err = s.say(message + "\r\n.")
	}
	return o
}

// goesOn tells whether the last reply was a yes.
func (o *Outcome) goesOn() bool {
	if o.Err != nil {
		o.Reply = Reply{}
		return false
	}
	return o.Reply.Code/100 == 2
}

type session struct {
	c     net.Conn
	r     *bufio.Reader
	first time.Time // when the first octet of the last reply was there
}

func (s *session) write(text string) error {
	_, err := io.WriteString(s.c, text)
	return err
}

// say sends one line and reads the reply.
func (s *session) say(line string) (Reply, error) {
	if err := s.write(line + "\r\n"); err != nil {
		return Reply{}, err
	}
	return s.read()
}

// hello says EHLO, and claims h in between where that is the way.
func (s *session) hello(o *Outcome, way Way, h Host) {
	ehlo := "EHLO " + h.Hello
	if o.Reply, o.Err = s.say(ehlo); !o.goesOn() || way != XClient {
		return
	}
	if o.Reply, o.Err = s.say(xclient(h)); !o.goesOn() {
		return
	}
	o.Reply, o.Err = s.say(ehlo)
}

// maxLines and maxLine, in octets, bound a reply.
const (
	maxLines = 100
	maxLine  = 2048
)

// read reads one reply of one or more lines.
func (s *session) read() (Reply, error) {
	if _, err := s.r.Peek(1); err != nil {
		return Reply{}, err
	}
	s.first = time.Now()
	var r Reply
	var texts []string
	for range maxLines {
		octets, err := s.r.ReadSlice('\n')
		if err != nil {
			return Reply{}, err
		}
		line := strings.TrimRight(string(octets), "\r\n")
		if r.Code, err = code(line); err != nil {
			return Reply{}, err
		}
		if len(line) > 4 {
			texts = append(texts, line[4:])
		}
		if len(line) == 3 || line[3] != '-' {
			r.Text = strings.Join(texts, " / ")
			return r, nil
		}
	}
	return Reply{}, errors.New("a reply without end")
}

// code reads the code that a line of a reply begins with.
func code(line string) (int, error) {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, fmt.Errorf("not a reply: %q", line)
	}
	n, err := strconv.Atoi(line[:3])
	if err != nil || n < 200 || n > 599 {
		return 0, fmt.Errorf("not a reply: %q", line)
	}
	return n, nil
}

// quit ends the session and lets the server close first, so that the waiting
// state of TCP does not use up this side's ports. It gives how long that took.
func (s *session) quit() time.Duration {
	begin := time.Now()
	if s.write("QUIT\r\n") == nil {
		io.Copy(io.Discard, s.r) // until it closes, or the session's time is up
	}
	took := time.Since(begin)
	s.c.Close()
	return took
}
