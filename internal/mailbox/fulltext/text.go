package fulltext

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mail/outline"
)

// Texts calls yield with each text in the body of a message, one after the
// other, in UTF-8: its text parts, of HTML what is read of it; the headers of
// messages inside; the names of files. A string is never looked for across two
// of them. What yield leaves unread is skipped.
func Texts(r io.Reader, yield func(text io.Reader) error) error {
	return outline.Texts(r, func(p *mail.Part, text io.Reader) error {
		if p.Parent != nil {
			about := strings.Join(p.Filenames(), "\n")
			if p.Parent.Is("message/") {
				about = outline.HeaderText(p.Header)
			}
			if about != "" {
				if err := yield(strings.NewReader(about)); err != nil {
					return err
				}
			}
		}
		if text == nil {
			return nil
		}
		return yield(text)
	})
}

// Header gives the fields at the beginning of a message as they are searched:
// normal text. whole is false when there are so many that some are left out.
func Header(r io.Reader) (text string, whole bool, err error) {
	h, err := mail.ReadHeader(bufio.NewReader(r), mail.DefaultHeaderLimits())
	whole = !errors.Is(err, mail.ErrHeaderLimit)
	if err != nil && whole {
		return "", false, err
	}
	return Normal(outline.HeaderText(h)), whole, nil
}
