package learned_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/migiwa/migiwa/internal/filter/learned"
)

// The site model comes from mail of 2002. Advertising, receipts and notices of
// today that were asked for, as honest senders write them, are not spam to it.
func TestHonestTradeIsNoSpam(t *testing.T) {
	files, err := filepath.Glob("testdata/modern/*.eml")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	m := &learned.Model{Site: learned.DefaultSite()}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		v := classify(t, m, "", learned.Tokens(read(t, string(raw))))
		if _, found := v.Finding(); found {
			t.Errorf("%s: %s", filepath.Base(name), v)
		}
		t.Logf("%-14s %.3f, known %.2f", filepath.Base(name), v.Score, v.Knowledge)
	}
}
