package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
)

// object prints one JSON document.
func (o *output) object(v any) error {
	enc := json.NewEncoder(o.w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// table prints rows below a heading in columns.
type table struct{ w *tabwriter.Writer }

func (o *output) table(heading ...string) *table {
	t := &table{tabwriter.NewWriter(o.w, 0, 8, 2, ' ', 0)}
	t.row(heading...)
	return t
}

// row adds a row. Control characters are shown as spaces: cells may hold what
// strangers wrote.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, c)
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *table) end() error { return t.w.Flush() }
