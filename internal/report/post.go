package report

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"time"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/senderauth"
	"github.com/migiwa/migiwa/internal/store/body"
)

// Post sends mail of the account that reports. Its fields are set before use.
type Post struct {
	Directory *directory.Directory
	Bodies    *body.Store
	Intake    *deliver.Intake
	Signer    *deliver.Signer
	Address   mail.Address
}

// part is one part of a mail, as it stands.
type part struct {
	header map[string]string
	body   []byte
}

// text is a part for people.
func text(s string) part {
	return part{map[string]string{"Content-Type": "text/plain; charset=utf-8", "Content-Transfer-Encoding": "8bit"}, []byte(s)}
}

// attachment is a file.
func attachment(kind, name string, content []byte) part {
	var b bytes.Buffer
	line := base64.StdEncoding.EncodeToString(content)
	for len(line) > 76 {
		b.WriteString(line[:76] + "\r\n")
		line = line[76:]
	}
	b.WriteString(line)
	return part{map[string]string{"Content-Type": kind + "; name=\"" + name + "\"", "Content-Transfer-Encoding": "base64",
		"Content-Disposition": "attachment; filename=\"" + name + "\""}, b.Bytes()}
}

// letter is a mail to be sent.
type letter struct {
	account  directory.Account // whose it is
	envelope mail.Address      // its envelope sender; the zero Address gets no bounces
	to       mail.Address
	subject  string
	fields   [][2]string // further ones of its header
	kind     string      // of its multipart, such as "mixed"
	parts    []part
}

// Send signs a multipart mail of the account that reports and queues it. kind is
// that of the whole, such as "mixed".
func (p *Post) Send(ctx context.Context, to mail.Address, subject, kind string, parts ...part) error {
	account, err := p.Directory.Account(ctx, p.Address)
	if err != nil {
		return fmt.Errorf("account that reports: %w", err)
	}
	return p.send(ctx, letter{account: account, envelope: p.Address, to: to, subject: subject, kind: kind, parts: parts,
		fields: [][2]string{{"Auto-Submitted", "auto-generated"}}})
}

func (p *Post) send(ctx context.Context, l letter) error {
	content, boundary, err := l.content()
	if err != nil {
		return err
	}
	id := mail.NewMessageID(l.account.Address.Domain)
	header := &mail.Header{}
	fields := append([][2]string{{"From", "<" + l.account.Address.Wire + ">"}, {"To", "<" + l.to.Wire + ">"}, {"Subject", mail.EncodeText(l.subject)},
		{"Date", mail.FormatDate(time.Now())}, {"Message-ID", id}}, l.fields...)
	for _, f := range append(fields, [2]string{"MIME-Version", "1.0"}, [2]string{"Content-Type", "multipart/" + l.kind + "; boundary=\"" + boundary + "\""}) {
		header.Append(f[0], f[1])
	}
	m := &deliver.Accepted{Trace: mail.NewTraceID(), Origin: queue.Submission, Account: l.account.ID, Submitter: l.account.Address.Key(), From: l.envelope,
		Recipients: []deliver.AcceptedRecipient{{Recipient: mail.Recipient{Address: l.to}}}, Subject: l.subject, MessageID: id[1 : len(id)-1]}
	return p.accept(ctx, m, header, content)
}

// content writes the parts.
func (l *letter) content() (content []byte, boundary string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, part := range l.parts {
		h := textproto.MIMEHeader{}
		for name, value := range part.header {
			h.Set(name, value)
		}
		out, err := w.CreatePart(h)
		if err != nil {
			return nil, "", err
		}
		if _, err := out.Write(part.body); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	b.WriteString("\r\n")
	return b.Bytes(), w.Boundary(), nil
}

// accept signs and stores the mail, and resolves a recipient of our own.
func (p *Post) accept(ctx context.Context, m *deliver.Accepted, header *mail.Header, content []byte) error {
	r := &m.Recipients[0]
	res, err := p.Directory.Resolve(ctx, r.Address)
	if err != nil {
		return err
	}
	switch res.Status {
	case directory.Known:
		r.Targets = res.Targets
	case directory.Unknown, directory.Disabled:
		return fmt.Errorf("%s gets no mail here", r.Address)
	}
	hash := senderauth.NewBodyHash()
	hash.Write(content)
	signature, err := p.Signer.Sign(ctx, header, hash)
	if err != nil {
		return err
	}
	m.Prefix = []byte(signature)
	w, err := p.Bodies.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(append(append(header.Bytes(), "\r\n"...), content...)); err != nil {
		return err
	}
	if m.Body, err = w.Commit(ctx); err != nil {
		return err
	}
	return p.Intake.Accept(ctx, m)
}
