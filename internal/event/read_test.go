package event

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func readAll(r *Reader) (events []Event, err error) {
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

const goodLine = `{"time":"2026-01-02T03:04:05Z","kind":"rcpt","to":"a@b.test"}` + "\n"

func TestReaderSkipsWhatIsNoEvent(t *testing.T) {
	text := goodLine + `{"time":"2026-01-02T03:04:05Z","kind":"rc` + "\n" + strings.Repeat("x", 3*maxLine) + "\n" +
		goodLine + "{}\n\n[]\nnull\n" + `{"kind":"rcpt"}` + "\n" + `{"time":"yesterday","kind":"rcpt"}` + "\n" + strings.TrimSpace(goodLine)
	r := NewReader(strings.NewReader(text))
	events, err := readAll(r)
	if err != nil || len(events) != 3 || r.Torn != 8 || events[2].To != "a@b.test" {
		t.Errorf("%d events, %d torn, %v", len(events), r.Torn, err)
	}
	r = NewReader(strings.NewReader(text))
	r.Match = func(line []byte) bool { return strings.HasPrefix(string(line), "{}") }
	if events, _ := readAll(r); len(events) != 0 || r.Torn != 2 {
		t.Errorf("%d events, %d torn of what matches", len(events), r.Torn)
	}
}

func TestFilesNewestFirst(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"audit-20260101T000000.000000000Z.jsonl", "audit-20260101T000000.000000000Z.jsonl.zst", "sessions-20260301T000000.000000000Z.jsonl",
		"messages-20260201T000000.000000000Z.jsonl.zst", "messages-20260202T000000.000000000Z.jsonl.zst.new", "other", "rest-20260201T000000.000000000Z.jsonl"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Files(dir)
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	want := []string{"sessions-20260301T000000.000000000Z.jsonl", "messages-20260201T000000.000000000Z.jsonl.zst", "audit-20260101T000000.000000000Z.jsonl.zst"}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("%v, %v", files, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(goodLine + "{\n" + goodLine))
	f.Fuzz(func(t *testing.T, in []byte) {
		events, err := readAll(NewReader(strings.NewReader(string(in))))
		if err != nil || len(events) > len(in) {
			t.Fatalf("%d events, %v", len(events), err)
		}
	})
}
