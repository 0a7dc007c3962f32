package mailbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// crowd is many who do everything at once, on few folders of few accounts.
type crowd struct {
	s        *Store
	accounts []int64

	mu      sync.Mutex
	claimed map[int64]map[uint32]bool // UIDs given out, by folder
	floor   map[int64]Folder          // the newest state seen, by folder
}

// member is one of them.
type member struct {
	*crowd
	t   *testing.T
	rnd *rand.Rand
}

// TestConcurrent lets a crowd loose. UIDs are given out once, states never go
// back, who follows a folder's news knows at last what is in it, and the
// invariants hold.
func TestConcurrent(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newStore(t, d)
		one := int64(len(testPrefix) + len(testBody(1)))
		a := addAccount(t, s, "a", 0)
		c := &crowd{s: s, accounts: []int64{a, neighbour(t, s, a), addAccount(t, s, "b", 20*one)},
			claimed: map[int64]map[uint32]bool{}, floor: map[int64]Folder{}}
		var members, followers sync.WaitGroup
		over := make(chan struct{})
		for _, account := range c.accounts {
			for _, name := range []string{"", "Junk"} {
				f := folder(t, s, account, name)
				followers.Go(func() { c.follow(t, f.ID, over) })
			}
		}
		for w := range 8 {
			members.Go(func() {
				m := &member{crowd: c, t: t, rnd: rand.New(rand.NewPCG(1, uint64(w)))}
				for range 60 {
					if err := m.step(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		members.Wait()
		close(over)
		followers.Wait()
	})
}

// claim notes that a UID was given to a message.
func (c *crowd) claim(t *testing.T, id int64, uids ...uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claimed[id] == nil {
		c.claimed[id] = map[uint32]bool{}
	}
	for _, u := range uids {
		if c.claimed[id][u] {
			t.Errorf("UID %d of folder %d is given out twice", u, id)
		}
		c.claimed[id][u] = true
	}
}

// look reads a folder's state: it is not older than what was seen before.
func (c *crowd) look(t *testing.T, id int64) error {
	c.mu.Lock()
	old := c.floor[id]
	c.mu.Unlock()
	f, err := c.s.Status(t.Context(), id)
	if err != nil {
		return err
	}
	if f.UIDNext < old.UIDNext || f.ModSeq < old.ModSeq || f.UIDValidity < old.UIDValidity || f.Forgotten < old.Forgotten {
		t.Errorf("folder %d went back from %+v to %+v", id, old, f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.ModSeq > c.floor[id].ModSeq {
		c.floor[id] = f
	}
	return nil
}

// follow is a session that only ever asks for news.
func (c *crowd) follow(t *testing.T, id int64, over <-chan struct{}) {
	known := map[uint32]Message{}
	var since int64
	for last := false; ; {
		n, err := c.s.News(t.Context(), id, since)
		if errors.Is(err, ErrNoFolder) {
			return
		}
		if err != nil || !n.Complete || n.Folder.ModSeq < since {
			t.Errorf("news of folder %d since %d: %+v, %v", id, since, n.Folder, err)
			return
		}
		for _, m := range n.Changed {
			if m.ModSeq <= max(since, known[m.UID].ModSeq) || m.ModSeq > n.Folder.ModSeq {
				t.Errorf("mod-sequence %d of message %d since %d, was %d", m.ModSeq, m.UID, since, known[m.UID].ModSeq)
			}
			known[m.UID] = m
		}
		for _, u := range n.Expunged {
			delete(known, u)
		}
		since = n.Folder.ModSeq
		if last {
			break
		}
		select {
		case <-over:
			last = true
		case <-time.After(5 * time.Millisecond):
		}
	}
	for _, m := range list(t, c.s, id) {
		if fmt.Sprint(known[m.UID]) != fmt.Sprint(m) {
			t.Errorf("folder %d: followed %+v, is %+v", id, known[m.UID], m)
		}
		delete(known, m.UID)
	}
	if len(known) > 0 {
		t.Errorf("folder %d: followed %v, which are gone", id, known)
	}
}

func (m *member) account() int64 { return m.accounts[m.rnd.IntN(len(m.accounts))] }

func (m *member) oneOf(names ...string) string { return names[m.rnd.IntN(len(names))] }

// folder gives any folder; one that is not there is as good.
func (m *member) folder() int64 {
	f, _ := m.s.Folder(m.t.Context(), m.account(), m.oneOf("INBOX", "Junk", "mine", "mine/too"))
	return f.ID
}

func (m *member) set() []Range {
	first := m.rnd.Uint32N(40) + 1
	set := []Range{{first, first + m.rnd.Uint32N(10)}}
	if m.rnd.IntN(2) == 0 {
		set = append(set, Range{first + 12, first + 13}, Range{first + 20, first + 20})
	}
	return set
}

// step does one thing. What another member has made impossible is no error.
func (m *member) step() error {
	err := m.anything()
	if id := m.folder(); err == nil && id != 0 {
		err = m.look(m.t, id)
	}
	for _, ok := range []error{ErrNoFolder, ErrExists, ErrInbox, ErrName, ErrNoMessage, ErrOwner, ErrEntry} {
		if errors.Is(err, ok) {
			return nil
		}
	}
	if err != nil && mail.AsReply(err).Enhanced == "4.2.2" {
		return nil
	}
	return err
}

func (m *member) anything() error {
	ctx, s := m.t.Context(), m.s
	switch m.rnd.IntN(16) {
	case 0:
		_, err := s.StoreFlags(ctx, m.folder(), m.set(), FlagChange{Op: Op(m.rnd.IntN(3)), Flags: Flags(m.rnd.IntN(32)), Unless: -1})
		return err
	case 1:
		_, _, err := s.Expunge(ctx, m.folder(), m.set(), m.rnd.IntN(2) == 0)
		return err
	case 2, 3:
		return m.transfer(ctx)
	case 4:
		_, err := s.Create(ctx, m.account(), m.oneOf("mine", "mine/too"), "")
		return err
	case 5:
		return s.Delete(ctx, m.account(), "mine")
	case 6:
		return s.Rename(ctx, m.account(), m.oneOf("mine", "INBOX", "Junk"), m.oneOf("mine", "other", "Junk"))
	case 7:
		return m.appendAll(ctx)
	case 8:
		return m.replace(ctx)
	case 9:
		return s.SetGrant(ctx, m.folder(), m.account(), exactly(Rights(m.rnd.IntN(int(AllRights)+1))))
	case 10:
		return s.SetAnnotations(ctx, m.account(), m.folder(), []Annotation{{Entry: m.oneOf("/private/a", "/shared/a"), Value: [][]byte{nil, []byte("x")}[m.rnd.IntN(2)]}})
	case 11:
		return m.read(ctx)
	case 12:
		_, err := s.Recount(ctx, m.account())
		return err
	}
	uid, err := deliver(m.t, s, m.account(), m.oneOf("", "Junk", "mine"), testBody(1), Flags(m.rnd.IntN(2)))
	if err == nil && uid == 0 {
		m.t.Error("delivered as UID 0")
	}
	return err
}

func (m *member) transfer(ctx context.Context) error {
	from, to, do := m.folder(), m.folder(), m.s.Copy
	if m.rnd.IntN(2) == 0 {
		do = m.s.Move
	}
	c, err := do(ctx, from, to, m.set(), Shed{})
	m.claim(m.t, to, c.To...)
	return err
}

func (m *member) appendAll(ctx context.Context) error {
	to := m.folder()
	a, err := m.s.AppendAll(ctx, to, incoming(m.t, m.s, 1, 1))
	m.claim(m.t, to, a.UIDs...)
	return err
}

func (m *member) replace(ctx context.Context) error {
	to := m.folder()
	a, _, err := m.s.Replace(ctx, m.folder(), m.set()[0].First, to, incoming(m.t, m.s, 2)[0])
	m.claim(m.t, to, a.UIDs...)
	return err
}

// read reads messages, with outlines and texts, that others are removing.
func (m *member) read(ctx context.Context) error {
	var last uint32
	for it, err := range m.s.Items(ctx, m.folder(), m.set(), NeedOutline|NeedText) {
		if err != nil {
			return err
		}
		if it.UID <= last || it.Outline == nil || !slices.Contains([]string{"1", "2"}, it.Outline.Envelope.Subject) {
			m.t.Errorf("message %d after %d: %+v", it.UID, last, it.Outline)
		}
		last = it.UID
		c, err := m.s.OpenItem(ctx, &it)
		if err != nil {
			return err
		}
		c.Close()
	}
	return nil
}
