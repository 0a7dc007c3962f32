package imap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/test/imap/client"
)

// result is the outcome of one test of others.
type result struct {
	name string
	err  error // nil: passed
}

// skipped tells whether the server lacks what the test is about.
func (r result) skipped() bool {
	var missing *client.MissingError
	return errors.As(r.err, &missing)
}

// material is the directory of other people's tests, below MIGIWA_TESTDATA or
// ../shared/data beside the project. A test without it says so and is skipped.
func material(t *testing.T, below string) string {
	t.Helper()
	dir := os.Getenv("MIGIWA_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	dir = filepath.Join(dir, below)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("SKIPPED, NOT TESTED: %v; set MIGIWA_TESTDATA to the collection of other people's tests", err)
	}
	return dir
}

// byChance begins the reason of a known failure that does not come each time.
const byChance = "by chance: "

// judge prints the table and compares the failures with those that are known:
// one that is not fails the test, and so does one that does not fail any more,
// unless its failure comes by chance.
func judge(t *testing.T, what string, results []result, known map[string]string) {
	t.Helper()
	var table strings.Builder
	passed, failed, skipped := 0, 0, 0
	seen := map[string]bool{}
	for _, r := range results {
		seen[r.name] = true
		reason, listed := known[r.name]
		switch {
		case r.skipped():
			skipped++
			fmt.Fprintf(&table, "  skipped  %-34s %v\n", r.name, r.err)
		case r.err == nil:
			passed++
			if listed && !strings.HasPrefix(reason, byChance) {
				t.Errorf("%s passes and must leave the list of known failures (%s)", r.name, reason)
			}
		case listed:
			failed++
			fmt.Fprintf(&table, "  failed   %-34s known: %s\n", r.name, reason)
		default:
			failed++
			fmt.Fprintf(&table, "  FAILED   %-34s %v\n", r.name, r.err)
			t.Errorf("%s: %v", r.name, r.err)
		}
	}
	for name := range known {
		if !seen[name] && !strings.HasPrefix(name, "kept aside: ") {
			t.Errorf("%s is a known failure, but there is no such test", name)
		}
	}
	t.Logf("%s: %d passed, %d failed, %d skipped\n%s", what, passed, failed, skipped, &table)
}
