package edge

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// A snapshot is what an engine remembers, without its rules, independent of
// the sizes and places of its tables:
//
//	16 octets  "migiwa edge" 0 0 0 0, and the version
//	blocks     section (1), zero (3), number of entries (4), the entries,
//	           CRC-32C of all that (4)
//
// Numbers are little-endian, times absolute, so that decay goes on while
// nothing runs. A block has at most blockLimit entries, each of the size of its
// section. The first block is the head, the last the end, which holds the
// number of entries in each section; behind it there is nothing. A reader
// needs the memory of one block, whatever a file says. What accepted messages
// earned of a recipient's daily ration is not kept.
const (
	snapshotMagic   = "migiwa edge\x00\x00\x00\x00"
	snapshotVersion = 1
	blockLimit      = 1024
	blockHead       = 8
)

// section is a kind of block.
type section uint8

const (
	endSection section = iota
	headSection
	sourceSection
	identitySection
	networkSection
	realmSection
	sections
)

// entrySize is the size of an entry of each section, in octets.
var entrySize = [sections]int{
	endSection:    8 * int(sections),
	headSection:   16 + 4 + 4*8 + 2*20 + 2*8 + int(reasons)*8 + 13,
	sourceSection: 48, identitySection: 48, networkSection: 24, realmSection: 28,
}

const largestBlock = blockHead + blockLimit*48 + 4

