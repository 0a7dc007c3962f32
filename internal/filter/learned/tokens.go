package learned

import (
	"cmp"
	"slices"
	"strings"

	"github.com/dchest/siphash"
	"golang.org/x/net/publicsuffix"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// TokenVersion changes whenever the same message gives other tokens, or the
// same token another hash: counts made with another version mean nothing.
const TokenVersion = 1

// Bounds of the tokens of one message.
const (
	MaxTokens     = 2000 // of one message, all different
	maxSeen       = 8000 // of which they are chosen
	maxSubject    = 1 << 10
	maxName       = 256
	maxTokenBytes = 80
	maxWordText   = 256 << 10 // octets of text that are looked at
	maxLinks      = 100
	maxShapeParts = 20
)

// Kinds of tokens, by their prefix. A word of the text has none, and no colon.
const (
	kindSubject = "subject:"
	kindFrom    = "from:"
	kindName    = "name:"
	kindHead    = "head:"
	kindType    = "type:"
	kindShape   = "shape:"
	kindHost    = "host:"
	kindLink    = "link:"
)

// Tokens takes a message apart into what can be counted, each token once: from
// the header, from its structure, from its links, and the words of its text.
// Of the header only fields that the author wrote are looked at. Those that
// tell one reader, one day, one way here or the judgement of another filter
// (Received, Delivered-To, Message-ID, Date, X-Spam-…, List-… and so on) would
// be learned instead of the message.
func Tokens(m *filter.Message) []string {
	c := &collector{seen: make(map[string]struct{}, 512), skip: readers(m)}
	c.header(m)
	c.structure(m)
	for _, p := range m.Parts {
		if page := p.Page(); page != nil {
			for _, l := range page.Links {
				c.link(l.Target, l.Shown)
			}
		}
	}
	c.fixed = min(len(c.list), MaxTokens/2)
	room := maxWordText
	for _, p := range m.Parts {
		text := p.Text
		if page := p.Page(); page != nil {
			text = page.Text
		}
		text = text[:min(len(text), room)]
		room -= len(text)
		c.text(text, "")
	}
	return c.choose()
}

// Hashes gives the hashes under which tokens are counted. They are the same on
// every machine and in every run.
func Hashes(tokens []string) []uint64 {
	out := make([]uint64, len(tokens))
	for i, t := range tokens {
		out[i] = hash(t)
	}
	return out
}

// hash has a key so that it is SipHash, not so that it is secret: counts are
// kept for years and moved between nodes.
func hash(token string) uint64 {
	return siphash.Hash(0x6d69676977610001, 0x6c6561726e656401, []byte(token))
}

// collector gathers the tokens of one message.
type collector struct {
	seen  map[string]struct{}
	list  []string
	skip  map[string]bool // words that tell who reads the message
	fixed int             // how many of list are always taken: those found before the text
	links int
}

// choose gives the tokens of a message. Of too many words it takes those whose
// hashes are lowest, wherever they stand: a spammer who writes thousands of
// words above his own must not push these out.
func (c *collector) choose() []string {
	if len(c.list) <= MaxTokens {
		return c.list
	}
	words := slices.Clone(c.list[c.fixed:])
	slices.SortFunc(words, func(a, b string) int { return cmp.Compare(hash(a), hash(b)) })
	list := append(c.list[:c.fixed], words[:MaxTokens-c.fixed-1]...)
	return append(list, kindShape+"more words than are counted")
}

func (c *collector) add(kind, value string) {
	if value == "" || len(c.list) == maxSeen || len(kind)+len(value) > maxTokenBytes {
		return
	}
	token := kind + value
	if _, twice := c.seen[token]; twice {
		return
	}
	c.seen[token] = struct{}{}
	c.list = append(c.list, token)
}

// readers gives the words of the addresses that the message is written to. A
// message to many has none: nobody may hide his words by writing them there.
// Fields that delivery adds do not count, so that a message has the same tokens
// when it arrives and when it is taught.
func readers(m *filter.Message) map[string]bool {
	skip := map[string]bool{}
	for _, field := range []string{"To", "Cc"} {
		list, _ := mail.ParseAddressList(m.Header.Get(field))
		if len(list) > 3 {
			continue
		}
		for _, a := range list {
			for _, word := range strings.FieldsFunc(strings.ToLower(a.Address.Wire), notWord) {
				if len(word) > 2 && word != "com" && word != "net" && word != "org" {
					skip[word] = true
				}
			}
		}
	}
	return skip
}

func notWord(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9') && r < 0x80 }

// header adds what the author's own fields say.
func (c *collector) header(m *filter.Message) {
	author, count := m.Author()
	c.domain(kindFrom, string(author.Address.Domain))
	if a := author.Address; a.Domain != "" {
		c.add(kindFrom, strings.ToLower(a.Local)+"@"+string(a.Domain))
	}
	c.text(cut(author.Name, maxName), kindName)
	if count != 1 {
		c.add(kindHead, "authors="+bucket(count))
	}
	c.text(cut(mail.DecodeText(m.Header.Get("Subject")), maxSubject), kindSubject)
	if !m.Header.Has("Subject") {
		c.add(kindHead, "no subject")
	}
	if !m.Header.Has("Date") {
		c.add(kindHead, "no date")
	}
	to, _ := mail.ParseAddressList(m.Header.Get("To"))
	c.add(kindHead, "to="+bucket(len(to)))
	if reply, _ := mail.ParseAddressList(m.Header.Get("Reply-To")); len(reply) > 0 &&
		organisation(string(reply[0].Address.Domain)) != organisation(string(author.Address.Domain)) {
		c.add(kindHead, "replies go elsewhere")
	}
	for _, field := range []string{"X-Mailer", "User-Agent"} {
		c.add(kindHead, prefixed("mailer=", program(m.Header.Get(field))))
	}
}

func cut(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

func prefixed(prefix, value string) string {
	if value == "" {
		return ""
	}
	return prefix + value
}

// program gives the name in a mailer's field without its version.
func program(value string) string {
	letters := func(r rune) bool { return !(r >= 'a' && r <= 'z' || r == ' ') }
	name, _, _ := strings.Cut(strings.ToLower(value), "/")
	if i := strings.IndexFunc(name, letters); i >= 0 {
		name = name[:i]
	}
	return strings.Join(strings.Fields(name), "-")
}

// domain adds a name and the organisation that it belongs to.
func (c *collector) domain(kind, name string) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if org := organisation(name); org != name {
		c.add(kind, org)
	}
	c.add(kind, name)
}

// organisation gives the registered domain of a name, or the name itself.
func organisation(name string) string {
	if len(name) > mail.MaxDomain {
		return ""
	}
	name = strings.ToLower(name)
	if org, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return org
	}
	return name
}

// bucket gives a word for a count, so that near counts are the same.
func bucket(n int) string {
	switch {
	case n <= 0:
		return "0"
	case n == 1:
		return "1"
	case n < 5:
		return "2-4"
	case n < 20:
		return "5-19"
	}
	return "20+"
}
