package imapd

import (
	"errors"
	"io"
	"strings"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// catenate reads the parts of CATENATE (RFC 4469) into a message. It gives false
// when the rest of the command does not come.
func (t *taking) catenate(d *wire.Decoder, m *incoming) bool {
	d.Expect('(')
	for {
		switch d.Word() {
		case "TEXT":
			d.SP()
			if !t.literal(d, m) {
				return false
			}
		case "URL":
			d.SP()
			if url := d.Astring(); d.Err() == nil && t.refusal == nil {
				t.refuse(t.copyURL(url, m))
			}
		default:
			d.Fail("Expected TEXT or URL")
		}
		if d.Err() != nil {
			return false
		}
		if !d.AcceptSP() {
			break
		}
	}
	d.Expect(')')
	return d.Err() == nil
}

// errURL is a URL that names nothing one could append.
var errURL = errors.New("no such message or part")

// copyURL adds what a URL names to a message.
func (t *taking) copyURL(url string, m *incoming) error {
	u, err := parseURL(url, t.c.srv.Hostname)
	if err == nil {
		err = t.copyPart(u, m)
	}
	var r *refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r) && r.code != "NOPERM",
		!errors.As(err, &r) && !errors.Is(err, errURL) && !errors.Is(err, mailbox.ErrNoFolder) && !errors.Is(err, mailbox.ErrName) && !errors.Is(err, mailbox.ErrNoMessage):
		return err
	}
	return no("BADURL "+codeText(url), "Nothing to append there")
}

// codeText makes text fit for a response code: printable, and without "]".
func codeText(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || r == ']' {
			return '?'
		}
		return r
	}, s)
}

// copyPart adds a part of a message to one that comes in.
func (t *taking) copyPart(u messageURL, m *incoming) error {
	folder, err := t.folderOf(u)
	if err != nil {
		return err
	}
	boxes := t.c.srv.Mailboxes
	need := mailbox.NeedText
	if u.section.needsOutline() {
		need |= mailbox.NeedOutline
	}
	for it, err := range boxes.Items(t.ctx, folder.ID, []mailbox.Range{{First: u.uid, Last: u.uid}}, need) {
		if err != nil {
			return err
		}
		text, err := boxes.OpenItem(t.ctx, &it)
		if err != nil {
			return err
		}
		part := &opened{it: &it, text: text}
		defer part.close()
		from, err := u.section.open(part)
		if err != nil {
			return err
		}
		offset, size := u.partial.of(from.Size())
		t.admit(size, m)
		if t.refusal != nil {
			return t.refusal
		}
		_, err = io.Copy(m.text, io.NewSectionReader(from, offset, size))
		return err
	}
	return errURL
}

// folderOf gives the mailbox of a URL, which must be readable and, where the
// URL says so, still the same.
func (t *taking) folderOf(u messageURL) (mailbox.Folder, error) {
	if u.mailbox == "" { // relative to the selected mailbox
		if t.c.sel == nil {
			return mailbox.Folder{}, errURL
		}
		return t.c.sel.told(), t.c.mayStill(t.ctx, false)
	}
	f, _, err := t.c.find(t.ctx, u.mailbox, mailbox.ReadRight)
	if err == nil && u.validity != 0 && u.validity != f.UIDValidity {
		err = errURL
	}
	return f, err
}
