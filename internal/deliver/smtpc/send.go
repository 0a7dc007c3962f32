package smtpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Message is what Send needs to know beside the content.
type Message struct {
	From  mail.Address
	Size  int64         // octets of the content; 0: unknown
	Body  mail.BodyType // BINARYMIME is sent by BDAT; the caller has seen that the peer takes it
	UTF8  bool          // needs SMTPUTF8; the caller has seen that the peer has it
	Ret   string        // RFC 3461, as the other DSN parameters left out where the peer has no DSN
	EnvID string
}

// MaxRecipients is the most that one Send takes, so that an envelope sent in
// one flight fits the windows of both sides.
const MaxRecipients = 100

// Send runs one mail transaction and gives the final reply of each recipient;
// a 2xx means that the peer has taken the message for it. The error tells that
// the dialogue broke off, the replies then hold what is known.
func (c *Client) Send(ctx context.Context, m *Message, rcpts []mail.Recipient, content io.Reader) ([]*mail.Reply, error) {
	stop := c.watch(ctx)
	defer stop()
	c.Sent++
	t := &transaction{c: c, m: m, rcpts: rcpts, replies: make([]*mail.Reply, len(rcpts))}
	if c.Ext.MaxSize > 0 && m.Size > c.Ext.MaxSize {
		t.rest(&mail.Reply{Code: 552, Enhanced: "5.3.4",
			Text: fmt.Sprintf("The message has %d octets, the server takes at most %d", m.Size, c.Ext.MaxSize)})
		return t.replies, nil
	}
	err := t.run(content)
	if err != nil {
		t.rest(AsReply(err))
	}
	return t.replies, err
}

// Ask tells what the peer would say to one recipient of a message from the null
// sender, and brings none: nil where it would take it. The error tells that the
// dialogue did not come so far.
func (c *Client) Ask(ctx context.Context, rcpt mail.Address) (*mail.Reply, error) {
	stop := c.watch(ctx)
	defer stop()
	t := &transaction{c: c, m: &Message{UTF8: rcpt.UTF8()}, rcpts: []mail.Recipient{{Address: rcpt}}, replies: make([]*mail.Reply, 1)}
	if err := t.begin(); err != nil {
		return nil, err
	}
	if _, err := t.envelope(false); err != nil {
		return nil, err
	}
	if !c.dirty { // MAIL was refused
		return nil, t.replies[0]
	}
	return t.replies[0], nil
}

// transaction is one Send at work.
type transaction struct {
	c       *Client
	m       *Message
	rcpts   []mail.Recipient
	replies []*mail.Reply // nil while a recipient is open
}

func (t *transaction) run(content io.Reader) error {
	c := t.c
	if err := t.begin(); err != nil {
		return err
	}
	binary := t.m.Body == mail.BodyBinary && c.Ext.Chunking
	ready, err := t.envelope(!binary)
	if err != nil {
		return err
	}
	switch {
	case t.open() == 0:
		return t.abandon(ready)
	case binary:
		err = t.chunks(content)
	case ready:
		err = t.data(content)
	}
	if err != nil {
		return err
	}
	return nil
}

// begin ends a transaction that is still open at the peer.
func (t *transaction) begin() error {
	c := t.c
	if c.dirty {
		if _, err := c.command(c.times.Command, "RSET"); err != nil {
			return c.broke("MAIL", err) // nothing of this transaction is lost
		}
		c.dirty = false
	}
	return nil
}

