package imapd

import (
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mailbox"
)

// maxHanded bounds how many messages of the selected mailbox are remembered as
// handed out; behind that some may be recorded twice.
const maxHanded = 1 << 16

// handedOut records that the text of a message, not only its header, leaves for
// its reader: once in a session, however often it is asked for and in however
// many pieces.
func (c *conn) handedOut(it *mailbox.Item) {
	if c.srv.Events == nil || !c.sel.firstTime(it.UID) {
		return
	}
	e := c.event(event.Retrieve)
	if it.Trace != "" {
		e.Session, e.Trace = c.trace, it.Trace // so that it stands beside what else happened to the message
	}
	e.Size, e.Verb, e.Mailbox = it.Size, "FETCH", c.sel.folder.Name
	c.srv.Events.Record(e)
}

// firstTime tells whether the text of a message is handed out for the first
// time since the mailbox was selected.
func (v *view) firstTime(uid uint32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.handed[uid]; ok {
		return false
	}
	if v.handed == nil || len(v.handed) >= maxHanded {
		v.handed = map[uint32]struct{}{}
	}
	v.handed[uid] = struct{}{}
	return true
}
