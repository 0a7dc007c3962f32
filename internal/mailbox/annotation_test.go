package mailbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/store/db"
)

func annotate(t testing.TB, s *Store, account, id int64, pairs ...string) error {
	t.Helper()
	var set []Annotation
	for i := 0; i < len(pairs); i += 2 {
		a := Annotation{Entry: pairs[i], Value: []byte(pairs[i+1])}
		if pairs[i+1] == "NIL" {
			a.Value = nil
		}
		set = append(set, a)
	}
	return s.SetAnnotations(t.Context(), account, id, set)
}

func annotations(t testing.TB, s *Store, account, id int64) string {
	t.Helper()
	all, err := s.Annotations(t.Context(), account, id)
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, a := range all {
		if a.Value == nil {
			t.Errorf("%s is there with a nil value", a.Entry)
		}
		out += fmt.Sprintf("%s=%s ", a.Entry, a.Value)
	}
	return out
}

func testAnnotations(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	b := neighbour(t, s, a)
	mine, err := s.Create(t.Context(), a, "mine", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		annotate(t, s, a, mine.ID, "/private/comment", "a's", "/shared/comment", "all"),
		annotate(t, s, b, mine.ID, "/private/comment", "b's", "/shared/color", "red\x00"),
		annotate(t, s, a, 0, "/private/empty", ""),
		annotate(t, s, a, mine.ID, "/private/comment", "A's", "/private/gone", "NIL"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const shared = "/shared/color=red\x00 /shared/comment=all "
	check := func(when string, of, id int64, want string) {
		t.Helper()
		if got := annotations(t, s, of, id); got != want {
			t.Errorf("%s: account %d, folder %d: %q, want %q", when, of, id, got, want)
		}
	}
	check("at first", a, mine.ID, "/private/comment=A's "+shared)
	check("at first", b, mine.ID, "/private/comment=b's "+shared)
	check("at first", a, 0, "/private/empty= ")
	check("at first", b, 0, "")
	if err := s.Rename(t.Context(), a, "mine", "other"); err != nil {
		t.Fatal(err)
	}
	check("renamed", a, mine.ID, "/private/comment=A's "+shared)
	if err := s.DB.Write(t.Context(), func(tx *db.Tx) error { return s.DeleteAll(tx, b) }); err != nil {
		t.Fatal(err)
	}
	check("without the other", b, mine.ID, shared)
	if err := s.Delete(t.Context(), a, "other"); err != nil {
		t.Fatal(err)
	}
	check("deleted", a, mine.ID, "")
	if err := annotate(t, s, a, mine.ID, "/private/x", "x"); !errors.Is(err, ErrNoFolder) {
		t.Errorf("of no folder: %v", err)
	}
}

func testAnnotationBounds(t *testing.T, s *Store) {
	a := addAccount(t, s, "a", 0)
	in := folder(t, s, a, "")
	for _, entry := range []string{"", "/", "/private", "/private/", "private/x", "/other/x", "/private//x", "/private/x/", "/private/X", "/private/a b", "/private/*",
		"/private/é", "/private/" + strings.Repeat("x", MaxEntry)} {
		if err := annotate(t, s, a, in.ID, entry, "x"); !errors.Is(err, ErrEntry) {
			t.Errorf("%q: %v", entry, err)
		}
	}
	if err := annotate(t, s, a, 0, "/shared/x", "x"); !errors.Is(err, ErrEntry) {
		t.Errorf("shared with the server: %v", err)
	}
	big := strings.Repeat("x", MaxAnnotation)
	if err := annotate(t, s, a, 0, "/private/x", big+"x"); !errors.Is(err, ErrAnnotationSize) {
		t.Errorf("large: %v", err)
	}
	var last error
	n := 0
	for ; last == nil && n < 100; n++ {
		last = annotate(t, s, a, in.ID, fmt.Sprint("/shared/", n), big)
	}
	if !errors.Is(last, ErrAnnotations) || n != maxAnnotated/MaxAnnotation {
		t.Errorf("%d large ones: %v", n, last)
	}
	// What does not fit leaves nothing; what makes room is taken.
	if err := annotate(t, s, a, in.ID, "/shared/0", "small", "/private/y", "y", "/shared/1", "NIL"); err != nil {
		t.Error(err)
	}
	if all := annotations(t, s, a, in.ID); !strings.HasPrefix(all, "/private/y=y /shared/0=small /shared/10=") {
		t.Errorf("%.100q", all)
	}
	var many []string
	for i := range maxAnnotations + 1 {
		many = append(many, fmt.Sprint("/private/", i), "")
	}
	if err := annotate(t, s, a, 0, many...); !errors.Is(err, ErrAnnotations) {
		t.Errorf("many: %v", err)
	}
	if got := annotations(t, s, a, 0); got != "" {
		t.Errorf("after a refusal: %.100q", got)
	}
}
