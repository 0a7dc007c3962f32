package imapd

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// Bounds of what one NOTIFY watches; what goes beyond is NOTIFICATIONOVERFLOW
// (RFC 5465 section 5.8).
const (
	maxKnown  = 20_000 // mailboxes
	maxNoted  = 10_000 // annotations
	maxOwners = 1000   // accounts that share something
	maxSingly = 50     // mailboxes looked at one by one; more are cheaper to look at all at once
)

// watching is what a session wants to hear of by NOTIFY (RFC 5465), and what it
// knows. The store's notices only say where to look; what has changed is seen
// by comparing what is there with what the client was told. So any number of
// changes takes no more memory than one, and a client that reads slowly is told
// less often.
//
// conn.work guards it, held for writing, but for the fields under mu.
type watching struct {
	groups    []eventGroup // but that of the selected mailbox
	selected  events       // of the selected mailbox
	immediate bool         // its client uses no numbers: SELECTED
	items     *fetching    // told of its new messages; nil: none
	any       events       // of groups
	shared    bool         // a group may mean mailboxes of others

	known      map[int64]known
	subscribed map[string]bool
	notes      map[int64]notes  // annotations by folder, of the server at 0; of what is to be told only
	noted      int              // entries in notes
	ends       map[int64]func() // of the watches of the store, by account
	rested     time.Time        // when all may be looked through again
	waiting    bool             // that has been put off

	mu      sync.Mutex
	changed map[int64]bool // folders that a notice told of
	names   bool           // and so of names, subscriptions, shares or the server
	lost    bool           // changed has not all
}

// known is a mailbox as the client was told of it.
type known struct {
	name               string // as the client writes it
	inner              string // as its owner does
	modseq, messages   int64
	validity, next     uint32
	shared             bool
	readable, children bool
}

func knownOf(e *entry) known {
	f := &e.folder
	return known{name: e.name, inner: f.Name, modseq: f.ModSeq, messages: f.Messages, validity: f.UIDValidity, next: f.UIDNext,
		shared: e.shared, readable: e.rights&mailbox.ReadRight != 0, children: e.children}
}

// notes are the annotations of a mailbox: a hash of each value by its entry.
type notes map[string]uint64

var noteSeed = maphash.MakeSeed()

// wants gives the events of a mailbox that are asked for. All groups that mean
// it count (RFC 5465 section 6).
func (w *watching) wants(name string, shared, subscribed bool) (e events) {
	for i := range w.groups {
		if g := &w.groups[i]; g.events&^e != 0 && g.matches(name, shared, subscribed) {
			e |= g.events
		}
	}
	return e
}

func (w *watching) wantsOf(k known) events { return w.wants(k.name, k.shared, w.subscribed[k.name]) }

// begin starts to watch and tells where the client is (RFC 5465 section 3.1).
func (w *watching) begin(ctx context.Context, c *conn, status bool) error {
	if w.any == 0 {
		return nil
	}
	w.changed, w.ends, w.notes = map[int64]bool{}, map[int64]func(){}, map[int64]notes{}
	w.watch(c, c.account)
	if w.shared {
		w.watch(c, mailbox.Anyone) // what is shared with everybody
	}
	all, err := w.read(ctx, c)
	if err != nil {
		return err
	}
	if w.any&serverMetadataChange != 0 {
		if _, err := w.note(ctx, c, 0, annotated); err != nil {
			return err
		}
	}
	for _, e := range all.sorted() {
		k, there := w.known[e.folder.ID]
		if !there {
			continue
		}
		want := w.wantsOf(k)
		if want&mailboxMetadataChange != 0 {
			if _, err := w.note(ctx, c, e.folder.ID, e.rights); err != nil {
				return err
			}
		}
		switch {
		case want&messageEvents == 0:
		case !k.readable:
			c.tellNotified(e, "", `\NoAccess`)
		case status && !c.hasSelected(e.folder.ID):
			if err := c.tellStatus(ctx, k.name, e.folder, c.notifiedItems(want)); err != nil {
				return err
			}
		}
	}
	return nil
}

// watchOwners watches the accounts that share what is asked for, and no others
// any more. What they changed before that is looked at again.
func (w *watching) watchOwners(c *conn, all catalogue) {
	owners := map[int64]bool{c.account: true, mailbox.Anyone: true}
	for _, e := range all {
		if id := e.folder.Account; e.shared && w.shared && !owners[id] && w.wants(e.name, true, e.subscribed) != 0 {
			owners[id] = true
			if w.ends[id] == nil {
				w.watch(c, id)
				w.notice(mailbox.Change{})
				c.stir()
			}
		}
	}
	for id, end := range w.ends {
		if !owners[id] {
			end()
			delete(w.ends, id)
		}
	}
}

// end ends it.
func (w *watching) end() {
	for _, end := range w.ends {
		end()
	}
}

// watch begins to hear of an account's changes.
func (w *watching) watch(c *conn, account int64) {
	if w.ends[account] == nil {
		w.ends[account] = c.srv.Mailboxes.WatchAccount(account, func(change mailbox.Change) {
			w.notice(change)
			c.stir()
		})
	}
}

// notice is called by the store. It does not block.
func (w *watching) notice(change mailbox.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case change.Folder == 0:
		w.names = true
	case len(w.changed) < maxSingly:
		w.changed[change.Folder] = true
	default:
		w.lost = w.lost || !w.changed[change.Folder]
	}
}

// noticed gives what was noticed since the last time.
func (w *watching) noticed() (folders []int64, names, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.changed {
		folders = append(folders, id)
	}
	slices.Sort(folders)
	names, lost = w.names, w.lost
	w.changed, w.names, w.lost = map[int64]bool{}, false, false
	return folders, names, lost
}

