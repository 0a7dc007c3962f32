package search

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// letter is a message as the naive evaluator knows it.
type letter struct {
	uid                 uint32
	subject, from, text string
	sent                time.Time // in its own zone; zero for none
	flags               mailbox.Flags
	keywords            []string
	size                int64
}

// words make subjects and texts; some are parts of others, some differ in
// width or case only.
var words = []string{"alpha", "Alphabet", "beta", "BETA", "résumé", "Straße", "ｆｕｌｌ", "full", "会議", "会議室", "議事録", "ﾃｽﾄ", "テスト",
	"東京都", "京都", "。", "、", "-", "foo.bar", "a", "x1y2", "ひらがな", "カタカナ"}

func (l *letter) message(r *rand.Rand) string {
	var b strings.Builder
	fmt.Fprintf(&b, "From: %s\r\n", l.from)
	if l.subject != "" {
		fmt.Fprintf(&b, "Subject: =?utf-8?B?%s?=\r\n", base64.StdEncoding.EncodeToString([]byte(l.subject)))
	}
	if !l.sent.IsZero() {
		fmt.Fprintf(&b, "Date: %s\r\n", l.sent.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	}
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\n")
	if r.IntN(2) == 0 {
		fmt.Fprintf(&b, "Content-Transfer-Encoding: base64\r\n\r\n%s\r\n", base64.StdEncoding.EncodeToString([]byte(l.text)))
	} else {
		b.WriteString("\r\n" + l.text)
	}
	return b.String()
}

func someWords(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString([]string{" ", "", "\r\n", "  "}[r.IntN(4)])
		}
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

func newLetter(r *rand.Rand, uid uint32) *letter {
	l := &letter{uid: uid, from: fmt.Sprintf("person%d@example.test", r.IntN(9)), text: someWords(r, 1+r.IntN(12))}
	if r.IntN(5) > 0 {
		l.subject = strings.ReplaceAll(someWords(r, 1+r.IntN(3)), "\r\n", " ")
	}
	if r.IntN(5) > 0 {
		l.sent = time.Date(2026, 11, 1+r.IntN(4), r.IntN(24), 0, 0, 0, time.FixedZone("", (r.IntN(25)-12)*3600))
	}
	l.flags = mailbox.Flags(r.IntN(32))
	if r.IntN(3) == 0 {
		l.keywords = []string{"$Work"}
	}
	return l
}

// archive is a folder full of letters.
type archive struct {
	Mailbox
	letters []*letter
}

func newArchive(t testing.TB, r *rand.Rand, n int) *archive {
	t.Helper()
	d := dbtest.SQLite(t)
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	store := &mailbox.Store{DB: d, Bodies: &body.Store{DB: d, Blobs: blobs}}
	err = d.Write(t.Context(), func(tx *db.Tx) error {
		domain, err := tx.Insert(`INSERT INTO domain (name, created) VALUES ('example.test', 1) RETURNING id`)
		if err == nil {
			_, err = tx.Insert(`INSERT INTO account (domain, addresskey, address, created, changed) VALUES (?, 'a@example.test', '', 1, 1) RETURNING id`, domain)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := store.Folder(t.Context(), 1, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{Mailbox: Mailbox{Store: store, Folder: f.ID, EmailID: func(m *mailbox.Message) string { return fmt.Sprint(m.EmailID) }}}
	for i := range n {
		l := newLetter(r, uint32(i+1))
		a.add(t, l, l.message(r))
	}
	return a
}

// add delivers a letter.
func (a *archive) add(t testing.TB, l *letter, text string) {
	t.Helper()
	w, err := a.Store.Bodies.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	io.WriteString(w, text)
	b, err := w.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = a.Store.DB.Write(t.Context(), func(tx *db.Tx) error {
		id, err := a.Store.Bodies.Add(tx, b, 1)
		if err == nil {
			l.uid, err = a.Store.Deliver(tx, 1, "INBOX", mailbox.NewMessage{Body: id, BodySize: b.Size, Counted: true, Received: time.Now(), Flags: l.flags, Keywords: l.keywords})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	l.size = b.Size
	a.letters = append(a.letters, l)
	a.UIDs = append(a.UIDs, l.uid)
}

// expunge takes a letter out.
func (a *archive) expunge(t testing.TB, i int) {
	t.Helper()
	if _, _, err := a.Store.Expunge(t.Context(), a.Folder, mailbox.Ranges([]uint32{a.UIDs[i]}), false); err != nil {
		t.Fatal(err)
	}
	a.UIDs = slices.Delete(slices.Clone(a.UIDs), i, i+1)
	a.letters = slices.Delete(a.letters, i, i+1)
}

// naive is a key as text and as a function that looks at everything.
type naive struct {
	text string
	fits func(number int, l *letter) bool
}

func textHas(text, part string) bool {
	return strings.Contains(fulltext.Normal(text), fulltext.Normal(part))
}

func quote(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }

// someKey makes a random key.
func (a *archive) someKey(r *rand.Rand, depth int) naive {
	if depth > 0 {
		switch r.IntN(4) {
		case 0:
			k := a.someKey(r, depth-1)
			return naive{"NOT " + k.text, func(n int, l *letter) bool { return !k.fits(n, l) }}
		case 1:
			k, m := a.someKey(r, depth-1), a.someKey(r, depth-1)
			return naive{"OR " + k.text + " " + m.text, func(n int, l *letter) bool { return k.fits(n, l) || m.fits(n, l) }}
		case 2:
			k, m := a.someKey(r, depth-1), a.someKey(r, depth-1)
			return naive{"(" + k.text + " " + m.text + ")", func(n int, l *letter) bool { return k.fits(n, l) && m.fits(n, l) }}
		}
	}
	return a.plainKey(r)
}

func (a *archive) plainKey(r *rand.Rand) naive {
	word := someWords(r, 1+r.IntN(2))
	if runes := []rune(word); r.IntN(3) == 0 { // a part of it
		from := r.IntN(len(runes))
		word = string(runes[from : from+1+r.IntN(len(runes)-from)])
	}
	day := 1 + r.IntN(4)
	first, last := 1+r.IntN(len(a.UIDs)), 1+r.IntN(len(a.UIDs))
	size := int64(150 + r.IntN(150))
	all := []naive{
		{"SEEN", func(_ int, l *letter) bool { return l.flags&mailbox.Seen != 0 }},
		{"UNFLAGGED", func(_ int, l *letter) bool { return l.flags&mailbox.Flagged == 0 }},
		{"KEYWORD $work", func(_ int, l *letter) bool { return len(l.keywords) > 0 }},
		{fmt.Sprintf("%d:%d", first, last), func(n int, _ *letter) bool { return min(first, last) <= n && n <= max(first, last) }},
		{fmt.Sprintf("UID %d", a.UIDs[first-1]), func(n int, _ *letter) bool { return n == first }},
		{fmt.Sprintf("SENTON %d-Nov-2026", day), func(_ int, l *letter) bool { return !l.sent.IsZero() && l.sent.Day() == day }},
		{fmt.Sprintf("SENTBEFORE %d-Nov-2026", day), func(_ int, l *letter) bool { return !l.sent.IsZero() && l.sent.Day() < day }},
		{fmt.Sprintf("LARGER %d", size), func(_ int, l *letter) bool { return l.size > size }},
		{"FROM PERSON1@", func(_ int, l *letter) bool { return l.from == "person1@example.test" }},
		{`HEADER Subject ""`, func(_ int, l *letter) bool { return l.subject != "" }},
		{"SUBJECT " + quote(word), func(_ int, l *letter) bool { return textHas(l.subject, word) }},
		{"HEADER X-None a", func(int, *letter) bool { return false }},
		{"BODY " + quote(word), func(_ int, l *letter) bool { return textHas(l.body(), word) }},
		{"BODY " + quote(word), func(_ int, l *letter) bool { return textHas(l.body(), word) }},
		{"TEXT " + quote(word), func(_ int, l *letter) bool { return textHas(l.body(), word) || textHas(l.header(), word) }},
	}
	return all[r.IntN(len(all))]
}

func (l *letter) body() string { return l.text }

// header is all lines of the header that may hold words; the others are chosen
// so that they hold none.
func (l *letter) header() string {
	lines := "From: " + l.from + "\n"
	if l.subject != "" {
		lines += "Subject: " + l.subject + "\n"
	}
	if !l.sent.IsZero() {
		lines += "Date: " + l.sent.Format("Mon, 02 Jan 2006 15:04:05 -0700") + "\n"
	}
	return lines + "Content-Type: text/plain; charset=utf-8\n"
}

func (a *archive) run(t testing.TB, text string, want Want, index *fulltext.Index) (uids []uint32) {
	t.Helper()
	box := a.Mailbox
	box.Index = index
	err := parse(t, text).Run(t.Context(), box, want, func(f Found) error {
		if a.UIDs[f.Number-1] != f.UID || want == WantOutline && f.Outline == nil || want >= WantMessage && f.Size == 0 {
			t.Errorf("%s: found %d, %d, %v", text, f.Number, f.UID, f.Outline)
		}
		uids = append(uids, f.UID)
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if want != WantOutline {
		slices.Sort(uids)
	}
	return uids
}

// TestSearchFindsWhatALookAtEverythingFinds compares random searches with a
// naive evaluator, with and without index, while letters come and go.
func TestSearchFindsWhatALookAtEverythingFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(2026, 11))
	a := newArchive(t, r, 90)
	index := &fulltext.Index{DB: a.Store.DB, Mailboxes: a.Store}
	some := 0
	for i := range 200 {
		k := a.someKey(r, r.IntN(4))
		var want []uint32
		for n, l := range a.letters {
			if k.fits(n+1, l) {
				want = append(want, l.uid)
			}
		}
		if len(want) > 0 && len(want) < len(a.letters) {
			some++
		}
		w := Want(r.IntN(3))
		if got := a.run(t, k.text, w, nil); !slices.Equal(got, want) {
			t.Fatalf("%s: %v, want %v", k.text, got, want)
		}
		if got := a.run(t, k.text, w, index); !slices.Equal(got, want) {
			t.Fatalf("%s with index: %v, want %v", k.text, got, want)
		}
		if i%20 == 19 {
			a.expunge(t, r.IntN(len(a.UIDs)))
			l := newLetter(r, 0)
			a.add(t, l, l.message(r))
		}
	}
	if some < 100 {
		t.Errorf("only %d searches found some, but not all", some)
	}
}

// TestTextAcrossBlocks finds a text wherever it stands in a long body.
func TestTextAcrossBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	a := newArchive(t, r, 0)
	long := []string{}
	for _, fill := range []string{"x", "漢", "ｱ", "e\u0301", "y \r\n"} {
		for _, size := range []int{32<<10 - 5, 32 << 10, 64<<10 - 3} {
			long = append(long, strings.Repeat(fill, size/len(fill))+" Straße の\r\n 会議室 end "+strings.Repeat(fill, 5000))
		}
	}
	for _, text := range long {
		l := &letter{text: text}
		a.add(t, l, "Content-Type: text/plain; charset=utf-8\r\n\r\n"+text)
	}
	for _, text := range []string{"strasse の会議室 END", "straße", "の会議", "室 end"} {
		if got := a.run(t, "BODY "+quote(text), WantNumber, nil); len(got) != len(long) {
			t.Errorf("%s: %v", text, got)
		}
	}
	if got := a.run(t, "BODY nowhere", WantNumber, nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
