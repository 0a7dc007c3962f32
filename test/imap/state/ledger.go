package state

import (
	"fmt"
	"sync"
)

// place is one UID of one mailbox for ever.
type place struct {
	box         string
	uidValidity uint32
	uid         uint32
}

// ledger is what all sessions have seen and been promised.
type ledger struct {
	mu sync.Mutex
	// token is the content of a place: each appended message has its own.
	token map[place]string
	// acked are the places that the server has named for an APPEND.
	acked map[place]bool
	// doomed are the messages that somebody has asked to delete; their copies
	// may be, too, as \Deleted is copied. By POP3 only the token is known.
	doomed       map[place]bool
	doomedTokens map[string]bool
	// seen are the greatest UID and mod-sequence of a mailbox.
	uid    map[string]uint32
	modseq map[string]uint64
	next   int
	first  error
}

func newLedger() *ledger {
	return &ledger{token: map[place]string{}, acked: map[place]bool{}, doomed: map[place]bool{}, doomedTokens: map[string]bool{}, uid: map[string]uint32{}, modseq: map[string]uint64{}}
}

// fresh gives a token for a new message.
func (l *ledger) fresh() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	return fmt.Sprintf("token-%d", l.next)
}

// is notes that a place holds a token. It must never have held another.
func (l *ledger) is(p place, token string, acked bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, ok := l.token[p]; ok && before != token {
		return fmt.Errorf("%v held %s and holds %s", p, before, token)
	}
	l.token[p] = token
	if acked {
		l.acked[p] = true
	}
	l.uid[p.box] = max(l.uid[p.box], p.uid)
	return nil
}

// doom notes that messages may disappear.
func (l *ledger) doom(box string, uidValidity uint32, uids ...uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range uids {
		l.doomed[place{box, uidValidity, u}] = true
	}
}

// doomToken is the same for all copies of a message.
func (l *ledger) doomToken(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doomedTokens[token] = true
}

// marks are the greatest values seen in a mailbox.
func (l *ledger) marks(box string) (uid uint32, modseq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.uid[box], l.modseq[box]
}

func (l *ledger) sawModseq(box string, modseq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.modseq[box] = max(l.modseq[box], modseq)
}

// fail keeps the first error.
func (l *ledger) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = err
	}
}

func (l *ledger) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

// lost gives a message that was promised, that nobody has asked to delete, and
// that is not among the places that a mailbox has at the end.
func (l *ledger) lost(box string, has map[uint32]bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.doomed {
		l.doomedTokens[l.token[p]] = true
	}
	for p := range l.acked {
		if p.box == box && !has[p.uid] && !l.doomedTokens[l.token[p]] {
			return fmt.Errorf("%v (%s) was promised, not deleted by anybody, and is not there", p, l.token[p])
		}
	}
	return nil
}
