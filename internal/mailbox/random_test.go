package mailbox

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
	"pgregory.net/rapid"
)

// model is what a mailbox must look like: the plainest mailbox there is.
type model struct {
	t       *rapid.T
	s       *Store
	account int64
	folders map[string]*modelFolder
	seen    map[string]uint32 // newest UIDVALIDITY under each name
}

type modelFolder struct {
	next     uint32
	messages []modelMessage
}

type modelMessage struct {
	uid   uint32
	flags Flags
	body  int
}

func newModel(t *rapid.T, outer testing.TB, s *Store) *model {
	m := &model{t: t, s: s, account: addAccount(outer, s, "model", 0), folders: map[string]*modelFolder{}, seen: map[string]uint32{}}
	for _, n := range names(outer, s, m.account) {
		m.folders[n] = &modelFolder{next: 1}
	}
	return m
}

var modelNames = []string{"INBOX", "Junk", "Trash", "a", "a/b", "a/b/c", "x"}

func (m *model) name(label string) string { return rapid.SampledFrom(modelNames).Draw(m.t, label) }

func (m *model) existing(label string) string {
	var have []string
	for _, n := range modelNames {
		if m.folders[n] != nil {
			have = append(have, n)
		}
	}
	return rapid.SampledFrom(have).Draw(m.t, label)
}

func (m *model) id(name string) int64 {
	f, err := m.s.Folder(m.t.Context(), m.account, name)
	if err != nil {
		m.t.Fatal(err)
	}
	return f.ID
}

func (m *model) set() Range {
	first := rapid.Uint32Range(1, 12).Draw(m.t, "first")
	return Range{first, first + rapid.Uint32Range(0, 4).Draw(m.t, "more")}
}

// must compares an error with what the model says.
func (m *model) must(what string, err, want error) bool {
	if !errors.Is(err, want) || (want == nil && err != nil) {
		m.t.Fatalf("%s: %v, want %v", what, err, want)
	}
	return want == nil
}

func (m *model) deliver(outer testing.TB) {
	name, n := m.name("folder"), rapid.IntRange(0, 20).Draw(m.t, "body")
	flags := Flags(rapid.Uint32Range(0, uint32(allFlags)).Draw(m.t, "flags"))
	f := m.folders[name]
	if f == nil {
		f = m.folders[inbox]
	}
	uid, err := deliver(outer, m.s, m.account, name, testBody(n), flags)
	if m.must("deliver", err, nil); uid != f.next {
		m.t.Fatalf("delivered as %d, want %d", uid, f.next)
	}
	f.add(modelMessage{flags: flags, body: n})
}

func (f *modelFolder) add(x modelMessage) {
	x.uid = f.next
	f.next++
	f.messages = append(f.messages, x)
}

// take gives the messages in r and, when remove is set, takes them out.
func (f *modelFolder) take(r Range, marked, remove bool) (in []modelMessage) {
	keep := []modelMessage{}
	for _, x := range f.messages {
		if x.uid >= r.First && x.uid <= r.Last && (!marked || x.flags&Deleted != 0) {
			in = append(in, x)
		} else {
			keep = append(keep, x)
		}
	}
	if remove {
		f.messages = keep
	}
	return in
}

func (m *model) flag() {
	name, r := m.existing("folder"), m.set()
	c := FlagChange{Op: Op(rapid.IntRange(0, 2).Draw(m.t, "op")), Flags: Flags(rapid.Uint32Range(0, 31).Draw(m.t, "flags")), Unless: -1}
	_, err := m.s.StoreFlags(m.t.Context(), m.id(name), []Range{r}, c)
	m.must("flags", err, nil)
	for i, x := range m.folders[name].messages {
		if x.uid >= r.First && x.uid <= r.Last {
			m.folders[name].messages[i].flags, _ = c.apply(Message{Flags: x.flags})
		}
	}
}

func (m *model) expunge() {
	name, r, marked := m.existing("folder"), m.set(), rapid.Bool().Draw(m.t, "marked")
	got, _, err := m.s.Expunge(m.t.Context(), m.id(name), []Range{r}, marked)
	m.must("expunge", err, nil)
	if want := m.folders[name].take(r, marked, true); len(got) != len(want) {
		m.t.Fatalf("expunged %v, want %v", got, want)
	}
}

func (m *model) transfer(move bool) {
	from, to, r := m.existing("from"), m.existing("to"), m.set()
	do := m.s.Copy
	if move {
		do = m.s.Move
	}
	_, err := do(m.t.Context(), m.id(from), m.id(to), []Range{r})
	m.must("transfer", err, nil)
	for _, x := range m.folders[from].take(r, false, move) {
		m.folders[to].add(x)
	}
}

func (m *model) create() {
	name := m.name("name")
	var want error
	if m.folders[name] != nil {
		want = ErrExists
	}
	_, err := m.s.Create(m.t.Context(), m.account, name, "")
	if m.must("create", err, want) {
		m.folders[name] = &modelFolder{next: 1}
	}
}

func (m *model) delete() {
	name := m.name("name")
	var want error
	switch {
	case name == inbox:
		want = ErrInbox
	case m.folders[name] == nil:
		want = ErrNoFolder
	}
	if m.must("delete", m.s.Delete(m.t.Context(), m.account, name), want) {
		delete(m.folders, name)
		m.seen[name]++ // whoever comes next must be newer
	}
}

