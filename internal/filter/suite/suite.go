// Package suite puts the filters of a site together.
package suite

import (
	"fmt"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/content"
	"github.com/migiwa/migiwa/internal/filter/learned"
	"github.com/migiwa/migiwa/internal/filter/link"
)

// Info describes one filter.
type Info struct {
	Name    string
	Default filter.Mode // where neither recipient nor domain has said
	Doc     string
}

// Known are all filters, in the order of their findings.
var Known = []Info{
	{"link", filter.Label, "Where links lead: disguises, imitated brands, free pages."},
	{"content", filter.Label, "Header and words: what honest programs do not write, what frauds say."},
	{"learned", filter.Label, "A classifier that learns from what you move into Junk and out of it."},
}

// Names gives the names of all filters.
func Names() []string {
	names := make([]string, len(Known))
	for i, f := range Known {
		names[i] = f.Name
	}
	return names
}

// Default gives the mode of a filter that nobody has set.
func Default(name string) filter.Mode {
	for _, f := range Known {
		if f.Name == name {
			return f.Default
		}
	}
	return filter.Off
}

// Options are what the filters of a site need. The zero value is for filters
// that ask nobody.
type Options struct {
	// Rules is a file of the site's own content rules, "" for none.
	Rules string
	// Taught is what accounts have taught; nil for none.
	Taught learned.Store
}

// New gives the filters in the order of Known.
func New(o Options) (*filter.Pipeline, error) {
	words, err := content.New(o.Rules)
	if err != nil {
		return nil, fmt.Errorf("reading content rules: %w", err)
	}
	model := &learned.Model{Site: learned.DefaultSite(), Store: o.Taught}
	return &filter.Pipeline{Filters: []filter.Filter{
		link.Filter{}, words, &learned.Filter{Model: model},
	}}, nil
}
