// Package eventtest reads journals for tests.
package eventtest

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/event"
)

// Events gives what the journal in dir holds, in the order of time.
func Events(t testing.TB, dir string) []event.Event {
	t.Helper()
	paths, err := event.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []event.Event
	for _, path := range paths {
		f, err := event.OpenFile(path)
		if errors.Is(err, fs.ErrNotExist) { // deleted, or listed before it was compressed
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for r := event.NewReader(f); ; {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(path, err)
			}
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
	return all
}

// Text gives the same as JSON lines.
func Text(t testing.TB, dir string) string {
	t.Helper()
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for _, e := range Events(t, dir) {
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}
