package imapd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Bounds of what looking through all mailboxes may take of the machine's time,
// however often somebody changes a name for the client to hear of. News of
// messages do not wait for it.
const (
	surveyShare = 50              // the pause is that many times as long as the look took
	surveyPause = 5 * time.Second // at most
)

// hasSelected tells whether that is the selected mailbox.
func (c *conn) hasSelected(id int64) bool { return c.sel != nil && c.sel.folder.ID == id }

// look tells what has changed of mailboxes that are not selected. When that is
// too much, the session hears so and nothing more.
func (w *watching) look(ctx context.Context, c *conn) error {
	folders, names, lost := w.noticed()
	if w.any == 0 {
		return nil
	}
	err := w.lookAt(ctx, c, folders, names, lost)
	switch {
	case errors.Is(err, errOverflow):
		c.line("* OK [" + errOverflow.code + "] " + errOverflow.text)
		c.notifyAs(&watching{})
		return nil
	case err != nil:
		w.postpone(nil, false, true)
	}
	return err
}

func (w *watching) lookAt(ctx context.Context, c *conn, folders []int64, names, lost bool) error {
	if (names || lost) && w.any&serverMetadataChange != 0 {
		entries, err := w.note(ctx, c, 0, annotated)
		if err != nil {
			return err
		}
		c.tellEntries("", entries)
	}
	var left []int64
	for _, id := range folders {
		simple, err := w.single(ctx, c, id)
		if err != nil {
			return err
		}
		if !simple {
			left = append(left, id)
		}
	}
	if names = names || len(left) > 0; !names && !lost {
		return nil
	}
	if wait := time.Until(w.rested); wait > 0 {
		w.postpone(left, names, lost)
		if !w.waiting {
			w.waiting = true
			time.AfterFunc(wait, c.stir)
		}
		return nil
	}
	began := time.Now()
	err := w.survey(ctx, c, func(id int64) bool { return lost || slices.Contains(left, id) })
	w.rested, w.waiting = time.Now().Add(min(surveyShare*time.Since(began), surveyPause)), false
	return err
}

// single looks at one folder. It gives false when not only its messages or
// annotations have changed.
func (w *watching) single(ctx context.Context, c *conn, id int64) (bool, error) {
	k, there := w.known[id]
	if there && c.hasSelected(id) && !k.shared && w.selected != 0 { // it has just been looked at
		f := c.sel.folder
		return f.Name == k.inner, w.tell(ctx, c, k, f, mailbox.AllRights, f.Name == k.inner)
	}
	f, err := c.srv.Mailboxes.Status(ctx, id)
	if errors.Is(err, mailbox.ErrNoFolder) {
		return !there, nil
	}
	if err != nil {
		return false, err
	}
	rights := mailbox.Rights(0)
	if f.Account == c.account || w.shared {
		if rights, err = c.srv.Mailboxes.RightsOf(ctx, f, c.account); err != nil {
			return false, err
		}
	}
	visible := rights&mailbox.Lookup != 0
	if !there {
		return !visible, nil
	}
	if !visible || f.Name != k.inner || k.readable != (rights&mailbox.ReadRight != 0) {
		return false, nil
	}
	return true, w.tell(ctx, c, k, f, rights, true)
}

// tell tells what is new in a mailbox that the client knows as k, and with
// noted of its annotations.
func (w *watching) tell(ctx context.Context, c *conn, k known, f mailbox.Folder, rights mailbox.Rights, noted bool) error {
	want := w.wantsOf(k)
	moved := k.next != f.UIDNext || k.messages != f.Messages || k.validity != f.UIDValidity
	news := want&messageEvents != 0 && (moved || want&flagChange != 0 && k.modseq != f.ModSeq)
	k.modseq, k.messages, k.validity, k.next = f.ModSeq, f.Messages, f.UIDValidity, f.UIDNext
	w.known[f.ID] = k
	if news && k.readable && !c.hasSelected(f.ID) {
		if err := c.tellStatus(ctx, k.name, f, c.notifiedItems(want)); err != nil {
			return err
		}
	}
	if !noted || want&mailboxMetadataChange == 0 {
		return nil
	}
	entries, err := w.note(ctx, c, f.ID, rights)
	if err != nil {
		return err
	}
	return c.tellEntries(k.name, entries)
}

// notifiedItems gives what STATUS tells of a mailbox whose messages are watched
// (RFC 5465 sections 3.1, 5.1, 5.2 and 5.3), and how many are unseen, which
// changes with flags.
func (c *conn) notifiedItems(want events) []string {
	items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
	if want&flagChange != 0 {
		items = append(items, "UNSEEN")
	}
	if want&flagChange != 0 || c.enabled.condstore {
		items = append(items, "HIGHESTMODSEQ")
	}
	return items
}

// tellEntries writes METADATA without values (RFC 5464 section 4.4.2).
func (c *conn) tellEntries(name string, entries []string) error {
	if len(entries) == 0 {
		return nil
	}
	return c.respond(func(e *wire.Encoder) error {
		e.Raw("* METADATA ")
		e.Mailbox(name)
		for _, entry := range entries {
			e.Raw(" ")
			e.Astring(entry)
		}
		return nil
	})
}

