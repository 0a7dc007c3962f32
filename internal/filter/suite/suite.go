// Package suite puts the filters of a site together.
package suite

import (
	"fmt"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/content"
	"github.com/migiwa/migiwa/internal/filter/link"
)

// Options are what the filters of a site need. The zero value is for filters
// that ask nobody.
type Options struct {
	// Rules is a file of the site's own content rules, "" for none.
	Rules string
}

// New gives the filters in the order of their findings.
func New(o Options) (*filter.Pipeline, error) {
	words, err := content.New(o.Rules)
	if err != nil {
		return nil, fmt.Errorf("reading content rules: %w", err)
	}
	return &filter.Pipeline{Filters: []filter.Filter{link.Filter{}, words}}, nil
}
