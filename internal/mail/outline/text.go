package outline

import (
	"io"
	"strings"
	"unicode"

	"github.com/migiwa/migiwa/internal/mail"
)

// Texts reads a message once and calls visit for every part, in their order,
// with what people read of its body: UTF-8 without transfer encoding, charset
// and, of HTML, markup. text is nil for parts that are no text. Messages
// inside are gone through as well, encoded ones too. What visit leaves unread
// is skipped; an error of visit ends Texts, which gives it.
//
// It is bounded as mail.ReadMIME is; how much of a text counts is for visit to
// say. See HeaderText for p.Header.
func Texts(r io.Reader, visit func(p *mail.Part, text io.Reader) error) error {
	_, err := mail.ReadMIME(r, mail.DefaultMIMELimits(), func(p *mail.Part, body io.Reader) error {
		if !p.Leaf || !p.Is("text/") {
			return visit(p, nil)
		}
		return visit(p, plainText(p, body))
	})
	return err
}

// plainText gives the text of a text part in UTF-8, of HTML without markup.
func plainText(p *mail.Part, body io.Reader) io.Reader {
	text := p.Text(body)
	if p.Is("text/html") {
		return StripHTML(text)
	}
	return text
}

// HeaderText gives the fields of a header as people read them, encoded-words
// decoded: a line "Name: value" each.
func HeaderText(h *mail.Header) string {
	var b strings.Builder
	for f := range h.All() {
		b.WriteString(f.Name + ": " + mail.DecodeText(f.Value()) + "\n")
	}
	return b.String()
}

// Sizes of previews.
const (
	maxPreview  = 200       // characters
	previewFrom = 128 << 10 // octets of the body it is made of
	previewText = 16 << 10  // octets of the text in that
)

// previewed tells whether a part may give the preview: text that can be read,
// and is shown and not attached.
func (p *Part) previewed() bool {
	_, known := p.Transfer()
	return known && (p.Type == "" || p.Is("text/plain") || p.Is("text/html")) && !strings.EqualFold(p.Disposition, "attachment")
}

// preview gives the beginning of the text of a part. Of plain text, lines that
// quote another message count only when there are no others.
func (p *Part) preview(body io.Reader) string {
	m := mail.Part{Type: "text/plain", Params: map[string]string{"charset": p.Param("charset")}}
	m.Encoding, _ = p.Transfer()
	if p.Is("text/html") {
		m.Type = "text/html"
	}
	b, err := io.ReadAll(io.LimitReader(plainText(&m, body), previewText))
	if err != nil {
		return "" // of a charset; such a text has no preview
	}
	text := strings.ToValidUTF8(string(b), "")
	if m.Type == "text/plain" {
		var own strings.Builder
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, ">") {
				own.WriteString(line)
			}
		}
		if s := squeeze(own.String()); s != "" {
			return s
		}
	}
	return squeeze(text)
}

// squeeze folds white space to single spaces, leaves out what cannot be seen,
// and cuts at maxPreview characters.
func squeeze(text string) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			space = n > 0
			continue
		case !unicode.IsPrint(r) || r == '\u034f' || r == '\ufffc': // control, zero width, joiners that fill previews
			continue
		}
		if space {
			if n++; n >= maxPreview {
				break
			}
			b.WriteByte(' ')
			space = false
		}
		if n++; n > maxPreview {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