// tellNotified writes LIST of a name with the name it had, "" for none, and
// more attributes.
func (c *conn) tellNotified(e *entry, old string, more ...string) error {
	return c.respond(func(w *wire.Encoder) error {
		w.Raw("* LIST ")
		w.List(append(more, (&listing{extended: true, tellSubscribed: true}).attributes(e, true)...))
		w.Raw(` "/" `)
		w.Mailbox(e.name)
		if old != "" {
			w.Raw(` ("OLDNAME" (`)
			w.Mailbox(old)
			w.Raw("))")
		}
		return nil
	})
}

// survey reads all mailboxes, and tells what has become of their names (RFC
// 5465 sections 5.4, 5.5 and 5.9), then what is new in them. noted says of which
// the annotations may have changed.
func (w *watching) survey(ctx context.Context, c *conn, noted func(id int64) bool) error {
	was, had := w.known, w.subscribed
	all, err := w.read(ctx, c)
	if err != nil {
		if w.known, w.subscribed = was, had; !errors.Is(err, errOverflow) {
			return err
		}
		return errOverflow
	}
	s := &surveyed{watching: w, c: c, was: was, had: had, all: all, names: map[string]int64{}, taken: map[string]bool{}}
	for id, k := range was {
		s.names[k.name] = id
	}
	if err := s.tellLost(ctx); err != nil {
		return err
	}
	entries := all.sorted()
	for _, moved := range []bool{true, false} { // who leaves a name before who takes it
		for _, e := range entries {
			if moved == s.moved(e) {
				if err := s.tellName(e); err != nil {
					return err
				}
			}
		}
	}
	for _, e := range entries {
		if _, there := w.known[e.folder.ID]; !there {
			continue
		}
		k, there := s.before(e)
		if err := w.tell(ctx, c, k, e.folder, e.rights, !there || noted(e.folder.ID)); err != nil {
			return err
		}
	}
	return nil
}

// surveyed is what was known before and what is.
type surveyed struct {
	*watching
	c     *conn
	was   map[int64]known
	names map[string]int64 // of was
	had   map[string]bool
	all   catalogue
	taken map[string]bool // names that mailboxes were told to have
}

// moved tells whether a mailbox has another name, which none had before.
func (s *surveyed) moved(e *entry) bool {
	k, there := s.was[e.folder.ID]
	return there && k.name != e.name && s.names[e.name] == 0
}

// before gives what was known of a mailbox, by the name it has now. Where a
// client would take it for another one, as it has that one's name or its own
// went to another, what was known is wrong.
func (s *surveyed) before(e *entry) (k known, there bool) {
	k, there = s.was[e.folder.ID]
	if !there {
		k = known{name: e.name, modseq: 1, next: 1, validity: e.folder.UIDValidity} // as it was made
	}
	next, taken := s.all[k.name]
	if s.names[e.name] != e.folder.ID && s.names[e.name] != 0 || taken && next.folder.ID != 0 && next.folder.ID != e.folder.ID {
		k.validity = 0
	}
	now := knownOf(e)
	now.modseq, now.messages, now.validity, now.next = k.modseq, k.messages, k.validity, k.next
	return now, there
}

// tellLost tells of names that lead nowhere now.
func (s *surveyed) tellLost(ctx context.Context) error {
	lost := map[string]*entry{}
	var hidden []string
	for id, k := range s.was {
		if _, there := s.known[id]; there {
			continue
		}
		s.forget(id)
		e := s.all[k.name]
		if e == nil {
			e = &entry{name: k.name}
		}
		want := s.wants(k.name, k.shared, s.had[k.name])
		if e.folder.ID != 0 || want == 0 {
			continue // another mailbox has the name, and is told
		}
		if k.shared {
			if _, err := s.c.srv.Mailboxes.Status(ctx, id); err == nil {
				hidden = append(hidden, k.name)
				lost[k.name] = e
				continue
			}
		}
		if want&mailboxName != 0 {
			lost[k.name] = e
		}
	}
	for name := range s.had {
		if e := s.all[name]; e == nil && s.wants(name, strings.HasPrefix(name, others+"/"), true)&subscriptionChange != 0 {
			lost[name] = &entry{name: name}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(lost)) {
		var more []string
		if slices.Contains(hidden, name) {
			more = []string{`\NoAccess`}
		}
		if err := s.c.tellNotified(lost[name], "", more...); err != nil {
			return err
		}
	}
	return nil
}

// tellName tells of a name if it leads elsewhere than before, if what LIST says
// of it is another thing, or if its subscription has changed.
func (s *surveyed) tellName(e *entry) error {
	if e.shared && !s.shared {
		return nil
	}
	want := s.wants(e.name, e.shared, e.subscribed) | s.wants(e.name, e.shared, s.had[e.name])
	old, told := "", want&subscriptionChange != 0 && e.subscribed != s.had[e.name]
	if e.folder.ID != 0 {
		k, there := s.was[e.folder.ID]
		readable := e.rights&mailbox.ReadRight != 0
		switch {
		case !there:
			told = told || want&mailboxName != 0 || e.shared && want != 0
		case e.name != k.name:
			if (want|s.wants(k.name, k.shared, s.had[k.name]))&mailboxName != 0 {
				told = true
				if !s.taken[k.name] { // else it would seem that the other one moved
					old = k.name
				}
			}
		case readable != k.readable:
			told = told || want != 0
		default:
			told = told || want&mailboxName != 0 && e.children != k.children
		}
		s.taken[e.name] = told
		if told && !readable {
			return s.c.tellNotified(e, old, `\NoAccess`)
		}
	}
	if !told {
		return nil
	}
	return s.c.tellNotified(e, old)
}
