package deliver

import (
	"bufio"
	"bytes"
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

// fit brings a job into the form that the peer's extensions allow. The error
// is a *mail.Reply for all recipients, or one of reading the body.
func fit(j *job, ext smtpc.Extensions, body blob.Reader) (*parcel, error) {
	m := j.message
	p := &parcel{
		message: smtpc.Message{From: m.From, Size: m.Size, Body: m.BodyType, UTF8: ext.UTF8 && m.SMTPUTF8, Ret: m.Ret, EnvID: m.EnvID},
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
	if p.message.From.UTF8() {
		if !ascii(m.From.Local) {
			return &mail.Reply{Code: 553, Enhanced: "5.6.7",
				Text: "The server takes no internationalized sender addresses (SMTPUTF8)"}
		}
		p.message.From = mail.MakeAddress(m.From.Local, m.From.Domain)
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

// fitBody sees to BODY=: what is not 7-bit needs the extension, or must turn
// out to be 7-bit all the same.
func (p *parcel) fitBody(m *queue.Message, ext smtpc.Extensions, body blob.Reader) error {
	switch {
	case m.BodyType == mail.BodyBinary && ext.Binary && ext.Chunking:
		return nil
	case m.BodyType == mail.BodyBinary:
	case m.BodyType != mail.Body8Bit || ext.EightBit:
		return nil
	}
	plain, err := sevenBit(io.MultiReader(bytes.NewReader(m.Prefix), io.NewSectionReader(body, 0, body.Size())))
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	if plain {
		p.message.Body = ""
		return nil
	}
	return &mail.Reply{Code: 554, Enhanced: "5.6.3", Text: "The server takes no 8-bit or binary content"}
}

// sevenBit tells whether all octets are 7-bit and lines end in CRLF within
// 998 octets (RFC 2045 section 2.7).
func sevenBit(r io.Reader) (bool, error) {
	br := bufio.NewReaderSize(r, 32<<10)
	line, prev := 0, byte(0)
	for {
		c, err := br.ReadByte()
		if err == io.EOF {
			return prev != '\r', nil
		}
		if err != nil {
			return false, err
		}
		if c >= 0x80 || c == 0 || (c == '\n') != (prev == '\r') {
			return false, nil
		}
		if line++; line > 1000 {
			return false, nil
		}
		if c == '\n' {
			line = 0
		}
		prev = c
	}
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
