package search

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
	"github.com/migiwa/migiwa/internal/serve/imapd/order"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/db"
)

// benchMessages is how many messages the benchmarks search in; MIGIWA_MESSAGES
// sets another number.
func benchMessages() int {
	if n, err := strconv.Atoi(os.Getenv("MIGIWA_MESSAGES")); err == nil {
		return n
	}
	return 5000
}

// many is a folder whose outlines are known.
func many(b *testing.B) *archive {
	r := rand.New(rand.NewPCG(5, 6))
	a := newArchive(b, r, 0)
	for i := 0; i < benchMessages(); i += 1000 {
		a.fill(b, r, i, min(1000, benchMessages()-i))
	}
	for _, err := range a.Store.Items(b.Context(), a.Folder, mailbox.All, mailbox.NeedOutline) {
		if err != nil {
			b.Fatal(err)
		}
	}
	return a
}

// fill adds n messages in one transaction.
func (a *archive) fill(b *testing.B, r *rand.Rand, from, n int) {
	bodies := make([]blob.Stored, n)
	flags := make([]mailbox.Flags, n)
	for i := range n {
		k := (from + i) / 10 * 10
		l := newLetter(r, 0)
		flags[i] = l.flags
		w, err := a.Store.Bodies.Create(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(w, "Message-ID: <%d.abcdef@mail.example.test>\r\nReferences: <%d.abcdef@mail.example.test>\r\n", from+i, k)
		io.WriteString(w, l.message(r)+someWords(r, 300))
		if bodies[i], err = w.Commit(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	err := a.Store.DB.Write(b.Context(), func(tx *db.Tx) error {
		for i, bd := range bodies {
			id, err := a.Store.Bodies.Add(tx, bd, 1)
			if err != nil {
				return err
			}
			uid, err := a.Store.Deliver(tx, 1, "INBOX", mailbox.NewMessage{Body: id, BodySize: bd.Size, Counted: true, Received: time.Now(), Flags: flags[i]})
			if err != nil {
				return err
			}
			a.UIDs = append(a.UIDs, uid)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkSearch(b *testing.B) {
	a := many(b)
	index := &fulltext.Index{DB: a.Store.DB, Mailboxes: a.Store}
	if _, err := index.Find(b.Context(), a.Folder, "nowhere"); err != nil {
		b.Fatal(err)
	}
	for _, s := range []struct {
		text  string
		index *fulltext.Index
	}{
		{"ALL", nil}, {"UNSEEN", nil}, {"SUBJECT 会議室", nil}, {"FROM person3@", nil}, {"HEADER X-None a", nil}, {"BODY nowhere", nil}, {"BODY nowhere", index},
		{"BODY 会議室", index}, {"UNSEEN SINCE 1-Jan-2100 BODY nowhere", nil},
	} {
		b.Run(fmt.Sprintf("%s index=%v", s.text, s.index != nil), func(b *testing.B) {
			a.measure(b, s.text, WantNumber, s.index, func(Found) error { return nil })
		})
	}
}

// measure searches again and again.
func (a *archive) measure(b *testing.B, text string, want Want, index *fulltext.Index, found func(Found) error) {
	box := a.Mailbox
	box.Index = index
	for b.Loop() {
		if err := parse(b, text).Run(b.Context(), box, want, found); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSort(b *testing.B) {
	a := many(b)
	for name, k := range map[string]order.Key{"arrival": order.Arrival, "date": order.Date, "subject": order.Subject, "from": order.From} {
		criteria := []order.Criterion{{Key: k}}
		want := WantMessage
		if order.NeedsOutline(criteria) {
			want = WantOutline
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s := order.NewSorter(criteria)
				err := parse(b, "ALL").Run(b.Context(), a.Mailbox, want, func(f Found) error {
					s.Add(order.Message{Number: f.Number, Arrival: f.Received, Size: f.Size, Outline: f.Outline})
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
				s.Numbers()
			}
		})
	}
	b.Run("thread", func(b *testing.B) {
		for b.Loop() {
			t := order.NewThreader(true)
			err := parse(b, "ALL").Run(b.Context(), a.Mailbox, WantOutline, func(f Found) error {
				t.Add(order.Message{Number: f.Number, Arrival: f.Received, Size: f.Size, Outline: f.Outline})
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			t.Threads().Append(nil)
		}
	})
}
