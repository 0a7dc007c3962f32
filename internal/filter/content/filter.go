// Package content looks at the header and the words of a message: what honest
// programs do not write, and what frauds say. Being commercial is no finding.
package content

import (
	"context"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/link"
	"github.com/migiwa/migiwa/internal/mail"
)

// Filter is the content filter. It is safe for concurrent use.
type Filter struct {
	// Now is the clock, for a look at Date; nil is time.Now.
	Now func() time.Time

	path  string
	rules atomic.Pointer[Rules]

	mu      sync.Mutex
	looked  time.Time
	changed time.Time
}

// lookAgain is how often the rules file is looked at, at most.
const lookAgain = 5 * time.Second

// New gives a filter with the default rules, and those of a file if path is not
// "". The file is read again when it has changed.
func New(path string) (*Filter, error) {
	f := &Filter{path: path}
	f.rules.Store(DefaultRules())
	return f, f.reload()
}

// Name implements filter.Filter.
func (f *Filter) Name() string { return "content" }

// Check implements filter.Filter. A rules file that cannot be read any more
// is an error, and the rules read last still hold.
func (f *Filter) Check(ctx context.Context, m *filter.Message, r *filter.Report) error {
	err := f.reload()
	c := &checks{m: m, report: r, now: f.now()}
	c.sender()
	c.subject()
	c.fields()
	c.unsubscribe()
	c.dates()
	c.structure()
	c.pages()
	v := &view{m: m, text: fold(first(m.Text(), maxSearched))}
	for _, l := range link.Of(m) {
		v.urls = append(v.urls, l.Href)
	}
	for _, found := range f.rules.Load().match(v) {
		r.Add(found)
	}
	return err
}

func (f *Filter) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

// reload reads the rules file if it has changed.
func (f *Filter) reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" || time.Since(f.looked) < lookAgain {
		return nil
	}
	f.looked = time.Now()
	info, err := os.Stat(f.path)
	if err != nil || info.ModTime().Equal(f.changed) {
		return err
	}
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	own, err := ParseRules(file)
	if err != nil {
		return err
	}
	f.changed = info.ModTime()
	f.rules.Store(DefaultRules().with(own))
	return nil
}

// checks looks for what is not in rules.
type checks struct {
	m      *filter.Message
	report *filter.Report
	now    time.Time
}

func (c *checks) add(symbol, evidence string) {
	c.report.Add(mail.Finding{Symbol: symbol, Score: filter.Score(symbol), Evidence: evidence})
}

// maxSearched bounds the text that rules look at, in octets: who writes for
// people comes to the point before.
const maxSearched = 64 << 10

func first(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// fold makes of all white space one blank, and takes away what is not seen.
func fold(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case invisible(r):
			return -1
		case r == '\u212a':
			return 'k'
		case r == '\u017f':
			return 's'
		}
		return r
	}, s)), " ")
}

// invisible tells of letters of no width, which break words for programs only.
func invisible(r rune) bool {
	switch r {
	case '\u00ad', '\u034f', '\u200b', '\u200c', '\u200d', '\u2060', '\ufeff':
		return true
	}
	return false
}

// cut keeps evidence short.
func cut(s string) string {
	const limit = 80
	if s = strings.Join(strings.Fields(s), " "); len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
