package aggregate

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// samples gives the reports of others, or skips.
func samples(t *testing.T) string {
	t.Helper()
	root := os.Getenv("MIGIWA_TESTDATA")
	if root == "" {
		t.Skip("SKIPPED, NOT TESTED: MIGIWA_TESTDATA is not set")
	}
	dir := t.TempDir()
	root = filepath.Join(root, "09-reports-config")
	for _, archive := range []string{"parsedmarc-samples-a", "opendmarc-aggregate-xml"} {
		out, err := exec.Command("sh", "-c", `zstd -dc --long=27 "$1" | tar x -C "$2"`, "sh", filepath.Join(root, archive+".tar.zst"), dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v %s", archive, err, out)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "dmarc-cat-samples"), os.DirFS(filepath.Join(root, "dmarc-cat-samples"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// unreadable are the samples that are no report, and why.
var unreadable = map[string]string{
	"empty.xml":       "empty",
	"empty.txt":       "empty",
	"bad.xml":         "no XML",
	"bad.zip":         "no archive",
	"notempty.txt":    "some words",
	"notempty.txt.gz": "some words",
	"notempty.zip":    "some words",
	"bad.com!example.com!1337140800!1337227200.xml": "broken in many places on purpose",
	"SOURCE.txt": "where the samples are from",

	"exim_plain_text_only_no_arf_part.eml": "a report of one message",
	"google.com_smtp_tls_report.eml":       "a report on TLS",
	"mail.ru.json":                         "a report on TLS",
}

func TestSamples(t *testing.T) {
	read, refused := 0, 0
	err := filepath.WalkDir(samples(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r *Report
		if strings.HasSuffix(path, ".eml") {
			r, err = FromMessage(bytes.NewReader(raw))
		} else {
			r, err = Read(bytes.NewReader(raw))
		}
		why := unreadable[d.Name()]
		switch {
		case err != nil && why != "" && errors.Is(err, ErrInvalid):
			refused++
		case err != nil || why != "":
			t.Errorf("%s: %v, %s", d.Name(), err, why)
		default:
			read++
			checkSample(t, d.Name(), r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d reports read, %d other files refused", read, refused)
}

func checkSample(t *testing.T, name string, r *Report) {
	t.Helper()
	if r.Policy.Domain == "" || len(r.Records) == 0 || r.Metadata.OrgName == "" || r.Metadata.Begin == 0 {
		t.Errorf("%s: %+v", name, r)
	}
	for _, rec := range r.Records {
		if rec.Source == "" || rec.Count == 0 || rec.DKIM != "" && rec.DKIM != "pass" && rec.DKIM != "fail" {
			t.Errorf("%s: %+v", name, rec)
		}
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Errorf("%s: writing it: %v", name, err)
	}
	again, err := Read(&b)
	if err != nil || len(again.Records) != len(r.Records) || again.Policy != r.Policy {
		t.Errorf("%s: read again: %v", name, err)
	}
}

func TestHostile(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write([]byte("<feedback>"))
	for range 100 {
		z.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	z.Close()
	const policy = "<policy_published><domain>a.test</domain></policy_published>"
	for name, text := range map[string]string{
		"bomb":         bomb.String(),
		"deep":         "<feedback>" + strings.Repeat("<a>", 100_000),
		"deep record":  "<feedback>" + policy + "<record>" + strings.Repeat("<row>", 100_000),
		"entities":     `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><feedback>&b;</feedback>`,
		"another root": "<html></html>",
		"no domain":    "<feedback><record/></feedback>",
		"many records": "<feedback>" + policy + strings.Repeat("<record/>", MaxRecords+1) + "</feedback>",
		"half gzip":    bomb.String()[:1000],
		"half zip":     "PK\x03\x04 and no more",
	} {
		if r, err := Read(strings.NewReader(text)); err == nil || !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
	for name, text := range map[string]string{
		"nested":     strings.Repeat("<a>", 10_000),
		"signatures": "<record><auth_results>" + strings.Repeat("<dkim/>", 10_000),
		"errors":     "<report_metadata>" + strings.Repeat("<error/>", 10_000),
		"attributes": "<record " + strings.Repeat("a='' ", 10_000) + "/>",
	} {
		if _, err := Read(strings.NewReader("<feedback>" + policy + text)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := "<feedback>" + policy + "<record><row><source_ip>" + strings.Repeat("x", 1<<20) + "</source_ip><count>-1</count></row></record></feedback>"
	if r, err := Read(strings.NewReader(long)); err != nil || len(r.Records[0].Source) > maxValue || r.Records[0].Count != 0 {
		t.Errorf("a long value: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("<feedback><policy_published><domain>a.test</domain><p>none</p></policy_published><record><row><source_ip>192.0.2.1</source_ip></row></record></feedback>"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := r.Write(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(&out); err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, out.Bytes())
		}
	})
}
