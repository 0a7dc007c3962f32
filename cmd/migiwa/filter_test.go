package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilterCheck(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	letter := "From: Ann <ann@example.com>\nTo: bob@example.org\nSubject: Tuesday\nMessage-ID: <1@example.com>\nDate: Thu, 26 Nov 2026 10:00:00 +0000\n\n"
	for path, text := range map[string]string{
		good: "From ann@example.com Thu Nov 26 10:00:00 2026\n" + letter + "See you.\n",
		bad:  letter + "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"--json", "filter", "check", good, bad}, &out, &errs); status != 0 {
		t.Fatalf("status %d: %s", status, &errs)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), &out)
	}
	for i, want := range []string{"clean", "spam"} {
		var got checked
		if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
			t.Fatal(err)
		}
		if got.Verdict != want || got.File != []string{good, bad}[i] || got.Findings == nil {
			t.Errorf("line %d: %s", i, lines[i])
		}
	}
	out.Reset()
	if status := run(t.Context(), []string{"filter", "check", good, bad}, &out, &errs); status != 0 || !strings.Contains(out.String(), "2 messages") || !strings.Contains(out.String(), "GTUBE") {
		t.Errorf("status %d: %s %s", status, &out, &errs)
	}
	if status := run(t.Context(), []string{"filter", "check", filepath.Join(dir, "none")}, &out, &errs); status != 1 {
		t.Errorf("status %d for a file that is not there", status)
	}
	if status := run(t.Context(), []string{"filter", "check", "--client-ip", "x", good}, &out, &errs); status != 2 {
		t.Errorf("status %d for a bad address", status)
	}
}
