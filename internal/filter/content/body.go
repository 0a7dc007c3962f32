package content

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

func (c *checks) finding(symbol, evidence string) mail.Finding {
	return mail.Finding{Symbol: symbol, Score: filter.Score(symbol), Evidence: evidence}
}

// structure looks at how the message is put together.
func (c *checks) structure() {
	letters, images := countLetters(c.m.Text(), 400), 0
	var imageOctets int64
	for _, p := range c.m.Parts {
		switch {
		case p.Is("image/"):
			images++
			imageOctets += p.Length
		case p.Is("text/html") && p.Disposition == "attachment", htmlName(p.Filenames()):
			c.add("ATTACHED_PAGE", "a web page as attachment")
		}
		if p.Is("text/") && p.Text != "" && needlessBase64(p) {
			c.add("TEXT_NEEDLESSLY_ENCODED", "plain ASCII as base64")
		}
	}
	if images > 0 && letters < 100 && imageOctets > 8<<10 {
		c.add("IMAGE_INSTEAD_OF_TEXT", fmt.Sprintf("%d letters, images of %d KB", letters, imageOctets>>10))
	}
	if defects := c.defects(); defects != "" {
		c.add("MIME_BROKEN", defects)
	}
	if n := c.brokenWords(); n >= 10 {
		c.add("TEXT_HIDDEN_LETTERS", fmt.Sprintf("%d invisible letters within words", n))
	}
}

// defects tells those that programs do not make by accident.
func (c *checks) defects() string {
	for _, p := range c.m.Parts {
		for _, d := range p.Defects {
			switch d.Kind {
			case mail.DefectDuplicate, mail.DefectNoBoundary, mail.DefectHeaderEnd, mail.DefectLimit, mail.DefectBase64:
				return string(d.Kind) + " " + cut(d.Detail)
			}
		}
	}
	return ""
}

func htmlName(names []string) bool {
	for _, name := range names {
		switch name = strings.ToLower(name); {
		case strings.HasSuffix(name, ".htm"), strings.HasSuffix(name, ".html"), strings.HasSuffix(name, ".shtml"), strings.HasSuffix(name, ".xhtml"), strings.HasSuffix(name, ".svg"):
			return true
		}
	}
	return false
}

func needlessBase64(p *filter.Part) bool {
	if !strings.EqualFold(strings.TrimSpace(p.Header.Get("Content-Transfer-Encoding")), "base64") {
		return false
	}
	for _, r := range p.Text {
		if r > 0x7e {
			return false
		}
	}
	for line := range strings.Lines(p.Text) {
		if len(line) > 990 {
			return false // mail needs an encoding for lines that long
		}
	}
	return len(p.Text) > 100
}

func countLetters(s string, enough int) int {
	n := 0
	for _, r := range s {
		if unicode.IsLetter(r) {
			if n++; n == enough {
				break
			}
		}
	}
	return n
}

// brokenWords counts invisible letters between two ASCII letters, where no
// language needs them. Rows of them pad previews and are honest.
func (c *checks) brokenWords() int {
	n := 0
	before, between := rune(0), false
	for _, r := range c.m.Text() {
		switch {
		case invisible(r) && r != '\u00ad': // soft hyphens are for long words
			between = true
			continue
		case between && asciiLetter(before) && asciiLetter(r):
			n++
		}
		before, between = r, false
	}
	return n
}

func asciiLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// pages looks at HTML as a whole.
func (c *checks) pages() {
	for _, p := range c.m.Parts {
		page := p.Page()
		if page == nil {
			continue
		}
		shown := countLetters(page.Text, 5000)
		if page.HiddenText > 2000 && page.HiddenText > 2*shown {
			c.add("HTML_HIDES_TEXT", fmt.Sprintf("%d octets not shown", page.HiddenText))
		}
		if page.Scripts > 0 {
			c.add("HTML_SCRIPT", "a program in the page")
		}
		if shown < 60 && page.Images > 0 && len(page.Links) > page.Images {
			c.add("HTML_IMAGE_LINKS_ONLY", fmt.Sprintf("%d letters, %d images", shown, page.Images))
		}
		break
	}
}