// ErrSnapshot is what damaged or foreign snapshots give.
var ErrSnapshot = errors.New("not a whole snapshot")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Save writes a snapshot. The engine works on meanwhile: what is under a lock
// is copied, piece by piece, and written when the lock is free.
func (e *Engine) Save(w io.Writer, now Time) error {
	s := &snapshotWriter{w: w, block: make([]byte, blockHead, largestBlock)}
	if _, err := w.Write(append([]byte(snapshotMagic), snapshotVersion)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	s.next(headSection)
	s.block = e.appendHead(s.block, now)
	e.sources.save(s, sourceSection)
	e.identities.save(s, identitySection)
	e.networks.save(s)
	for i := range e.realms {
		r := &e.realms[i]
		if k := r.key.Load(); k != 0 {
			s.next(realmSection)
			s.block = r.level.append(le.AppendUint64(s.block, k))
		}
	}
	s.next(endSection)
	for _, n := range s.totals {
		s.block = le.AppendUint64(s.block, n)
	}
	s.flush()
	if s.err != nil {
		return fmt.Errorf("write snapshot: %w", s.err)
	}
	return nil
}

// snapshotWriter gathers entries into blocks.
type snapshotWriter struct {
	w      io.Writer
	block  []byte
	kind   section
	count  uint32
	totals [sections]uint64
	err    error // the first
}

// next makes room for an entry of a section.
func (s *snapshotWriter) next(kind section) {
	if s.count > 0 && (s.kind != kind || s.count == blockLimit) {
		s.flush()
	}
	s.kind = kind
	s.count++
	s.totals[kind]++
}

func (s *snapshotWriter) flush() {
	b := s.block
	b[0] = byte(s.kind)
	le.PutUint32(b[4:], s.count)
	b = le.AppendUint32(b, checksum(b))
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
	s.block, s.count = s.block[:blockHead], 0
}

// save writes the entries of t.
func (t *table) save(s *snapshotWriter, kind section) {
	var g group
	for i := range t.groups {
		l := &t.locks[i%len(t.locks)]
		l.Lock()
		g = t.groups[i]
		l.Unlock()
		for b := range g {
			for j, key := range g[b].key {
				if key != 0 {
					s.next(kind)
					s.block = g[b].body[j].append(le.AppendUint64(s.block, key))
				}
			}
		}
		if s.err != nil {
			return
		}
	}
}

func (t *netTable) save(s *snapshotWriter) {
	var set netSet
	for i := range t.sets {
		l := &t.locks[i%len(t.locks)]
		l.Lock()
		set = t.sets[i]
		l.Unlock()
		for j := range set {
			if set[j].key != 0 {
				s.next(networkSection)
				s.block = set[j].append(s.block)
			}
		}
		if s.err != nil {
			return
		}
	}
}

// Load takes what a snapshot holds in place of what e knows, and gives the
// newest time in it, behind which the engine's clock must not start (NewClock).
// It is for an engine that is not in use yet. Tables may be smaller than those
// that were saved; what is worth least is then forgotten. On an error e is as
// it was.
func (e *Engine) Load(r io.Reader) (newest Time, err error) {
	fresh, err := New(e.rules, e.sizes)
	if err != nil {
		return 0, err
	}
	defer fresh.Close()
	if newest, err = fresh.loadAll(r); err != nil {
		return 0, fmt.Errorf("load snapshot: %w", err)
	}
	e.exchange(fresh)
	return newest, nil
}

// exchange takes the memory of another engine, which gets that of e.
func (e *Engine) exchange(o *Engine) {
	e.secret, o.secret = o.secret, e.secret
	e.sources, o.sources = o.sources, e.sources
	e.identities, o.identities = o.identities, e.identities
	e.networks, o.networks = o.networks, e.networks
	e.realms, o.realms = o.realms, e.realms
	e.root.copy(&o.root)
	e.second.copy(&o.second)
	e.disclosure.full.Store(o.disclosure.full.Load())
	e.ration.full.Store(o.ration.full.Load())
	for i := range e.counts {
		e.counts[i].Store(o.counts[i].Load())
	}
	e.weather.copy(&o.weather)
}

// loadAll loads into an empty engine.
func (e *Engine) loadAll(r io.Reader) (newest Time, err error) {
	in := &snapshotReader{r: r}
	if err := in.begin(); err != nil {
		return 0, err
	}
	saved := e.readHead(&in.entries)
	newest = saved
	for {
		kind, count, err := in.next()
		if err != nil {
			return 0, err
		}
		if kind == endSection {
			return newest, in.end()
		}
		for range count {
			last, err := e.loadEntry(kind, &in.entries, saved)
			if err != nil {
				return 0, err
			}
			newest = max(newest, last)
		}
	}
}

// saveTime is how much later than its head a snapshot's entries may be: it is
// written while the engine works.
const saveTime = 3600

func (e *Engine) loadEntry(kind section, c *cursor, saved Time) (last Time, err error) {
	key := c.u64()
	if key == 0 {
		return 0, fmt.Errorf("%w: an entry without a key", ErrSnapshot)
	}
	switch kind {
	case sourceSection:
		last, err = e.sources.load(key, c, saved, Time(e.rules.PenaltyMax))
	case identitySection:
		last, err = e.identities.load(key, c, saved, Time(e.rules.PenaltyMax))
	case networkSection:
		last, err = e.networks.load(key, c, saved)
	case realmSection:
		if r := e.realm(key, saved); r != nil {
			r.level.read(c)
		} else {
			c.skip(entrySize[realmSection] - 8)
		}
	}
	if err == nil && last > saved+saveTime {
		err = fmt.Errorf("%w: a time behind its own", ErrSnapshot)
	}
	return last, err
}

// load puts an entry into its place. A penalty lasts no longer than one that
// begins now.
func (t *table) load(key uint64, c *cursor, saved, longest Time) (Time, error) {
	p := t.place(key)
	if p.find(key) != nil {
		return 0, fmt.Errorf("%w: an entry is there twice", ErrSnapshot)
	}
	s := t.insert(p, key, saved)
	s.read(c)
	if s.nats < worst*milli || s.nats > most*milli {
		return 0, fmt.Errorf("%w: evidence of %d", ErrSnapshot, s.nats)
	}
	if s.pen != 0 {
		s.pen = min(s.pen, saved+longest)
	}
	return max(s.last, s.timeA), nil // timeB of a place may be ahead (Engine.spend)
}

func (t *netTable) load(key uint64, c *cursor, saved Time) (Time, error) {
	n, l := t.locked(key, saved, lifeOf(key), true)
	defer l.Unlock()
	n.read(c)
	for _, v := range [2]float32{n.bad, n.good} {
		if !(v >= 0 && v <= math.MaxInt32) { // not a number is neither
			return 0, fmt.Errorf("%w: a network with count %v", ErrSnapshot, v)
		}
	}
	return n.last, nil
}

// snapshotReader reads block after block and checks each before it is used.
type snapshotReader struct {
	r       io.Reader
	block   [largestBlock]byte
	totals  [sections]uint64
	entries cursor // of the block that was read
}

// begin reads up to the head.
func (in *snapshotReader) begin() error {
	magic := in.block[:len(snapshotMagic)+1]
	if _, err := io.ReadFull(in.r, magic); err != nil {
		return torn(err)
	}
	if string(magic[:len(snapshotMagic)]) != snapshotMagic {
		return fmt.Errorf("%w: it begins otherwise", ErrSnapshot)
	}
	if v := magic[len(snapshotMagic)]; v != snapshotVersion {
		return fmt.Errorf("%w: version %d", ErrSnapshot, v)
	}
	if kind, count, err := in.next(); err != nil || kind != headSection || count != 1 {
		return errors.Join(fmt.Errorf("%w: no head", ErrSnapshot), err)
	}
	return nil
}

func (in *snapshotReader) next() (kind section, count uint32, err error) {
	head := in.block[:blockHead]
	if _, err := io.ReadFull(in.r, head); err != nil {
		return 0, 0, torn(err)
	}
	kind, count = section(head[0]), le.Uint32(head[4:])
	if kind >= sections || count == 0 || count > blockLimit || kind == headSection && in.totals[headSection] > 0 {
		return 0, 0, fmt.Errorf("%w: a block of kind %d with %d entries", ErrSnapshot, kind, count)
	}
	size := blockHead + int(count)*entrySize[kind] + 4
	if size > len(in.block) {
		return 0, 0, fmt.Errorf("%w: %d entries of kind %d", ErrSnapshot, count, kind)
	}
	if _, err := io.ReadFull(in.r, in.block[blockHead:size]); err != nil {
		return 0, 0, torn(err)
	}
	if le.Uint32(in.block[size-4:]) != checksum(in.block[:size-4]) {
		return 0, 0, fmt.Errorf("%w: wrong checksum", ErrSnapshot)
	}
	in.totals[kind] += uint64(count)
	in.entries = in.block[blockHead : size-4]
	return kind, count, nil
}

// end checks the last block and that there is nothing behind it.
func (in *snapshotReader) end() error {
	for i, n := range in.totals {
		if got := in.entries.u64(); got != n {
			return fmt.Errorf("%w: %d entries of kind %d, want %d", ErrSnapshot, n, i, got)
		}
	}
	if n, err := in.r.Read(in.block[:1]); n != 0 || !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("%w: more behind its end", ErrSnapshot), err)
	}
	return nil
}

// torn names the end of a file that comes too early.
func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut short", ErrSnapshot)
	}
	return err
}