// envelope sends MAIL, RCPTs and, when data is set, DATA; ready tells that the
// peer waits for the message.
func (t *transaction) envelope(data bool) (ready bool, err error) {
	c := t.c
	next := c.oneByOne
	if c.Ext.Pipelining {
		c.deadline(c.times.Command)
		t.flight(data)
		if err := c.bw.Flush(); err != nil {
			return false, c.broke("MAIL", err)
		}
		next = func(func(), time.Duration) (*Reply, error) { return c.read(c.times.Command) }
	}
	r, err := next(t.writeMail, c.times.Command)
	if err != nil {
		return false, c.broke("MAIL", err)
	}
	c.dirty = true
	if r.Class() != 2 {
		c.dirty = false
		t.rest(refusal(r))
		if !c.Ext.Pipelining {
			return false, nil
		}
	}
	for i := range t.rcpts {
		r, err := next(func() { t.writeRcpt(i) }, c.times.Command)
		if err != nil {
			return false, c.broke("RCPT", err)
		}
		if r.Class() != 2 && t.replies[i] == nil {
			t.replies[i] = rcptRefusal(r)
		}
	}
	if !data || !c.Ext.Pipelining && t.open() == 0 {
		return false, nil
	}
	if r, err = next(func() { c.bw.WriteString("DATA\r\n") }, c.times.Data); err != nil {
		return false, c.broke("DATA", err)
	}
	if r.Code != 354 {
		t.rest(refusal(r))
	}
	return r.Code == 354, nil
}

// oneByOne writes a command and waits for its reply, without PIPELINING.
func (c *Client) oneByOne(write func(), d time.Duration) (*Reply, error) {
	if c.Broken {
		return nil, io.EOF // it said 421
	}
	c.deadline(d)
	write()
	if err := c.bw.Flush(); err != nil {
		return nil, err
	}
	return c.read(d)
}

func (t *transaction) flight(data bool) {
	t.writeMail()
	for i := range t.rcpts {
		t.writeRcpt(i)
	}
	if data {
		t.c.bw.WriteString("DATA\r\n")
	}
}

func (t *transaction) writeMail() {
	w, e, m := t.c.bw, t.c.Ext, t.m
	w.WriteString("MAIL FROM:" + m.From.Path())
	if e.HasSize && m.Size > 0 {
		fmt.Fprintf(w, " SIZE=%d", m.Size)
	}
	if e.EightBit && m.Body == mail.Body8Bit || e.Binary && m.Body == mail.BodyBinary {
		w.WriteString(" BODY=" + string(m.Body))
	}
	if e.UTF8 && m.UTF8 {
		w.WriteString(" SMTPUTF8")
	}
	if e.DSN && m.Ret != "" {
		w.WriteString(" RET=" + m.Ret)
	}
	if e.DSN && m.EnvID != "" {
		w.WriteString(" ENVID=" + mail.EncodeXtext(m.EnvID))
	}
	w.WriteString("\r\n")
}

func (t *transaction) writeRcpt(i int) {
	w, r := t.c.bw, t.rcpts[i]
	w.WriteString("RCPT TO:" + r.Path())
	if t.c.Ext.DSN {
		if r.Notify != 0 {
			w.WriteString(" NOTIFY=" + r.Notify.String())
		}
		switch kind, addr, ok := strings.Cut(r.ORcpt, ";"); {
		case ok && strings.EqualFold(kind, "utf-8"): // RFC 6533 section 3
			w.WriteString(" ORCPT=" + kind + ";" + mail.EncodeAddrXtext(addr))
		case ok && ascii(r.ORcpt):
			w.WriteString(" ORCPT=" + kind + ";" + mail.EncodeXtext(addr))
		}
	}
	w.WriteString("\r\n")
}

// abandon ends a transaction without recipients. A peer that answered DATA
// with 354 all the same waits for a message: it gets an empty one, which it
// must refuse (RFC 2920 section 3.1).
func (t *transaction) abandon(ready bool) error {
	c := t.c
	if !ready || c.Broken {
		return nil
	}
	c.deadline(c.times.Data)
	c.bw.WriteString(".\r\n")
	err := c.bw.Flush()
	if err == nil && !c.LMTP {
		_, err = c.read(c.times.Data)
	}
	if err != nil || c.LMTP {
		c.Broken = true // the transaction's replies are complete, only the connection is lost
	}
	return nil
}

func (t *transaction) data(content io.Reader) error {
	c := t.c
	err := c.stuff(content)
	if err == nil {
		c.deadline(c.times.Block)
		c.bw.WriteString(".\r\n")
		err = c.bw.Flush()
	}
	if err != nil {
		return t.cutShort("DATA", err)
	}
	return t.final()
}

