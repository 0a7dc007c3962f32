package digest

import (
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds and defaults of a Memory.
const (
	// MaxReports is how many reports are kept if not set: some 45 MB.
	MaxReports = 20_000
	// MaxDeliveries is the same for fingerprints of what was delivered: some
	// 100 MB, seven of a message.
	MaxDeliveries = 400_000
	maxVotes      = 128 // reports of one fingerprint
	minShare      = 50  // reports that one account may always have kept
	maxSettled    = 20  // reports that one new report is held against
)

// Fading.
const (
	spamHalf = 3 * 24 * time.Hour
	goodHalf = 14 * 24 * time.Hour
	spamAge  = 5 * spamHalf // then a report is dropped
	goodAge  = 3 * goodHalf
)

// maxAhead is how far the clock of another node may be ahead.
const maxAhead = 5 * time.Minute

// Memory is a Store in memory. Set its fields before use; it is then safe for
// concurrent use. The zero Memory is ready for a site of several domains.
type Memory struct {
	// Key makes hashes of accounts worthless to others; the same on all nodes
	// of a site.
	Key []byte
	// MinDomains is how many domains must agree; 0 is 2. A site with one
	// domain, whose users it knows, sets 1: then newcomers are not limited.
	MinDomains int
	// MaxReports and MaxDeliveries bound memory; 0 is the constant of the name.
	MaxReports, MaxDeliveries int

	mu        sync.RWMutex
	reports   map[uint64]*report
	order     *list.List // of *report, oldest first
	byPrint   map[Print][]*report
	reporters map[uint64]*reporter
	inboxes   map[Print]*inbox
	recent    *list.List // of *inbox, most recently touched first
	log       changeLog
}

// SetMinDomains changes MinDomains while the Memory is in use.
func (m *Memory) SetMinDomains(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.MinDomains = n
}

// report is one account's word on one message. All but outcome is fixed.
type report struct {
	id       uint64 // of reporter and prints
	reporter uint64
	domain   uint64
	spam     bool
	at       time.Time
	prints   []Print
	outcome  int8 // 1 it proved right, -1 wrong, 0 not settled
	place    *list.Element
}

// gone tells whether a report is too old to say anything.
func (r *report) gone(now time.Time) bool {
	if r.spam {
		return now.Sub(r.at) > spamAge
	}
	return now.Sub(r.at) > goodAge
}

func (m *Memory) init() {
	if m.reports != nil {
		return
	}
	m.reports, m.order = map[uint64]*report{}, list.New()
	m.byPrint, m.reporters = map[Print][]*report{}, map[uint64]*reporter{}
	m.inboxes, m.recent = map[Print]*inbox{}, list.New()
	// Numbers of an earlier run are all lower.
	m.log = changeLog{first: uint64(max(time.Now().UnixMicro(), 1)), inboxes: map[seenKey][4]uint64{}}
}

// hash names an account or a domain.
func (m *Memory) hash(what, name string) uint64 {
	h := hmac.New(sha256.New, m.Key)
	h.Write([]byte(what + "\x00" + name))
	return binary.BigEndian.Uint64(h.Sum(nil))
}

func (m *Memory) account(account string) (reporter, domain uint64) {
	account = strings.ToLower(account)
	return m.hash("account", account), m.hash("domain", account[strings.LastIndexByte(account, '@')+1:])
}

// Report implements Store.
func (m *Memory) Report(_ context.Context, account string, prints []Print, spam bool) error {
	if account == "" {
		return errors.New("digest: a report of nobody")
	}
	if len(prints) == 0 {
		return nil
	}
	c := Change{At: time.Now(), Spam: spam, Prints: slices.Clone(prints[:min(len(prints), maxPrints)])}
	c.Reporter, c.Domain = m.account(account)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	if m.take(c, c.At) {
		m.log.add(c)
	}
	return nil
}

// take makes a report part of the memory, and tells whether it was news.
func (m *Memory) take(c Change, now time.Time) bool {
	r := &report{reporter: c.Reporter, domain: c.Domain, spam: c.Spam, at: c.At, prints: c.Prints}
	if r.gone(now) {
		return false
	}
	r.id = reportID(c.Reporter, c.Prints)
	if old, ok := m.reports[r.id]; ok {
		// The later word counts; of two at once the one that does no harm.
		if r.at.Before(old.at) || r.at.Equal(old.at) && (r.spam || !old.spam) {
			return false
		}
		m.undo(old)
		m.drop(old)
	}
	by := m.reporter(r.reporter, now)
	by.fade(now)
	if by.First.After(r.at) {
		by.First = r.at
	}
	if share := max(m.maxReports()/100, minShare); len(by.reports) >= share {
		m.drop(by.reports[0])
	}
	by.reports = append(by.reports, r)
	m.reports[r.id] = r
	r.place = m.order.PushBack(r)
	for _, p := range r.prints {
		m.vote(p, r, now)
	}
	m.settleAround(r, now)
	m.trim(now)
	return true
}

// reportID is the same for all reports of an account on one message.
func reportID(reporter uint64, prints []Print) uint64 {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, reporter))
	for _, p := range prints {
		h.Write([]byte{byte(p.Kind)})
		h.Write(p.Value[:])
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// vote lists a report under one of its fingerprints. When there are too many,
// that of the least weight gives way: a crowd of newcomers must not push out
// those who deserve belief.
func (m *Memory) vote(p Print, r *report, now time.Time) {
	votes := m.byPrint[p]
	if slices.Contains(votes, r) { // a fingerprint that stands twice in a message
		return
	}
	if len(votes) < maxVotes {
		m.byPrint[p] = append(votes, r)
		return
	}
	least, at := m.worth(r, now), -1
	for i, v := range votes {
		if w := m.worth(v, now); w < least {
			least, at = w, i
		}
	}
	if at >= 0 {
		votes[at] = r
	}
}

// worth is the weight of a report now.
func (m *Memory) worth(r *report, now time.Time) float64 {
	half := goodHalf
	if r.spam {
		half = spamHalf
	}
	return m.reporters[r.reporter].weight(now) * faded(now.Sub(r.at), half)
}

func (m *Memory) reporter(id uint64, now time.Time) *reporter {
	if r, ok := m.reporters[id]; ok {
		return r
	}
	if len(m.reporters) >= maxReporters {
		m.forgetReporters()
	}
	r := &reporter{First: now, Last: now}
	m.reporters[id] = r
	return r
}

// forgetReporters drops a tenth: those silent for longest of whom no report is
// kept.
func (m *Memory) forgetReporters() {
	type idle struct {
		id   uint64
		last time.Time
	}
	var all []idle
	for id, r := range m.reporters {
		if len(r.reports) == 0 {
			all = append(all, idle{id, r.Last})
		}
	}
	slices.SortFunc(all, func(a, b idle) int { return a.last.Compare(b.last) })
	for _, i := range all[:min(len(all), maxReporters/10)] {
		delete(m.reporters, i.id)
	}
}

// drop forgets a report; the reputation it made stays.
func (m *Memory) drop(r *report) {
	delete(m.reports, r.id)
	m.order.Remove(r.place)
	if by := m.reporters[r.reporter]; by != nil {
		by.reports = slices.DeleteFunc(by.reports, func(o *report) bool { return o == r })
	}
	for _, p := range r.prints {
		votes := slices.DeleteFunc(m.byPrint[p], func(o *report) bool { return o == r })
		if len(votes) == 0 {
			delete(m.byPrint, p)
		} else {
			m.byPrint[p] = votes
		}
	}
}

// trim drops what is too old or too much, the oldest first.
func (m *Memory) trim(now time.Time) {
	for m.order.Len() > 0 {
		oldest := m.order.Front().Value.(*report)
		if len(m.reports) <= m.maxReports() && !oldest.gone(now) {
			return
		}
		m.drop(oldest)
	}
}

func (m *Memory) maxReports() int {
	if m.MaxReports > 0 {
		return m.MaxReports
	}
	return MaxReports
}
