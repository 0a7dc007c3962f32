package digest

import (
	"bufio"
	"bytes"
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"time"
)

// A snapshot is a line of text, numbers of eight octets in big-endian order and
// fingerprints of 17, and SHA-256 over all before it:
//
//	"migiwa-digest 1\n"
//	n, n × reporter: id, first, last, right, wrong, met, 4 × circle
//	n, n × report:   reporter, domain, spam, time, outcome, count, fingerprints
//	n, n × delivery: fingerprint, epoch, 4 × now, 4 × last, 4 × old
//
// Times are nanoseconds since 1970. Lists stand in the order of age.
const snapshotMagic = "migiwa-digest 1\n"

// ErrSnapshot is wrapped by errors about the content of a snapshot.
var ErrSnapshot = errors.New("broken snapshot")

// Snapshot writes all that is known. It takes a copy first, so that a slow
// writer stops nobody.
func (m *Memory) Snapshot(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString(snapshotMagic)
	m.mu.RLock()
	m.write(&encoder{&b})
	m.mu.RUnlock()
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	if _, err := b.WriteTo(w); err != nil {
		return fmt.Errorf("writing a snapshot of reports: %w", err)
	}
	return nil
}

type encoder struct{ b *bytes.Buffer }

func (e *encoder) numbers(list ...uint64) {
	for _, n := range list {
		e.b.Write(binary.BigEndian.AppendUint64(e.b.AvailableBuffer(), n))
	}
}

func (e *encoder) print(p Print) {
	e.b.WriteByte(byte(p.Kind))
	e.b.Write(p.Value[:])
}

func (m *Memory) write(e *encoder) {
	e.numbers(uint64(len(m.reporters)))
	for id, r := range m.reporters {
		e.numbers(id, uint64(r.First.UnixNano()), uint64(r.Last.UnixNano()), math.Float64bits(r.Right), math.Float64bits(r.Wrong), r.Met)
		e.numbers(r.Circle[:]...)
	}
	e.numbers(uint64(len(m.reports)))
	for el := front(m.order); el != nil; el = el.Next() {
		r := el.Value.(*report)
		spam := uint64(0)
		if r.spam {
			spam = 1
		}
		e.numbers(r.reporter, r.domain, spam, uint64(r.at.UnixNano()), uint64(int64(r.outcome)), uint64(len(r.prints)))
		for _, p := range r.prints {
			e.print(p)
		}
	}
	e.numbers(uint64(len(m.inboxes)))
	for el := back(m.recent); el != nil; el = el.Prev() {
		b := el.Value.(*inbox)
		e.print(b.print)
		e.numbers(uint64(b.epoch))
		for _, set := range [][4]uint64{b.now, b.last, b.old} {
			e.numbers(set[:]...)
		}
	}
}

// front and back take the list of a Memory that was never used.
func front(l *list.List) *list.Element {
	if l == nil {
		return nil
	}
	return l.Front()
}

func back(l *list.List) *list.Element {
	if l == nil {
		return nil
	}
	return l.Back()
}

// Restore takes what a snapshot holds in place of all that is known; m must have
// the Key it was made with. On an error m is as it was.
func (m *Memory) Restore(r io.Reader) error {
	d := &decoder{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	fresh := &Memory{Key: m.Key, MinDomains: m.MinDomains, MaxReports: m.MaxReports, MaxDeliveries: m.MaxDeliveries}
	fresh.init()
	d.magic()
	fresh.readReporters(d)
	fresh.readReports(d)
	fresh.readInboxes(d)
	if err := d.end(); err != nil {
		return fmt.Errorf("reading a snapshot of reports: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reports, m.order, m.byPrint, m.reporters = fresh.reports, fresh.order, fresh.byPrint, fresh.reporters
	m.inboxes, m.recent, m.log = fresh.inboxes, fresh.recent, fresh.log
	m.trim(time.Now())
	return nil
}

func (m *Memory) readReporters(d *decoder) {
	for n := d.number(); n > 0 && d.err == nil; n-- {
		id := d.number()
		r := &reporter{First: d.time(), Last: d.time(), Right: d.float(), Wrong: d.float(), Met: d.number(), Circle: d.set()}
		if d.err == nil && len(m.reporters) < maxReporters {
			m.reporters[id] = r
		}
	}
}

func (m *Memory) readReports(d *decoder) {
	now := time.Now()
	for n := d.number(); n > 0 && d.err == nil; n-- {
		r := &report{reporter: d.number(), domain: d.number(), spam: d.number() == 1, at: d.time(), outcome: int8(d.number())}
		count := d.number()
		if count > maxPrints {
			d.fail("a report of %d fingerprints", count)
		}
		for ; count > 0 && d.err == nil; count-- {
			r.prints = append(r.prints, d.print())
		}
		r.id = reportID(r.reporter, r.prints)
		if _, twice := m.reports[r.id]; d.err != nil || twice || len(m.reports) >= m.maxReports() {
			continue
		}
		by := m.reporter(r.reporter, now)
		by.reports = append(by.reports, r)
		m.reports[r.id] = r
		r.place = m.order.PushBack(r)
		for _, p := range r.prints {
			m.vote(p, r, now)
		}
	}
}

func (m *Memory) readInboxes(d *decoder) {
	for n := d.number(); n > 0 && d.err == nil; n-- {
		p, epoch := d.print(), int64(d.number())
		now, last, old := d.set(), d.set(), d.set()
		if d.err != nil {
			return
		}
		m.deliver(p, epoch, now)
		b := m.inboxes[p]
		b.last, b.old = or(b.last, last), or(b.old, old)
	}
}

// decoder reads until the first error; what it gives after that is zero.
type decoder struct {
	r   *bufio.Reader
	sum hash.Hash
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrSnapshot}, args...)...)
	}
}

func (d *decoder) bytes(b []byte) {
	if d.err != nil {
		clear(b)
		return
	}
	if _, err := io.ReadFull(d.r, b); err != nil {
		clear(b)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			d.fail("it ends too early")
		} else {
			d.err = err
		}
		return
	}
	d.sum.Write(b)
}

func (d *decoder) number() uint64 {
	var b [8]byte
	d.bytes(b[:])
	return binary.BigEndian.Uint64(b[:])
}

func (d *decoder) time() time.Time { return time.Unix(0, int64(d.number())) }

func (d *decoder) float() float64 {
	f := math.Float64frombits(d.number())
	if !(f >= 0 && f < 1e9) {
		d.fail("a record of %g", f)
		return 0
	}
	return f
}

func (d *decoder) set() (set [4]uint64) {
	for i := range set {
		set[i] = d.number()
	}
	return set
}

func (d *decoder) print() Print {
	var b [17]byte
	d.bytes(b[:])
	p := Print{Kind: Kind(b[0]), Value: [16]byte(b[1:])}
	if d.err == nil && (p.Kind < Text || p.Kind > Part) {
		d.fail("a fingerprint of kind %d", p.Kind)
	}
	return p
}

func (d *decoder) magic() {
	b := make([]byte, len(snapshotMagic))
	d.bytes(b)
	if d.err == nil && string(b) != snapshotMagic {
		d.fail("it begins with %q", b)
	}
}

func (d *decoder) end() error {
	want := d.sum.Sum(nil)
	var have [sha256.Size]byte
	d.bytes(have[:])
	if d.err == nil && !bytes.Equal(have[:], want) {
		d.fail("its sum is wrong")
	}
	return d.err
}
