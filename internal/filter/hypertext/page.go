// Package hypertext takes the HTML of mail apart as a mail program shows it:
// what is seen, what is hidden, and where its links lead.
package hypertext

import (
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Bounds of one page.
const (
	maxLinks  = 1000
	maxShown  = 512 // octets of a link's text
	maxTokens = 200_000
)

// Link is one place where a page leads, or which it loads.
type Link struct {
	Target string // as written, entities decoded
	Shown  string // what the reader sees instead, "" for an image
	Kind   Kind
}

// Kind is what a page does with a link.
type Kind int

// Kinds of links.
const (
	Anchor Kind = iota
	Image
	Form // where its fields are sent
)

// Page is what was found in the HTML of one part.
type Page struct {
	Text       string // what is seen
	Links      []Link
	Images     int
	Passwords  int // fields that ask for a password
	Scripts    int
	HiddenText int // letters that are written and not shown
	Refresh    bool
}

// Looks tells whether text that does not say so is HTML.
func Looks(text string) bool {
	start := strings.ToLower(strings.TrimSpace(text[:min(len(text), 512)]))
	return strings.HasPrefix(start, "<!doctype html") || strings.HasPrefix(start, "<html")
}

// Parse takes a page apart. Nothing is an error; the bounds end it.
func Parse(source string) *Page {
	p := &parser{page: &Page{}, z: html.NewTokenizer(strings.NewReader(source))}
	p.z.SetMaxBuf(1 << 20)
	for range maxTokens {
		kind := p.z.Next()
		if kind == html.ErrorToken {
			break
		}
		p.token(kind)
	}
	p.endAnchor()
	p.page.Text = p.text.String()
	return p.page
}

type parser struct {
	page   *Page
	z      *html.Tokenizer
	text   strings.Builder
	shown  strings.Builder // text of the open anchor
	anchor string
	open   bool
	hidden []atom.Atom // open elements from the outermost that is not shown
}

func (p *parser) token(kind html.TokenType) {
	switch kind {
	case html.TextToken:
		p.write(string(p.z.Text()))
	case html.StartTagToken, html.SelfClosingTagToken:
		t := p.z.Token()
		p.start(t, attributes(t), kind == html.SelfClosingTagToken)
	case html.EndTagToken:
		name, _ := p.z.TagName()
		p.end(atom.Lookup(name))
	}
}

func (p *parser) write(s string) {
	if len(p.hidden) > 0 {
		if p.hidden[0] != atom.Style && p.hidden[0] != atom.Script && p.hidden[0] != atom.Title {
			p.page.HiddenText += len(strings.TrimSpace(s))
		}
		return
	}
	p.text.WriteString(s)
	if p.open && p.shown.Len() < maxShown {
		p.shown.WriteString(s)
	}
}

func (p *parser) start(t html.Token, attr map[string]string, selfClosing bool) {
	if len(p.hidden) == 0 && breaks(t.DataAtom) {
		p.text.WriteByte('\n')
	}
	switch t.DataAtom {
	case atom.A, atom.Area:
		p.endAnchor()
		p.anchor, p.open = attr["href"], attr["href"] != ""
	case atom.Img:
		p.page.Images++
		p.link(attr["src"], "", Image)
	case atom.Form:
		p.link(attr["action"], "", Form)
	case atom.Input:
		if strings.EqualFold(attr["type"], "password") {
			p.page.Passwords++
		}
	case atom.Script:
		p.page.Scripts++
	case atom.Meta:
		p.page.Refresh = p.page.Refresh || strings.EqualFold(attr["http-equiv"], "refresh")
	}
	if !selfClosing && !void(t.DataAtom) && (len(p.hidden) > 0 || notShown(t.DataAtom, attr["style"])) && len(p.hidden) < 100 {
		p.hidden = append(p.hidden, t.DataAtom)
	}
}

func (p *parser) end(name atom.Atom) {
	if name == atom.A {
		p.endAnchor()
	}
	shown := len(p.hidden) == 0
	for i := len(p.hidden) - 1; i >= 0; i-- {
		if p.hidden[i] == name {
			p.hidden = p.hidden[:i]
			break
		}
	}
	if shown && breaks(name) {
		p.text.WriteByte('\n')
	}
}

func (p *parser) endAnchor() {
	if p.open {
		p.link(p.anchor, strings.Join(strings.Fields(p.shown.String()), " "), Anchor)
	}
	p.open = false
	p.shown.Reset()
}

func (p *parser) link(target, shown string, kind Kind) {
	if target != "" && len(p.page.Links) < maxLinks {
		p.page.Links = append(p.page.Links, Link{target, shown, kind})
	}
}

func attributes(t html.Token) map[string]string {
	m := make(map[string]string, len(t.Attr))
	for _, a := range t.Attr {
		if _, twice := m[a.Key]; !twice { // the first counts, as in browsers
			m[a.Key] = a.Val
		}
	}
	return m
}

var noSize = regexp.MustCompile(`font-size:0(\.0*)?(px|pt|em|rem|%)?(;|!|$)`)

func notShown(name atom.Atom, style string) bool {
	switch name {
	case atom.Style, atom.Script, atom.Title:
		return true
	}
	style = strings.ToLower(strings.Join(strings.Fields(style), ""))
	return strings.Contains(style, "display:none") || strings.Contains(style, "visibility:hidden") ||
		noSize.MatchString(style)
}

func void(name atom.Atom) bool {
	switch name {
	case atom.Img, atom.Br, atom.Hr, atom.Input, atom.Meta, atom.Link, atom.Area, atom.Base, atom.Col, atom.Wbr:
		return true
	}
	return false
}

func breaks(name atom.Atom) bool {
	switch name {
	case atom.Br, atom.P, atom.Div, atom.Tr, atom.Td, atom.Li, atom.H1, atom.H2, atom.H3, atom.Table:
		return true
	}
	return false
}
