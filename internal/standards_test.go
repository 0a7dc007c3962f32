package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStandardsAreCited: each room in docs/standards.md cites the RFCs that the
// page says it follows; where several rooms stand in a row, one of them does.
func TestStandardsAreCited(t *testing.T) {
	page, err := os.ReadFile("../docs/standards.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| ([0-9, ]+) \| .* \| ([^|]+) \|$`)
	rows := row.FindAllStringSubmatch(string(page), -1)
	if len(rows) < 30 {
		t.Fatalf("found %d rows", len(rows))
	}
	for _, r := range rows {
		text := ""
		for _, room := range regexp.MustCompile("`([a-z0-9/]+)`").FindAllStringSubmatch(r[2], -1) {
			text += source(t, room[1])
		}
		for rfc := range strings.SplitSeq(r[1], ", ") {
			if !regexp.MustCompile(`RFC[ \n\t/]*` + rfc + `\b`).MatchString(text) {
				t.Errorf("RFC %s is not cited in %s", rfc, r[2])
			}
		}
	}
}

// source gives the code of a room, its sub-packages included.
func source(t *testing.T, room string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(room, func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		b.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
