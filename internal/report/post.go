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

// Send signs a multipart mail and queues it. kind is that of the whole, such as
// "mixed".
func (p *Post) Send(ctx context.Context, to mail.Address, subject, kind string, parts ...part) error {
	account, err := p.Directory.Account(ctx, p.Address)
	if err != nil {
		return fmt.Errorf("account that reports: %w", err)
	}
	var content bytes.Buffer
	w := multipart.NewWriter(&content)
	for _, part := range parts {
		h := textproto.MIMEHeader{}
		for name, value := range part.header {
			h.Set(name, value)
		}
		out, err := w.CreatePart(h)
		if err != nil {
			return err
		}
		if _, err := out.Write(part.body); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	content.WriteString("\r\n")
	id := mail.NewMessageID(p.Address.Domain)
	header := &mail.Header{}
	for _, f := range [][2]string{{"From", "<" + p.Address.Wire + ">"}, {"To", "<" + to.Wire + ">"}, {"Subject", subject}, {"Date", mail.FormatDate(time.Now())},
		{"Message-ID", id}, {"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"}, {"Content-Type", "multipart/" + kind + "; boundary=\"" + w.Boundary() + "\""}} {
		header.Append(f[0], f[1])
	}
	m := &deliver.Accepted{Trace: mail.NewTraceID(), Origin: queue.Submission, Account: account.ID, Submitter: account.Address.Key(), From: p.Address,
		Recipients: []deliver.AcceptedRecipient{{Recipient: mail.Recipient{Address: to}}}, Subject: subject, MessageID: id[1 : len(id)-1]}
	return p.accept(ctx, m, header, content.Bytes())
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
