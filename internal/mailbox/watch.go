package mailbox

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/migiwa/migiwa/internal/store/db"
)

// topic is where changes are published on the bus: three uvarints, the
// account, the folder and its mod-sequence.
const topic = "mailbox"

// Change says that a folder is not as it was: messages, flags, its name, rights
// or annotations, or it is gone; or something of an account is not: its
// subscriptions, its annotations of the server, or what others share with it.
// It tells where to look; what is there, the database tells.
type Change struct {
	Account int64 // the folder's; Anyone: what is shared with everybody
	Folder  int64 // 0: no folder, the account
	ModSeq  int64 // of the folder after the change
}

// changed publishes c once the transaction is on disk.
func (s *Store) changed(tx *db.Tx, c Change) {
	if s.Bus == nil {
		return
	}
	tx.OnCommit(func() { s.Bus.Publish(topic, c.encode()) })
}

func (c Change) encode() []byte {
	b := make([]byte, 0, 3*binary.MaxVarintLen64)
	b = binary.AppendUvarint(b, uint64(c.Account))
	b = binary.AppendUvarint(b, uint64(c.Folder))
	return binary.AppendUvarint(b, uint64(c.ModSeq))
}

func decodeChange(b []byte) (c Change, ok bool) {
	for _, field := range []*int64{&c.Account, &c.Folder, &c.ModSeq} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return Change{}, false
		}
		*field = int64(v)
		b = b[n:]
	}
	return c, true
}

// watchers hands changes to those who watch a folder or an account. While
// nobody does, the store does not listen to the bus.
type watchers struct {
	mu        sync.Mutex
	byFolder  map[int64][]*watcher
	byAccount map[int64][]*watcher
	leave     func() // ends the subscription of the bus
}

type watcher struct{ tell func(Change) }

// Watch calls tell for every change of folder id, made in this or another
// process of the data directory, until cancel is called. tell must not block
// nor call the store: it is called while others wait. Look at the folder once
// after Watch returned: what happened before is not told.
func (s *Store) Watch(id int64, tell func(Change)) (cancel func()) {
	return s.watch(func(ws *watchers) map[int64][]*watcher { return ws.byFolder }, id, tell)
}

// WatchAccount is Watch for all folders of an account, those to come included,
// and for the account itself. That of Anyone hears of what is shared with
// everybody.
func (s *Store) WatchAccount(account int64, tell func(Change)) (cancel func()) {
	return s.watch(func(ws *watchers) map[int64][]*watcher { return ws.byAccount }, account, tell)
}

func (s *Store) watch(of func(*watchers) map[int64][]*watcher, key int64, tell func(Change)) func() {
	if s.Bus == nil {
		return func() {}
	}
	w := &watcher{tell: tell}
	ws := &s.watchers
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.leave == nil {
		ws.byFolder, ws.byAccount = map[int64][]*watcher{}, map[int64][]*watcher{}
		ws.leave = s.Bus.Subscribe(topic, ws.notice)
	}
	of(ws)[key] = append(of(ws)[key], w)
	return sync.OnceFunc(func() { ws.remove(of, key, w) })
}

func (ws *watchers) remove(of func(*watchers) map[int64][]*watcher, key int64, w *watcher) {
	ws.mu.Lock()
	var leave func()
	rest := slices.DeleteFunc(slices.Clone(of(ws)[key]), func(x *watcher) bool { return x == w })
	if len(rest) == 0 {
		delete(of(ws), key)
	} else {
		of(ws)[key] = rest
	}
	if len(ws.byFolder)+len(ws.byAccount) == 0 {
		leave, ws.leave = ws.leave, nil
	}
	ws.mu.Unlock()
	if leave != nil {
		leave() // outside mu: the bus may be calling notice
	}
}

func (ws *watchers) notice(payload []byte) {
	c, ok := decodeChange(payload)
	if !ok {
		return
	}
	ws.mu.Lock()
	folder, account := ws.byFolder[c.Folder], ws.byAccount[c.Account]
	ws.mu.Unlock()
	for _, w := range folder {
		w.tell(c)
	}
	for _, w := range account {
		w.tell(c)
	}
}
