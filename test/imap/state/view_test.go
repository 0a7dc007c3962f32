package state

import (
	"testing"

	"github.com/migiwa/migiwa/test/imap/client"
)

// TestView feeds a view what a wrong server might say.
func TestView(t *testing.T) {
	begin := []string{"3 EXISTS", "1 FETCH (UID 5 FLAGS (\\Seen) MODSEQ (7))", "3 FETCH (UID 9)"}
	for _, c := range []struct {
		says     string
		vanished bool
		bad      bool
	}{
		{"4 EXISTS", false, false},
		{"2 EXISTS", false, true},
		{"4 EXPUNGE", false, true},
		{"3 EXPUNGE", false, false},
		{"3 EXPUNGE", true, true},
		{"4 FETCH (FLAGS ())", false, true},
		{"1 FETCH (UID 6)", false, true},
		{"2 FETCH (UID 5)", false, true},
		{"2 FETCH (UID 10)", false, true},
		{"2 FETCH (UID 7)", false, false},
		{"2 FETCH (FLAGS ())", true, true}, // without a UID
		{"1 FETCH (MODSEQ (6))", false, true},
		{"1 FETCH (MODSEQ (8))", false, false},
		{"1 FETCH (FLAGS (\\Seen \\seen))", false, true},
		{"VANISHED 5:6", true, false}, // 6 can be message 2
		{"VANISHED 10", true, true},
		{"VANISHED 5", false, true},
		{"VANISHED (EARLIER) 1:4", true, false},
	} {
		v := view{expunges: true}
		for _, s := range append(begin, c.says) {
			r, err := client.ParseResponse([]byte("* " + s))
			if err != nil {
				t.Fatal(err)
			}
			if s == c.says {
				v.vanished = c.vanished
			}
			if err = v.apply(r); (err != nil) != (c.bad && s == c.says) {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
	v := view{messages: make([]message, 1)} // during FETCH
	if r, _ := client.ParseResponse([]byte("* 1 EXPUNGE")); v.apply(r) == nil {
		t.Error("EXPUNGE is taken where it is forbidden")
	}
}

func TestLedger(t *testing.T) {
	l := newLedger()
	p := place{"a", 1, 5}
	if err := l.is(p, "x", true); err != nil {
		t.Fatal(err)
	}
	if l.is(p, "y", false) == nil {
		t.Error("a UID may have other content")
	}
	if l.lost("a", map[uint32]bool{}) == nil || l.lost("a", map[uint32]bool{5: true}) != nil {
		t.Error("a lost message")
	}
	if l.doom("a", 1, 5); l.lost("a", map[uint32]bool{}) != nil {
		t.Error("a message that was to be deleted")
	}
}
