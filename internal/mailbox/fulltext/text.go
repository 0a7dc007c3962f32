package fulltext

import (
	"io"

	"github.com/migiwa/migiwa/internal/mail"
)

// Texts calls yield with each text of a message in UTF-8, one after the other:
// its text parts, with those of messages in it.
func Texts(r io.Reader, yield func(text io.Reader) error) error {
	_, err := mail.ReadMIME(r, mail.DefaultMIMELimits(), func(p *mail.Part, body io.Reader) error {
		if !p.Leaf || !p.Is("text/") {
			return nil
		}
		return yield(p.Text(body))
	})
	return err
}
