package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

func export(t testing.TB, n int) (text, hash string) {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, Header{Query: `from:"a b" <x>`, By: "root", Made: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := w.Write(event.Event{Time: time.Unix(int64(i), 5).UTC(), Kind: event.Rcpt, To: fmt.Sprint(i), Text: "“é” <&> \u2028"}); err != nil {
			t.Fatal(err)
		}
	}
	if hash, err = w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), hash
}

func TestTamperingShows(t *testing.T) {
	text, hash := export(t, 5)
	rep, err := Verify(strings.NewReader(text))
	if err != nil || rep.Events != 5 || rep.Hash != hash || rep.Header.By != "root" {
		t.Fatalf("%+v, %v, want the hash %s", rep, err, hash)
	}
	if _, other := export(t, 4); other == hash {
		t.Error("another file has the same hash")
	}
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	for name, c := range map[string]struct {
		line int64
		text string
	}{
		"changed":     {4, strings.Replace(text, `"to":"2"`, `"to":"7"`, 1)},
		"header":      {1, strings.Replace(text, `"by":"root"`, `"by":"toor"`, 1)},
		"removed":     {4, strings.Join(slices.Delete(slices.Clone(lines), 3, 4), "")},
		"doubled":     {4, strings.Join(slices.Insert(slices.Clone(lines), 3, lines[2]), "")},
		"swapped":     {2, strings.Join([]string{lines[0], lines[2], lines[1], lines[3], lines[4], lines[5], lines[6]}, "")},
		"cut short":   {6, strings.Join(lines[:6], "")},
		"torn":        {7, text[:len(text)-20]},
		"more":        {8, text + lines[2]},
		"no header":   {1, strings.Join(lines[1:], "")},
		"two headers": {2, lines[0] + text},
		"empty":       {0, ""},
		"count":       {7, strings.Replace(text, `"end":5`, `"end":6`, 1)},
		"long":        {1, strings.Repeat("x", maxLine+1)},
	} {
		_, err := Verify(strings.NewReader(c.text))
		var tampered *TamperError
		if !errors.As(err, &tampered) || tampered.Line != c.line {
			t.Errorf("%s: %v, want line %d", name, err, c.line)
		}
	}
}

func FuzzVerify(f *testing.F) {
	text, _ := export(f, 2)
	f.Add(text)
	f.Add(`{"header":null,"hash":""}` + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		if rep, err := Verify(strings.NewReader(text)); err == nil && rep.Header.Format != Format {
			t.Errorf("%q passes", text)
		}
	})
}