func (m *model) rename() {
	from, to := rapid.SampledFrom([]string{"a", "x", "INBOX", "Junk"}).Draw(m.t, "from"), rapid.SampledFrom([]string{"x", "y", "a/b", "Trash"}).Draw(m.t, "to")
	err := m.s.Rename(m.t.Context(), m.account, from, to)
	if err != nil {
		if !errors.Is(err, ErrExists) && !errors.Is(err, ErrNoFolder) && !errors.Is(err, ErrName) {
			m.t.Fatal(err)
		}
		return
	}
	if from == inbox {
		f := &modelFolder{next: 1}
		for _, x := range m.folders[inbox].take(Range{1, 1 << 31}, false, true) {
			f.add(x)
		}
		m.folders[to] = f
		return
	}
	moved := map[string]*modelFolder{}
	for n, f := range m.folders {
		if n == from || len(n) > len(from) && n[:len(from)+1] == from+"/" {
			moved[to+n[len(from):]] = f
			delete(m.folders, n)
		}
	}
	for n, f := range moved {
		m.folders[n] = f
	}
}

// compare looks at everything.
func (m *model) compare() {
	all, err := m.s.Folders(m.t.Context(), m.account)
	m.must("folders", err, nil)
	if len(all) != len(m.folders) {
		m.t.Fatalf("%d folders, want %d", len(all), len(m.folders))
	}
	for _, f := range all {
		want := m.folders[f.Name]
		if want == nil || f.UIDNext != want.next {
			m.t.Fatalf("%+v, want %+v", f, want)
		}
		if f.UIDValidity < m.seen[f.Name] {
			m.t.Fatalf("UIDVALIDITY of %s fell from %d to %d", f.Name, m.seen[f.Name], f.UIDValidity)
		}
		m.seen[f.Name] = max(m.seen[f.Name], f.UIDValidity)
		var got []modelMessage
		for x, err := range m.s.List(m.t.Context(), f.ID, All[0]) {
			m.must("list", err, nil)
			c, err := m.s.Open(m.t.Context(), f.ID, x.UID)
			m.must("open", err, nil)
			text, err := io.ReadAll(c)
			c.Close()
			m.must("read", err, nil)
			i := slices.IndexFunc(want.messages, func(w modelMessage) bool { return w.uid == x.UID })
			if i < 0 || string(text) != testPrefix+testBody(want.messages[i].body) {
				m.t.Fatalf("message %d of %s: %q", x.UID, f.Name, text)
			}
			got = append(got, modelMessage{x.UID, x.Flags, want.messages[i].body})
		}
		if !slices.Equal(got, want.messages) {
			m.t.Fatalf("%s has %v, want %v", f.Name, got, want.messages)
		}
	}
}

func TestAgainstModel(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newStore(t, d)
		rapid.Check(t, func(rt *rapid.T) {
			m := newModel(rt, t, s)
			steps := rapid.IntRange(1, 25).Draw(rt, "steps")
			for i := range steps {
				if i%5 == 4 {
					m.compare()
				}
				switch rapid.IntRange(0, 9).Draw(rt, "step") {
				case 0:
					m.flag()
				case 1:
					m.expunge()
				case 2:
					m.transfer(false)
				case 3:
					m.transfer(true)
				case 4:
					m.create()
				case 5:
					m.delete()
				case 6:
					m.rename()
				default:
					m.deliver(t)
				}
			}
			m.compare()
		})
	})
}

// Everything at once, on few folders; the invariants are checked at the end.
func TestConcurrent(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newStore(t, d)
		one := int64(len(testPrefix) + len(testBody(1)))
		accounts := []int64{addAccount(t, s, "a", 0), addAccount(t, s, "b", 20*one)}
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(1, uint64(w)))
				for range 60 {
					if err := randomStep(t, s, rnd, accounts[rnd.IntN(2)]); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func randomStep(t *testing.T, s *Store, rnd *rand.Rand, account int64) error {
	ctx := t.Context()
	pick := func() Folder {
		f, _ := s.Folder(ctx, account, []string{"INBOX", "Junk", "mine", "mine/too"}[rnd.IntN(4)])
		return f // a zero one is as good
	}
	first := rnd.Uint32N(40) + 1
	set := []Range{{first, first + rnd.Uint32N(10)}}
	var err error
	switch rnd.IntN(10) {
	case 0:
		_, err = s.StoreFlags(ctx, pick().ID, set, FlagChange{Op: Op(rnd.IntN(3)), Flags: Flags(rnd.IntN(32)), Unless: -1})
	case 1:
		_, _, err = s.Expunge(ctx, pick().ID, set, rnd.IntN(2) == 0)
	case 2:
		_, err = s.Copy(ctx, pick().ID, pick().ID, set)
	case 3:
		_, err = s.Move(ctx, pick().ID, pick().ID, set)
	case 4:
		_, err = s.Create(ctx, account, fmt.Sprintf("mine%s", []string{"", "/too"}[rnd.IntN(2)]), "")
	case 5:
		err = s.Delete(ctx, account, "mine")
	case 6:
		err = s.Rename(ctx, account, []string{"mine", "INBOX", "Junk"}[rnd.IntN(3)], []string{"mine", "other", "Junk"}[rnd.IntN(3)])
	default:
		_, err = deliver(t, s, account, []string{"", "Junk", "mine"}[rnd.IntN(3)], testBody(1), Flags(rnd.IntN(2)))
	}
	for _, ok := range []error{ErrNoFolder, ErrExists, ErrInbox, ErrName} {
		if errors.Is(err, ok) {
			return nil
		}
	}
	if err != nil && mail.AsReply(err).Enhanced == "4.2.2" {
		return nil
	}
	return err
}
