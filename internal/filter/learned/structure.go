package learned

import (
	"path"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// structure adds what the message is made of.
func (c *collector) structure(m *filter.Message) {
	c.add(kindType, outline(m.Root, 0))
	pictures, letters, pages := 0, 0, 0
	for i, p := range m.Parts {
		if i < maxShapeParts {
			c.part(p)
		}
		if page := p.Page(); page != nil {
			pages++
			pictures += page.Images
			letters += len(strings.TrimSpace(page.Text))
			c.page(page.HiddenText, len(page.Text), page.Passwords, page.Scripts, page.Refresh)
		} else {
			letters += len(strings.TrimSpace(p.Text))
		}
	}
	if pages > 0 {
		c.add(kindShape, "pictures="+bucket(pictures)+" "+density(letters, pictures))
	}
	c.add(kindShape, "letters="+length(letters))
}

// outline names the parts of a message by their types: "mixed(plain pdf)".
func outline(p *mail.Part, depth int) string {
	_, name, _ := strings.Cut(p.Type, "/")
	if len(name) > 20 {
		name = name[:20]
	}
	if len(p.Children) == 0 || depth == 3 {
		return name
	}
	var inner []string
	for _, child := range p.Children[:min(len(p.Children), maxShapeParts)] {
		word := outline(child, depth+1)
		if len(inner) == 0 || inner[len(inner)-1] != word {
			inner = append(inner, word)
		}
	}
	out := name + "(" + strings.Join(inner, " ") + ")"
	return out[:min(len(out), maxTokenBytes-len(kindType))]
}

func (c *collector) part(p *filter.Part) {
	if p.Is("text/") {
		c.add(kindType, prefixed("charset=", strings.ToLower(p.Params["charset"])))
		c.add(kindType, p.Type+" in "+p.Encoding)
	}
	for _, d := range p.Defects {
		c.add(kindShape, "defect "+string(d.Kind))
	}
	for _, name := range p.Filenames() {
		c.add(kindType, prefixed("file=", strings.ToLower(path.Ext(name))))
	}
}

func (c *collector) page(hidden, shown, passwords, scripts int, refresh bool) {
	switch {
	case hidden > 200 && hidden > shown:
		c.add(kindShape, "mostly hidden text")
	case hidden > 200:
		c.add(kindShape, "hidden text")
	}
	if passwords > 0 {
		c.add(kindShape, "asks for a password")
	}
	if scripts > 0 {
		c.add(kindShape, "scripts")
	}
	if refresh {
		c.add(kindShape, "leads away by itself")
	}
}

// density says how much there is to read for each picture.
func density(letters, pictures int) string {
	switch each := letters / max(pictures, 1); {
	case pictures == 0:
		return "text only"
	case each < 50:
		return "hardly any text"
	case each < 300:
		return "little text"
	}
	return "much text"
}

func length(letters int) string {
	switch {
	case letters == 0:
		return "none"
	case letters < 100:
		return "few"
	case letters < 1000:
		return "some"
	case letters < 10000:
		return "many"
	}
	return "very many"
}
