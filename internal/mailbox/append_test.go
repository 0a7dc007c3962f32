package mailbox

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

// incoming are messages with the bodies of those numbers.
func incoming(t testing.TB, s *Store, numbers ...int) (out []NewMessage) {
	for _, n := range numbers {
		out = append(out, NewMessage{Stored: keep(t, s, testBody(n)), Flags: Seen, Keywords: []string{"k"}})
	}
	return out
}

func text(t testing.TB, s *Store, id int64, uid uint32) string {
	t.Helper()
	c, err := s.Open(t.Context(), id, uid)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func testAppendAll(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", int64(len(testBody(1))+len(testBody(2))+len(testBody(3))))
	in := folder(t, s, a, "")
	got, err := s.AppendAll(t.Context(), in.ID, incoming(t, s, 2, 1))
	if err != nil || !slices.Equal(got.UIDs, []uint32{1, 2}) || got.UIDValidity != in.UIDValidity {
		t.Fatalf("%+v, %v", got, err)
	}
	if now := folder(t, s, a, ""); now.ModSeq != got.ModSeq || now.Unseen != 0 || now.Messages != 2 {
		t.Errorf("%+v, want mod-sequence %d", now, got.ModSeq)
	}
	if text := text(t, s, in.ID, 1); text != testBody(2) {
		t.Errorf("first text %q", text)
	}
	// The first of these has room, but they come together or not at all.
	_, err = s.AppendAll(t.Context(), in.ID, incoming(t, s, 1, 3))
	if r := new(mail.Reply); !errors.As(err, &r) || r.Enhanced != "4.2.2" {
		t.Errorf("over quota: %v", err)
	}
	if now := folder(t, s, a, ""); now.Messages != 2 || now.UIDNext != 3 {
		t.Errorf("after a refusal: %+v", now)
	}
	if _, err := s.AppendAll(t.Context(), 1<<40, incoming(t, s, 1)); !errors.Is(err, ErrNoFolder) {
		t.Errorf("no folder: %v", err)
	}
}

func testReplace(t *testing.T, s *Store) {
	// As full as it can be: the new message takes the old one's room.
	a := addAccount(t, s, "a", int64(len(testPrefix)+len(testBody(9))))
	mustDeliver(t, s, a, "", testBody(9), 0)
	in, junk := folder(t, s, a, ""), folder(t, s, a, "Junk")
	got, modseq, err := s.Replace(t.Context(), in.ID, 1, in.ID, incoming(t, s, 8)[0])
	if err != nil || !slices.Equal(got.UIDs, []uint32{2}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if now := folder(t, s, a, ""); now.ModSeq != modseq || now.ModSeq != got.ModSeq || now.Messages != 1 {
		t.Errorf("%+v, want mod-sequence %d, %d", now, modseq, got.ModSeq)
	}
	if gone, _, _ := s.Expunged(t.Context(), in.ID, 0); !slices.Equal(gone, []uint32{1}) {
		t.Errorf("expunged %v", gone)
	}
	if _, _, err := s.Replace(t.Context(), in.ID, 1, in.ID, incoming(t, s, 1)[0]); !errors.Is(err, ErrNoMessage) {
		t.Errorf("a message that is gone: %v", err)
	}
	_, _, err = s.Replace(t.Context(), in.ID, 2, in.ID, incoming(t, s, 49)[0])
	if r := new(mail.Reply); !errors.As(err, &r) {
		t.Errorf("over quota: %v", err)
	}
	if text := text(t, s, in.ID, 2); text != testBody(8) {
		t.Errorf("the old message after a refusal: %q", text)
	}
	got, modseq, err = s.Replace(t.Context(), in.ID, 2, junk.ID, incoming(t, s, 7)[0])
	if err != nil || got.UIDValidity != junk.UIDValidity || text(t, s, junk.ID, 1) != testBody(7) {
		t.Fatalf("into another folder: %+v, %v", got, err)
	}
	if now := folder(t, s, a, ""); now.ModSeq != modseq || now.Messages != 0 {
		t.Errorf("%+v, want mod-sequence %d", now, modseq)
	}
}
