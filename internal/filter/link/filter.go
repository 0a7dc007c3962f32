package link

import (
	"context"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/hypertext"
	"github.com/migiwa/migiwa/internal/mail"
)

// Filter looks at where a message leads. It asks nobody.
type Filter struct{}

// Name implements filter.Filter.
func (Filter) Name() string { return "link" }

// Check implements filter.Filter.
func (Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	f := &findings{seen: map[string]bool{}, report: r}
	author, _ := m.Author()
	_, domain, _ := strings.Cut(author.Address.String(), "@")
	f.author, _ = Registrable(strings.ToLower(domain))
	f.sender(author)
	for _, found := range Of(m) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.look(found)
	}
	f.pages(m)
	return nil
}

// findings tells each symbol once, with the first evidence for it.
type findings struct {
	report *filter.Report
	seen   map[string]bool
	author string // registrable domain
}

func (f *findings) add(symbol, evidence string) {
	if !f.seen[symbol] {
		f.seen[symbol] = true
		f.report.Add(mail.Finding{Symbol: symbol, Score: filter.Score(symbol), Evidence: evidence})
	}
}

// sender looks at the name the author goes by.
func (f *findings) sender(author mail.HeaderAddress) {
	if f.author == "" {
		return
	}
	if im, ok := NamedBy(author.Name, f.author); ok {
		f.add(exactOr(im, "FROM_NAMES_BRAND", "FROM_IMITATES_BRAND"), quote(author.Name)+" from "+f.author+", not "+im.Brand)
	}
	_, host, _ := strings.Cut(author.Address.String(), "@")
	if im, ok := ImitatedBy(strings.ToLower(host), f.author); ok {
		f.add("FROM_DOMAIN_IMITATES", host+" looks like "+im.Brand)
	}
	if cheapPlace(f.author) {
		f.add("FROM_CHEAP_NAME", f.author)
	}
}

func exactOr(im Imitation, exact, other string) string {
	if im.Exact {
		return exact
	}
	return other
}

// disguises are the tricks that honest programs do not make by accident.
const disguises = OddAddress | EscapedHost | Backslash | WideLetters | MixedScripts

// look judges one link. What loads an image is not a place the reader goes to:
// only its disguise is looked at.
func (f *findings) look(l Found) {
	where := cut(l.Raw)
	switch t := l.Tricks; {
	case t&disguises != 0:
		f.add("LINK_DISGUISED", where+": "+(t&disguises).String())
	case t&UserInfo != 0 && l.Web():
		f.add("LINK_USERINFO", where)
	case t&Program != 0 && l.Kind != hypertext.Image:
		f.add("LINK_PROGRAM", where)
	}
	if l.Kind == hypertext.Image || !l.Web() {
		return
	}
	if l.Numeric() {
		f.add("LINK_NUMERIC", where)
	}
	if l.Tricks&EscapedLetter != 0 {
		f.add("LINK_ESCAPED", where)
	}
	if l.Tricks&OddPort != 0 {
		f.add("LINK_PORT", where)
	}
	f.place(l, where)
	if l.HTML {
		f.mismatch(l, where)
	}
}

// place judges the host that a link leads to, in the end.
func (f *findings) place(l Found, where string) {
	u := l.URL
	if inner, ok := Inner(u); ok && inner.Domain != f.author {
		if inner.Shared || inner.Numeric() {
			f.add("LINK_REDIRECT", where)
		}
		u = inner
	}
	if u.Domain == f.author {
		return
	}
	if im, ok := ImitatedBy(u.Host, u.Domain); ok {
		f.add(exactOr(im, "LINK_NAMES_BRAND", "LINK_IMITATES_BRAND"), u.Host+" is not "+im.Brand)
	}
	if u.Shared {
		f.add("LINK_SHARED_HOST", u.Host)
	}
	if cheapPlace(u.Domain) {
		f.add("LINK_CHEAP_NAME", u.Host)
	}
	if randomName(u.Domain) && !u.Shared && !u.Numeric() {
		f.add("LINK_RANDOM_NAME", u.Host)
	}
	if carriesAddress(u) {
		f.add("LINK_CARRIES_ADDRESS", where)
	}
	if shorteners[u.Domain] || shorteners[u.Host] {
		f.add("LINK_SHORTENED", u.Host)
	}
}

// mismatch finds links that show another place than they lead to. Senders that
// count clicks do so by habit, so that it counts only when the place shown is
// a brand's, or the place behind it is one that nobody in particular owns.
func (f *findings) mismatch(l Found, where string) {
	shown, ok := shownPlace(l.Shown)
	if !ok || shown.Domain == "" || shown.Domain == l.Domain {
		return
	}
	brand := ownedBy[shown.Domain]
	switch {
	case brand != nil && !brand.Owns(l.Domain) && !brand.Owns(f.author):
		f.add("LINK_SHOWS_BRAND", "shows "+shown.Host+", leads to "+where)
	case l.Shared || l.Numeric() || shorteners[l.Domain]:
		f.add("LINK_SHOWS_OTHER", "shows "+shown.Host+", leads to "+where)
	case shown.Domain != f.author:
		f.add("LINK_SHOWS_THIRD", "shows "+shown.Host+", leads to "+where)
	}
}

// shownPlace understands the text of a link when it is itself a URL or a name.
func shownPlace(shown string) (URL, bool) {
	if strings.ContainsAny(strings.TrimSpace(shown), " \t\n@") {
		return URL{}, false
	}
	for _, raw := range InText(shown) {
		if u, ok := Parse(raw); ok && u.Web() {
			return u, true
		}
	}
	return URL{}, false
}

// pages looks at what only the pages as wholes tell.
func (f *findings) pages(m *filter.Message) {
	for _, p := range m.Parts {
		page := p.Page()
		if page == nil {
			continue
		}
		if page.Passwords > 0 {
			f.add("HTML_ASKS_PASSWORD", "a field for a password in the mail")
		}
		if page.Refresh {
			f.add("HTML_REFRESH", "the page leads on by itself")
		}
		for _, l := range page.Links {
			if l.Kind == hypertext.Form {
				f.add("HTML_FORM", "a form that sends to "+cut(l.Target))
			}
		}
	}
}

func quote(s string) string { return `"` + cut(s) + `"` }

// cut keeps evidence short.
func cut(s string) string {
	const limit = 100
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
