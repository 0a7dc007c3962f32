package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/migiwa/migiwa/internal/deliver/smtpc"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/blob"
)

// maxHeader bounds what is read in search of the end of a header section.
const maxHeader = 256 << 10

// parcel is a message made fit for one peer.
type parcel struct {
	message smtpc.Message
	rcpts   []mail.Recipient
	content io.Reader
	refused []*mail.Reply // by recipient of the job; nil: is in rcpts
}

// fit brings a job into the form that the peer's extensions allow, with the
// envelope sender from. The error is a *mail.Reply for all recipients, or one
// of reading the body.
func fit(j *job, from mail.Address, ext smtpc.Extensions, body blob.Reader) (*parcel, error) {
	m := j.message
	p := &parcel{
		message: smtpc.Message{From: from, Size: m.Size, Body: m.BodyType, UTF8: ext.UTF8 && m.SMTPUTF8, Ret: m.Ret, EnvID: m.EnvID},
		refused: make([]*mail.Reply, len(j.items)),
		content: io.MultiReader(bytes.NewReader(m.Prefix), body),
	}
	if !ext.UTF8 {
		if err := p.downgrade(m, body); err != nil {
			return nil, err
		}
	}
	for i := range j.items {
		to := j.items[i].Recipient.Recipient
		if !ext.UTF8 && to.UTF8() {
			if !ascii(to.Local) {
				p.refused[i] = &mail.Reply{Code: 553, Enhanced: "5.6.7",
					Text: "The server takes no internationalized addresses (SMTPUTF8)"}
				continue
			}
			to.Address = mail.MakeAddress(to.Local, to.Domain)
		}
		p.rcpts = append(p.rcpts, to)
	}
	return p, p.fitBody(m, ext, body)
}

// downgrade makes the envelope sender ASCII, where only its domain is not, and
// looks whether the header can do without SMTPUTF8. RFC 6531 section 3.2: what
// cannot is returned, not changed.
func (p *parcel) downgrade(m *queue.Message, body blob.Reader) error {
	if from := p.message.From; from.UTF8() {
		if !ascii(from.Local) {
			return &mail.Reply{Code: 553, Enhanced: "5.6.7",
				Text: "The server takes no internationalized sender addresses (SMTPUTF8)"}
		}
		p.message.From = mail.MakeAddress(from.Local, from.Domain)
	}
	if !m.SMTPUTF8 {
		return nil
	}
	header, _, err := readHeader(m.Prefix, io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	if !ascii(string(header)) {
		return &mail.Reply{Code: 554, Enhanced: "5.6.7", Text: "The server takes no internationalized headers (SMTPUTF8)"}
	}
	return nil
}

// fitBody sees to BODY=: a peer without the extension gets the message as it
// is when it turns out to need none, else converted. What was declared 7-bit,
// is not, and cannot be converted either, goes as it came: no server minds it.
func (p *parcel) fitBody(m *queue.Message, ext smtpc.Extensions, body blob.Reader) error {
	binary := m.BodyType == mail.BodyBinary
	if binary && ext.Binary && ext.Chunking || !binary && ext.EightBit {
		return nil
	}
	open := func() io.Reader {
		return io.MultiReader(bytes.NewReader(m.Prefix), io.NewSectionReader(body, 0, body.Size()))
	}
	var o mail.Octets
	if _, err := io.Copy(&o, open()); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	p.message.Body = ""
	if ext.EightBit && o.High > 0 {
		p.message.Body = mail.Body8Bit
	}
	declared := binary || m.BodyType == mail.Body8Bit
	if o.Fit(ext.EightBit) || !declared && o.High == 0 {
		return nil
	}
	c, err := mail.Convert(open, ext.EightBit)
	var unfit *mail.UnfitError
	switch {
	case errors.As(err, &unfit) && !declared:
		return nil
	case errors.As(err, &unfit):
		return &mail.Reply{Code: 554, Enhanced: "5.6.3", Text: "The server takes no 8-bit or binary content, and " + unfit.Error()}
	case err != nil:
		return fmt.Errorf("read message: %w", err)
	}
	p.message.Size, p.content = c.Size, c.Reader(p.content)
	return nil
}

// readHeader gives the header section of prefix and body, at most maxHeader
// octets, without the empty line, and where in the body the rest begins.
func readHeader(prefix []byte, body io.Reader) (header []byte, rest int64, err error) {
	header = append(header, prefix...)
	br := bufio.NewReader(io.LimitReader(body, maxHeader))
	for {
		line, err := br.ReadSlice('\n')
		rest += int64(len(line))
		if err == nil && len(bytes.TrimRight(line, "\r\n")) == 0 && (len(header) == 0 || header[len(header)-1] == '\n') {
			return header, rest, nil
		}
		header = append(header, line...)
		if err == io.EOF {
			return header, rest, nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return nil, 0, err
		}
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
