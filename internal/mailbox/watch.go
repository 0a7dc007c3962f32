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

// Change says that a folder is not as it was: messages, flags, its name, or it
// is gone. It tells where to look; what is there, the database tells.
type Change struct {
	Account int64
	Folder  int64
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

// watchers hands changes to those who watch a folder. While nobody does, the
// store does not listen to the bus.
type watchers struct {
	mu       sync.Mutex
	byFolder map[int64][]*watcher
	leave    func() // ends the subscription of the bus
}

// watcher has a slot a folder in its channel. A change that meets an older one
// of its folder there replaces it, so that nobody ever waits for a reader.
type watcher struct {
	mu sync.Mutex
	ch chan Change
}

// Watch gives the changes of folders, made in this or another process of the
// data directory, until cancel is called. Of several changes of one folder
// that the reader did not take yet only the newest is kept. Two watches at the
// same time do not disturb each other. Look at the folder once after Watch
// returned: what happened before is not told.
func (s *Store) Watch(folders ...int64) (<-chan Change, func()) {
	folders = slices.Clone(folders)
	slices.Sort(folders)
	folders = slices.Compact(folders)
	w := &watcher{ch: make(chan Change, len(folders))}
	if s.Bus == nil {
		return w.ch, func() {}
	}
	ws := &s.watchers
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.byFolder == nil {
		ws.byFolder = map[int64][]*watcher{}
	}
	if len(ws.byFolder) == 0 && len(folders) > 0 {
		ws.leave = s.Bus.Subscribe(topic, ws.notice)
	}
	for _, f := range folders {
		ws.byFolder[f] = append(ws.byFolder[f], w)
	}
	return w.ch, sync.OnceFunc(func() { ws.remove(w, folders) })
}

func (ws *watchers) remove(w *watcher, folders []int64) {
	ws.mu.Lock()
	var leave func()
	for _, f := range folders {
		rest := slices.DeleteFunc(ws.byFolder[f], func(x *watcher) bool { return x == w })
		if len(rest) == 0 {
			delete(ws.byFolder, f)
		} else {
			ws.byFolder[f] = rest
		}
	}
	if len(ws.byFolder) == 0 {
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
	defer ws.mu.Unlock()
	for _, w := range ws.byFolder[c.Folder] {
		w.put(c)
	}
}

// put never blocks: the channel has a slot for each folder, and put leaves at
// most one change of each in it. Readers may take meanwhile, only put adds.
func (w *watcher) put(c Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var waiting []Change
	for {
		select {
		case old := <-w.ch:
			if old.Folder != c.Folder {
				waiting = append(waiting, old)
			} else if old.ModSeq > c.ModSeq {
				c = old
			}
			continue
		default:
		}
		break
	}
	for _, x := range append(waiting, c) {
		w.ch <- x
	}
}
