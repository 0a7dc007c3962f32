package digest

import (
	"reflect"
	"testing"
	"time"
)

// What is written down comes back, in pieces that are no larger than asked.
func TestNotices(t *testing.T) {
	at := time.Unix(1_800_000_000, 7)
	var many Change
	for i := range 700 {
		many.Inboxes = append(many.Inboxes, Inbox{Print{Near, [16]byte{byte(i), byte(i >> 8)}}, int64(i), [4]uint64{1, 2, 3, uint64(i)}})
	}
	many.At = at
	full := Change{At: at, Reporter: 1, Domain: 1 << 63, Spam: true}
	for i := range maxPrints {
		full.Prints = append(full.Prints, Print{Text, [16]byte{byte(i)}})
	}
	in := []Change{full, {At: at, Reporter: 2}, many, full}
	var out []Change
	pieces := Notices(in, 1200)
	for _, p := range pieces {
		if len(p) > 1200 {
			t.Errorf("a piece of %d octets", len(p))
		}
		changes, err := ParseNotice(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, changes...)
	}
	got := []Change{out[0], out[1], {At: at}, out[len(out)-1]}
	for _, c := range out[2 : len(out)-1] {
		got[2].Inboxes = append(got[2].Inboxes, c.Inboxes...)
	}
	if !reflect.DeepEqual(got, in) {
		t.Errorf("%d changes in %d pieces are not what was written", len(out), len(pieces))
	}
	between := changeSize + maxPrints*printSize // the first piece has two changes
	for n := range pieces[0] {
		if changes, err := ParseNotice(pieces[0][:n]); err == nil && n > 0 && n != between {
			t.Errorf("%d octets of %d are read as %v", n, len(pieces[0]), changes)
		}
	}
}

func FuzzParseNotice(f *testing.F) {
	f.Add(Notices([]Change{{At: time.Unix(1_800_000_000, 0), Reporter: 1, Prints: []Print{{Kind: Text}}}}, 4096)[0])
	f.Fuzz(func(t *testing.T, p []byte) {
		changes, err := ParseNotice(p)
		if err == nil {
			_ = new(Memory).Merge(changes)
		}
	})
}