// postpone has what was noticed looked at next time.
func (w *watching) postpone(folders []int64, names, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range folders {
		w.changed[id] = true
	}
	w.names, w.lost = w.names || names, w.lost || lost
}

// read reads all mailboxes and makes them what is known.
func (w *watching) read(ctx context.Context, c *conn) (catalogue, error) {
	all, err := c.catalogue(ctx, true)
	if err != nil {
		return nil, err
	}
	w.known, w.subscribed = make(map[int64]known, len(all)), map[string]bool{}
	for _, e := range all {
		if e.shared && !w.shared {
			continue
		}
		if e.folder.ID != 0 {
			w.known[e.folder.ID] = knownOf(e)
		}
		if e.subscribed {
			w.subscribed[e.name] = true
		}
	}
	w.watchOwners(c, all)
	if len(w.known) > maxKnown || len(w.ends) > maxOwners {
		return nil, errOverflow
	}
	return all, nil
}

// note makes annotations of a folder, or of the server, what is known, and
// gives the entries that were not so, sorted. What one may not see is none.
func (w *watching) note(ctx context.Context, c *conn, id int64, rights mailbox.Rights) (entries []string, err error) {
	if rights&annotated == 0 {
		w.forget(id)
		return nil, nil
	}
	have, err := c.srv.Mailboxes.Annotations(ctx, c.account, id)
	if err != nil {
		return nil, err
	}
	was, now := w.notes[id], notes{}
	for _, a := range have {
		now[a.Entry] = maphash.Bytes(noteSeed, a.Value)
		if had, there := was[a.Entry]; !there || had != now[a.Entry] {
			entries = append(entries, a.Entry)
		}
	}
	for entry := range was {
		if _, there := now[entry]; !there {
			entries = append(entries, entry)
		}
	}
	slices.Sort(entries)
	if w.forget(id); len(now) > 0 {
		w.notes[id] = now
	}
	if w.noted += len(now); w.noted > maxNoted {
		return nil, errOverflow
	}
	return entries, nil
}

// forget forgets the annotations of a folder.
func (w *watching) forget(id int64) {
	w.noted -= len(w.notes[id])
	delete(w.notes, id)
}

// What follows notes what the session did itself: it is not told of that (RFC
// 5465 section 5). What others did at the same time still is.

// made is told of messages that came into a folder by this session.
func (c *conn) made(id int64, uids []uint32) {
	w := c.watching
	if w == nil || len(uids) == 0 {
		return
	}
	if c.hasSelected(id) {
		if w.items != nil {
			c.sel.made = append(c.sel.made, uids...)
		}
		return
	}
	if k, there := w.known[id]; there && k.next == uids[0] {
		k.next, k.messages, k.modseq = uids[len(uids)-1]+1, k.messages+int64(len(uids)), k.modseq+1
		w.known[id] = k
	}
}

// created is told of a mailbox that this session made.
func (w *watching) created(f mailbox.Folder, at spot) {
	if w == nil || w.known == nil || at.owner != "" && !w.shared {
		return
	}
	w.known[f.ID] = knownOf(&entry{name: at.shown(), folder: f, rights: mailbox.AllRights, shared: at.owner != ""})
	w.relate()
}

// deleted is told of a mailbox that this session deleted.
func (w *watching) deleted(id int64) {
	if w != nil && w.known != nil {
		delete(w.known, id)
		w.forget(id)
		w.relate()
	}
}

// renamed is told of mailboxes that this session gave another name.
func (w *watching) renamed(from, to spot) {
	if w == nil || w.known == nil || from.shown() == inbox {
		return
	}
	for id, k := range w.known {
		if rest, ok := strings.CutPrefix(k.name, from.shown()); ok && (rest == "" || rest[0] == '/') {
			k.name, k.inner, k.modseq = to.shown()+rest, to.name+rest, k.modseq+1
			w.known[id] = k
		}
	}
	w.relate()
}

// relate finds out which mailboxes have others below them.
func (w *watching) relate() {
	above := map[string]bool{}
	for _, k := range w.known {
		for up := parent(k.name); up != "" && !above[up]; up = parent(up) {
			above[up] = true
		}
	}
	for id, k := range w.known {
		if k.children != above[k.name] {
			k.children = above[k.name]
			w.known[id] = k
		}
	}
}

// subscribe is told of a subscription that this session changed.
func (w *watching) subscribe(name string, on bool) {
	switch {
	case w == nil || w.subscribed == nil:
	case on:
		w.subscribed[name] = true
	default:
		delete(w.subscribed, name)
	}
}

// annotate is told of annotations that this session set.
func (w *watching) annotate(id int64, set []mailbox.Annotation) {
	if w == nil || w.notes == nil {
		return
	}
	is := w.notes[id]
	w.forget(id)
	if is == nil {
		is = notes{}
	}
	for _, a := range set {
		if a.Value == nil {
			delete(is, a.Entry)
		} else {
			is[a.Entry] = maphash.Bytes(noteSeed, a.Value)
		}
	}
	w.notes[id] = is
	w.noted += len(is)
}

// leave takes over a mailbox that is not selected any more as far as the client
// knows it, and has it looked at.
func (w *watching) leave(v *view) {
	if w == nil {
		return
	}
	k, there := w.known[v.folder.ID]
	if !there {
		return
	}
	k.modseq, k.messages, k.validity, k.next = v.folder.ModSeq, int64(len(v.uids)), v.folder.UIDValidity, v.folder.UIDNext
	w.known[v.folder.ID] = k
	w.notice(mailbox.Change{Folder: v.folder.ID})
}
