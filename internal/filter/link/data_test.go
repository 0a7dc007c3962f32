package link

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// testdata gives a folder of the test material beside the project, unpacked
// when it is an archive. Without it the test is skipped.
func testdata(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("MIGIWA_TESTDATA")
	if root == "" {
		root = "../../../../shared/data"
	}
	path := filepath.Join(root, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no test material: %v (MIGIWA_TESTDATA names its place)", err)
	}
	if !strings.HasSuffix(path, ".tar.zst") {
		return path
	}
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-C", dir, "-I", "zstd -d --long=27", "-xf", path).CombinedOutput(); err != nil {
		t.Fatalf("unpacking %s: %v: %s", path, err, out)
	}
	return dir
}

// The web platform's own cases: what browsers make of a URL.
func TestBrowserCases(t *testing.T) {
	dir := testdata(t, "08-url/wpt-url-testdata.tar.zst")
	raw, err := os.ReadFile(filepath.Join(dir, "wpt-url-testdata/tests/wpt/urltestdata.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []json.RawMessage
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	passed, all := 0, 0
	for _, c := range cases {
		var test struct {
			Input, Href, Hostname string
			Base                  *string
			Failure               bool
		}
		if json.Unmarshal(c, &test) != nil || test.Base != nil || !utf8.ValidString(test.Input) {
			continue // a comment, or relative to a page, which mail is not
		}
		all++
		u, ok := Parse(test.Input)
		if ok == test.Failure || ok && u.Href != test.Href && u.Scheme != "javascript" {
			t.Logf("%q: got %v %q, want %q", test.Input, ok, u.Href, test.Href)
			continue
		}
		passed++
	}
	t.Logf("%d of %d cases", passed, all)
	if passed*100 < all*98 {
		t.Errorf("only %d of %d cases", passed, all)
	}
}

// A table of text and the URLs that must or must not be seen in it.
func TestTextTable(t *testing.T) {
	dir := testdata(t, "08-url/spamassassin-uri-tables")
	f, err := os.Open(filepath.Join(dir, "uri_text.table.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	passed, all := 0, 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, wants, found := strings.Cut(lines.Text(), "\t")
		if !found || strings.HasPrefix(text, "#") {
			continue
		}
		all++
		var got []string
		for _, raw := range InText(strings.ReplaceAll(text, `\n`, "\n")) {
			got = append(got, raw)
			if u, ok := Parse(raw); ok {
				got = append(got, u.Href)
			}
		}
		good := true
		for _, want := range strings.Fields(wants) {
			pattern, not := strings.CutPrefix(want, "!")
			re, err := regexp.Compile(pattern)
			if err != nil {
				continue
			}
			seen := false
			for _, g := range got {
				seen = seen || re.MatchString(g)
			}
			good = good && seen != not
		}
		if good {
			passed++
		} else {
			t.Logf("%q: %q, want %s", text, got, wants)
		}
	}
	t.Logf("%d of %d lines", passed, all)
	if passed*100 < all*85 {
		t.Errorf("only %d of %d lines", passed, all)
	}
}

// Links of phishing, each alone in a letter without a word against it: how many
// have something against them by themselves.
func TestPhishingLinks(t *testing.T) {
	dir := testdata(t, "08-url/openphish-urls-old.tar.zst")
	f, err := os.Open(filepath.Join(dir, "openphish-urls-old", "urls.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found, all := 0, 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		_, href, ok := strings.Cut(lines.Text(), "\t")
		if !ok || n%40 > 0 {
			continue
		}
		all++
		href = strings.NewReplacer(`"`, "%22", "<", "%3c").Replace(href)
		if len(check(t, "From: a@b.example\r\nContent-Type: text/html\r\n\r\n<p>Hello, <a href=\""+href+"\">here</a></p>\r\n")) > 0 {
			found++
		}
	}
	t.Logf("%d of %d links", found, all)
	if found*100 < all*65 {
		t.Errorf("only %d of %d links", found, all)
	}
}
