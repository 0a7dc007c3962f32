package access

import (
	"context"
	"fmt"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Symbols of findings.
const (
	Allowed = "ACCESS_ALLOWED"
	Blocked = "ACCESS_BLOCKED"
	Labeled = "ACCESS_LABELED"
)

// Lists gives lists.
type Lists interface {
	// Lookup gives the list of an account, and that of the site for 0. A nil
	// List is an empty one.
	Lookup(ctx context.Context, account int64) (*List, error)
}

// Filter is the filter "access".
type Filter struct {
	Lists Lists
	// Authenticated gives the domains that are proven to stand behind the
	// message, by SPF, DKIM or a login. An entry that allows a sender counts
	// only when the sender's domain is one of them or below one. nil proves
	// nothing, so that no sender is allowed.
	Authenticated func(ctx context.Context, m *filter.Message) []string
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "access" }

// Check implements filter.Filter. A list that cannot be read costs its findings
// only; those of the others are made.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	c := &check{f: f, ctx: ctx, m: m, lists: map[int64]*List{}}
	for _, to := range r.Recipients {
		site, own := c.list(0), (*List)(nil)
		if to.ID != 0 {
			own = c.list(to.ID)
		}
		for _, finding := range c.findings(own, site, to) {
			r.AddFor(to.Index, finding)
		}
	}
	return c.err
}

// check is the work on one message.
type check struct {
	f       *Filter
	ctx     context.Context
	m       *filter.Message
	lists   map[int64]*List
	err     error // the first
	asked   bool
	domains []string // authenticated, once asked
}

func (c *check) list(account int64) *List {
	if l, ok := c.lists[account]; ok {
		return l
	}
	l, err := c.f.Lists.Lookup(c.ctx, account)
	if err != nil {
		l = nil
		if c.err == nil {
			c.err = fmt.Errorf("looking up an access list: %w", err)
		}
	}
	c.lists[account] = l
	return l
}

// search is one question to a list.
type search func(*List) (Match, bool)

// findings asks for the client, the sender in the envelope, the author, and the
// recipient. The author is asked for as well because it is the sender whom the
// user saw when making an entry.
func (c *check) findings(own, site *List, to filter.Recipient) []mail.Finding {
	var out []mail.Finding
	seen := map[Entry]bool{}
	add := func(m Match, whose string) {
		if !seen[m.Entry] {
			seen[m.Entry] = true
			out = append(out, finding(m, whose))
		}
	}
	ask := func(s search, usable func(Match) bool) {
		for _, l := range []struct {
			list  *List
			whose string
		}{{own, "own list"}, {site, "list of the site"}} {
			m, ok := s(l.list)
			if !ok {
				continue
			}
			if m.Action != Skip && usable(m) {
				add(m, l.whose)
			}
			return
		}
	}
	always := func(Match) bool { return true }
	ask(func(l *List) (Match, bool) { return l.Client(c.m.ClientName, c.m.Client) }, always)
	author, count := c.m.Author()
	for i, sender := range []mail.Address{c.m.From, author.Address} {
		// Of two authors a mail program shows either: neither is proven.
		several := i == 1 && count != 1
		ask(func(l *List) (Match, bool) { return l.Sender(sender) }, func(m Match) bool {
			return m.Action != Allow || !several && c.proven(string(sender.Domain))
		})
	}
	ask(func(l *List) (Match, bool) { return l.Recipient(to.Address) }, always)
	return out
}

// proven tells whether an authenticated domain covers d. One below d does not:
// hosts below a domain are often let to strangers.
func (c *check) proven(d string) bool {
	if !c.asked && c.f.Authenticated != nil {
		c.domains = c.f.Authenticated(c.ctx, c.m)
	}
	c.asked = true
	for _, have := range c.domains {
		have, err := mail.ParseDomain(have)
		if err == nil && (d == string(have) || strings.HasSuffix(d, "."+string(have))) {
			return true
		}
	}
	return false
}

func finding(m Match, whose string) mail.Finding {
	f := mail.Finding{Score: m.Weight}
	otherwise := 0.0
	switch m.Action {
	case Allow:
		f.Symbol, otherwise = Allowed, AllowWeight
	case Block:
		f.Symbol, otherwise = Blocked, BlockWeight
	default:
		f.Symbol, otherwise = Labeled, LabelWeight
	}
	if f.Score == 0 {
		f.Score = otherwise
	}
	if m.Action == Allow {
		f.Score = -f.Score
	}
	entry := m.Pattern
	if m.Tag != Any {
		entry = string(m.Tag) + ":" + entry
	}
	f.Evidence = fmt.Sprintf("%s is under %q of the %s", m.Subject, entry, whose)
	if m.Line > 0 {
		f.Evidence += fmt.Sprintf(", line %d", m.Line)
	}
	if m.Note != "" {
		f.Evidence += ": " + m.Note
	}
	return f
}
