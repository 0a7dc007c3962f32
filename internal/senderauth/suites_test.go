package senderauth

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/migiwa/migiwa/internal/dns"
)

// suite gives a folder of the test material beside the project; without it the
// test is skipped.
func suite(t testing.TB, name string) string {
	t.Helper()
	root := os.Getenv("MIGIWA_TESTDATA")
	if root == "" {
		root = "../../../shared/data"
	}
	path := filepath.Join(root, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no test material: %v (MIGIWA_TESTDATA names its place)", err)
	}
	return path
}

// texts makes a resolver of TXT records.
func texts(t testing.TB, records map[string]string) dns.Resolver {
	t.Helper()
	var b strings.Builder
	for name, text := range records {
		fmt.Fprintf(&b, "%s. IN TXT %s\n", name, ZoneText(text))
	}
	z, err := dns.ParseZone(b.String())
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// overall sums the signatures of a message up as Mail::DKIM does: the best one.
func overall(results []DKIMResult) string {
	sum := "none"
	for _, r := range results {
		switch {
		case r.Result == Pass:
			return "pass"
		case r.Result == Fail:
			sum = "fail"
		case sum == "none":
			sum = "invalid"
		}
	}
	return sum
}

// historic tells why a message that Mail::DKIM judged in 2009 is not judged now:
// signatures by SHA-1 and of the drafts prove nothing (RFC 8301 section 3.1, RFC
// 6376 section 6.1.1), and DomainKeys are not DKIM.
func historic(results []DKIMResult) string {
	if len(results) == 0 {
		return "DomainKeys"
	}
	for _, r := range results {
		for _, why := range []string{"SHA-1", "signature: version", "no bh", "keys elsewhere"} {
			if strings.Contains(r.Reason, why) {
				return why
			}
		}
	}
	return ""
}

func TestMailDKIMCorpus(t *testing.T) {
	dir := suite(t, "02-auth/mail-dkim-corpus")
	records := map[string]string{}
	raw, err := os.ReadFile(filepath.Join(dir, "FAKE_DNS.dat"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimRight(line, "\r\n")
		name, text, found := strings.Cut(line, "  ")
		if found && !strings.HasPrefix(line, "#") {
			records[name] = strings.TrimSpace(text)
		}
	}
	v := &Verifier{Resolver: texts(t, records), Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }}
	expected, err := os.Open(filepath.Join(dir, "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer expected.Close()
	passed, all, differ := 0, 0, map[string]int{}
	lines := bufio.NewScanner(expected)
	lines.Scan()
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		message, err := os.Open(filepath.Join(dir, fields[0]))
		if err != nil {
			t.Fatal(err)
		}
		results, _, err := v.Verify(t.Context(), message)
		message.Close()
		if err != nil {
			t.Errorf("%s: %v", fields[0], err)
		}
		all++
		got, want := overall(results), fields[1]
		if got == want {
			passed++
		} else if why := historic(results); why != "" {
			differ[why]++
		} else {
			t.Errorf("%s: %s, want %s: %+v", fields[0], got, want, results)
		}
	}
	t.Logf("%d of %d; not judged any more: %v", passed, all, differ)
}

func TestARCSuite(t *testing.T) {
	dir := suite(t, "02-auth/arc-test-suite-valimail")
	raw, err := os.ReadFile(filepath.Join(dir, "tests/arc-draft-validation-tests.yml"))
	if err != nil {
		t.Fatal(err)
	}
	passed, all := 0, 0
	decoder := yaml.NewDecoder(strings.NewReader(string(raw)))
	for {
		var group struct {
			Description string
			Tests       map[string]struct{ Message, CV string }
			TXT         map[string]string `yaml:"txt-records"`
		}
		if decoder.Decode(&group) != nil {
			break
		}
		v := &Verifier{Resolver: texts(t, group.TXT)}
		for name, test := range group.Tests {
			_, arc, err := v.Verify(t.Context(), strings.NewReader(test.Message))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			all++
			want := strings.ToLower(test.CV)
			if want == "" {
				want = "fail"
			}
			if string(arc.Result) == want {
				passed++
			} else {
				t.Errorf("%s: %s (%s), want %s", name, arc.Result, arc.Reason, want)
			}
		}
	}
	t.Logf("%d of %d", passed, all)
	if all == 0 {
		t.Error("no tests were read")
	}
}