// final reads the replies to the whole message: one, or one for each accepted
// recipient with LMTP (RFC 2033 section 4.2).
func (t *transaction) final() error {
	c := t.c
	for i := range t.replies {
		if t.replies[i] != nil {
			continue
		}
		r, err := c.read(c.times.End)
		if err != nil {
			return c.broke("end of DATA", err)
		}
		answer := r.Error()
		if r.Class() != 2 {
			answer = refusal(r)
		}
		if !c.LMTP {
			t.rest(answer)
			break
		}
		t.replies[i] = answer
	}
	c.dirty = false
	return nil
}

// errContent marks errors of reading our own message.
var errContent = errors.New("read message")

// cutShort ends a transaction whose message did not get through. A peer that
// closes while we write may have said why.
func (t *transaction) cutShort(step string, err error) error {
	c := t.c
	defer c.Close()
	if errors.Is(err, errContent) {
		return err
	}
	c.deadline(time.Second)
	if r, e := ReadReply(c.br); e == nil && r.Class() >= 4 {
		t.rest(refusal(r))
		return nil
	}
	return c.broke(step, err)
}

const blockSize = 32 << 10

// stuff writes the content with dots doubled (RFC 5321 section 4.5.2) and a
// line end behind its last line.
func (c *Client) stuff(content io.Reader) error {
	buf := make([]byte, blockSize)
	start := true // at the beginning of a line
	for {
		n, err := content.Read(buf)
		c.deadline(c.times.Block)
		if n > 0 {
			if e := c.stuffBlock(buf[:n], &start); e != nil {
				return e
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errContent, err)
		}
	}
	if !start {
		_, err := c.bw.WriteString("\r\n")
		return err
	}
	return nil
}

func (c *Client) stuffBlock(p []byte, start *bool) error {
	if *start && p[0] == '.' {
		c.bw.WriteByte('.')
	}
	*start = p[len(p)-1] == '\n'
	for {
		i := bytes.Index(p, []byte("\n."))
		if i < 0 {
			_, err := c.bw.Write(p)
			return err
		}
		c.bw.Write(p[:i+1])
		if err := c.bw.WriteByte('.'); err != nil {
			return err
		}
		p = p[i+1:]
	}
}

// chunks sends the message by BDAT (RFC 3030), byte for byte.
func (t *transaction) chunks(content io.Reader) error {
	c := t.c
	buf := make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(content, buf)
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			c.Close()
			return fmt.Errorf("%w: %w", errContent, err)
		}
		c.deadline(c.times.Block)
		word := ""
		if last {
			word = " LAST"
		}
		fmt.Fprintf(c.bw, "BDAT %d%s\r\n", n, word)
		c.bw.Write(buf[:n])
		if err := c.bw.Flush(); err != nil {
			return t.cutShort("BDAT", err)
		}
		if last {
			return t.final()
		}
		r, err := c.read(c.times.End)
		if err != nil {
			return c.broke("BDAT", err)
		}
		if r.Class() != 2 {
			t.rest(refusal(r))
			return nil
		}
	}
}

// open counts the recipients without a final reply.
func (t *transaction) open() int {
	n := 0
	for _, r := range t.replies {
		if r == nil {
			n++
		}
	}
	return n
}

// rest gives every open recipient the same reply.
func (t *transaction) rest(r *mail.Reply) {
	for i := range t.replies {
		if t.replies[i] == nil {
			t.replies[i] = r
		}
	}
}

// refusal is r as an error. A 2xx or 3xx where it makes no sense is a
// temporary one: it must never be taken for a delivery.
func refusal(r *Reply) *mail.Reply {
	if r.Class() >= 4 {
		return r.Error()
	}
	return &mail.Reply{Code: 451, Enhanced: "4.5.0", Text: fmt.Sprintf("Unexpected reply: %d %s", r.Code, r.Text())}
}

// rcptRefusal reads 552 as 452: old servers say so when there are too many
// recipients (RFC 5321 section 4.5.3.1.10).
func rcptRefusal(r *Reply) *mail.Reply {
	if r.Code == 552 && (r.Enhanced == "" || r.Enhanced == "5.5.3") {
		return &mail.Reply{Code: 452, Enhanced: "4.5.3", Text: r.Text()}
	}
	return refusal(r)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
