package mailbox

import (
	"errors"
	"io"
	"slices"
	"testing"

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
	_, err := do(m.t.Context(), m.id(from), m.id(to), []Range{r}, Shed{})
	m.must("transfer", err, nil)
	for _, x := range m.folders[from].take(r, false, move) {
		m.folders[to].add(x)
	}
}

func (m *model) appendAll(outer testing.TB) {
	name := m.existing("folder")
	numbers := rapid.SliceOfN(rapid.IntRange(0, 20), 0, 3).Draw(m.t, "bodies")
	f := m.folders[name]
	got, err := m.s.AppendAll(m.t.Context(), m.id(name), prefixed(incoming(outer, m.s, numbers...)))
	m.must("append", err, nil)
	for i, n := range numbers {
		if got.UIDs[i] != f.next {
			m.t.Fatalf("appended as %d, want %d", got.UIDs[i], f.next)
		}
		f.add(modelMessage{flags: Seen, body: n})
	}
}

// prefixed gives messages the prefix that compare looks for.
func prefixed(messages []NewMessage) []NewMessage {
	for i := range messages {
		messages[i].Prefix = []byte(testPrefix)
	}
	return messages
}

func (m *model) replace(outer testing.TB) {
	from, to, uid := m.existing("from"), m.existing("to"), m.set().First
	var want error
	if len(m.folders[from].take(Range{uid, uid}, false, true)) == 0 {
		want = ErrNoMessage
	}
	_, _, err := m.s.Replace(m.t.Context(), m.id(from), uid, m.id(to), prefixed(incoming(outer, m.s, 7))[0])
	if m.must("replace", err, want) {
		m.folders[to].add(modelMessage{flags: Seen, body: 7})
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
				switch rapid.IntRange(0, 11).Draw(rt, "step") {
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
				case 10:
					m.appendAll(t)
				case 11:
					m.replace(t)
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
