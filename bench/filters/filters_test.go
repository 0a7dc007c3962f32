package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/filter/learned"
)

func TestRecall(t *testing.T) {
	var results []scored
	for i := range 1000 {
		results = append(results, scored{&letter{}, float64(i) / 1000})
	}
	for _, s := range []float64{0.5, 0.999, 0.9985, 1, 1} {
		results = append(results, scored{&letter{spam: true}, s})
	}
	// One wanted message may be above, so the threshold is the second highest;
	// what is equal to a wanted message's score is not above it.
	if got := threshold(results, 0.001); got != 0.998 {
		t.Error(got)
	}
	if got := recall(results, 0.001); got != 0.8 {
		t.Error(got)
	}
	if got := recall(results, 0); got != 0.4 {
		t.Error(got)
	}
	if got := threshold(results, 1); !math.IsInf(got, -1) {
		t.Error(got)
	}
}

func TestClean(t *testing.T) {
	raw := "From x@y Mon\nReceived: from a\n\tby b\nSubject: Re: [ILUG] hello\nX-Spam-Status: Yes,\n score=9\nFrom: a@example.org\n" +
		"List-Id: <l>\n\nhello zzzz@spamassassin.taint.org\n___________________\nILUG mailing list\nhttp://lists.example/\n"
	want := "Subject: Re: hello\nFrom: a@example.org\n\nhello reader@example.com\n"
	if got := string(clean([]byte(raw))); got != want {
		t.Errorf("%q", got)
	}
}

func TestCommand(t *testing.T) {
	letters := []*letter{{raw: []byte("a\n\nham\n")}, {raw: []byte("a\n\nbuy\n"), spam: true}}
	dir := filepath.Join(t.TempDir(), "t")
	files, err := put(dir, letters, false)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	scores, _, err := ask(`test -d "$TRAIN/spam"; echo noise; while read f; do echo "$f class $(grep -c buy "$f")"; done`, dir, names)
	if err != nil || len(scores) != 2 {
		t.Fatal(scores, err)
	}
	for name, l := range files {
		if want := float64(class(l)); scores[name] != want {
			t.Errorf("%s: %v", name, scores[name])
		}
	}
}

// Training is the same in every run, keeps names of single senders and dated or
// structural tokens out, and never lets a word of trade speak against a message.
func TestTrain(t *testing.T) {
	var letters []*letter
	for i := range 40 {
		l := &letter{spam: i%2 == 0, sender: string(rune('a' + i%10))}
		l.tokens = []string{"common", "offer", "type:html", "head:mailer=x"}
		if l.spam {
			l.tokens = append(l.tokens, "pills", "discount")
		} else {
			l.tokens = append(l.tokens, "kernel")
		}
		if i < 8 {
			l.tokens, l.sender = append(l.tokens, "mallory"), "a"
		}
		l.hashes = learned.Hashes(l.tokens)
		letters = append(letters, l)
	}
	a, err := train(letters, defaults).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	site := train(letters, defaults)
	if b, _ := site.MarshalBinary(); string(a) != string(b) {
		t.Error("not the same twice")
	}
	if site.Len() != 5 { // common, offer, pills, discount, kernel
		t.Errorf("%d tokens", site.Len())
	}
	columns := map[string]bool{}
	for name := range choose(letters, defaults) {
		columns[name] = true
	}
	for _, name := range []string{"mallory", "type:html", "head:mailer=x"} {
		if columns[name] {
			t.Errorf("%q is in the model", name)
		}
	}
	within := bounds([]string{"discount", "pills", "common"}, []float64{0.5, 0.5, 0.5}, []float64{0, 0, 0.4}, defaults)
	if within[0].high != 0 || within[1].high == 0 || within[2] != (interval{}) {
		t.Errorf("%v", within)
	}
}

func TestVocabularyHasNoAccidents(t *testing.T) {
	for _, list := range []map[string]bool{trade, dated} {
		for w := range list {
			if w != strings.ToLower(w) || strings.ContainsAny(w, ":,.") {
				t.Errorf("%q", w)
			}
		}
	}
}
