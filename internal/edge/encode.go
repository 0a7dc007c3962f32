package edge

import (
	"encoding/binary"
	"math"
)

// How the pieces of a snapshot are written and read. Each append has a read
// that takes the fields in the same order.

var le = binary.LittleEndian

// cursor reads numbers from a block whose size was checked.
type cursor []byte

func (c *cursor) skip(n int) []byte {
	b := (*c)[:n]
	*c = (*c)[n:]
	return b
}

func (c *cursor) u8() uint8   { return c.skip(1)[0] }
func (c *cursor) u16() uint16 { return le.Uint16(c.skip(2)) }
func (c *cursor) u32() uint32 { return le.Uint32(c.skip(4)) }
func (c *cursor) u64() uint64 { return le.Uint64(c.skip(8)) }
func (c *cursor) i64() int64  { return int64(c.u64()) }

// append writes the 40 octets of an entry's body.
func (s *state) append(b []byte) []byte {
	b = le.AppendUint64(b, s.bits)
	for _, v := range [4]Time{s.last, s.pen, s.timeA, s.timeB} {
		b = le.AppendUint32(b, uint32(v))
	}
	for _, v := range [7]uint16{s.prinA, s.prinB, uint16(s.nats), s.ham, s.first, s.hour, s.bad} {
		b = le.AppendUint16(b, v)
	}
	return append(b, s.flags, s.since)
}

func (s *state) read(c *cursor) {
	s.bits = c.u64()
	for _, v := range [4]*Time{&s.last, &s.pen, &s.timeA, &s.timeB} {
		*v = Time(c.u32())
	}
	s.prinA, s.prinB, s.nats = c.u16(), c.u16(), int16(c.u16())
	for _, v := range [4]*uint16{&s.ham, &s.first, &s.hour, &s.bad} {
		*v = c.u16()
	}
	s.flags, s.since = c.u8(), c.u8()
}

// append writes a network with its key, 24 octets.
func (n *network) append(b []byte) []byte {
	b = le.AppendUint64(b, n.key)
	b = le.AppendUint32(b, math.Float32bits(n.bad))
	b = le.AppendUint32(b, math.Float32bits(n.good))
	b = le.AppendUint32(b, uint32(n.last))
	return le.AppendUint16(le.AppendUint16(b, n.unknown), n.sources)
}

// read reads what is behind the key.
func (n *network) read(c *cursor) {
	n.bad, n.good = math.Float32frombits(c.u32()), math.Float32frombits(c.u32())
	n.last, n.unknown, n.sources = Time(c.u32()), c.u16(), c.u16()
}

// append writes a level, 20 octets.
func (l *level) append(b []byte) []byte {
	b = le.AppendUint64(b, uint64(l.bad.Load()))
	b = le.AppendUint64(b, uint64(l.good.Load()))
	return le.AppendUint32(b, l.last.Load())
}

// read reads a level. Counts that decay would never have left are none.
func (l *level) read(c *cursor) {
	l.bad.Store(sane(c.i64()))
	l.good.Store(sane(c.i64()))
	l.last.Store(c.u32())
}

func sane(n int64) int64 { return min(max(n, 0), math.MaxInt32*parts) }

func (l *level) copy(o *level) {
	l.bad.Store(o.bad.Load())
	l.good.Store(o.good.Load())
	l.last.Store(o.last.Load())
}

// appendHead writes what there is once in an engine.
func (e *Engine) appendHead(b []byte, now Time) []byte {
	b = le.AppendUint64(le.AppendUint64(b, e.secret[0]), e.secret[1])
	b = le.AppendUint32(b, uint32(now))
	for _, n := range [4]int{e.sizes.Sources, e.sizes.Identities, e.sizes.Networks, e.sizes.Realms} {
		b = le.AppendUint64(b, uint64(n))
	}
	b = e.second.append(e.root.append(b))
	b = le.AppendUint64(b, uint64(e.disclosure.full.Load()))
	b = le.AppendUint64(b, uint64(e.ration.full.Load()))
	for i := range e.counts {
		b = le.AppendUint64(b, uint64(e.counts[i].Load()))
	}
	return e.weather.append(b)
}

// readHead reads all of it but the sizes, which are for readSizes.
func (e *Engine) readHead(c *cursor) (saved Time) {
	e.secret = [2]uint64{c.u64(), c.u64()}
	saved = Time(c.u32())
	c.skip(4 * 8)
	e.root.read(c)
	e.second.read(c)
	// A budget is back at its fullest within an hour, whoever wrote the file.
	soon := int64(saved+saveTime) * parts
	e.disclosure.full.Store(min(max(c.i64(), 0), soon))
	e.ration.full.Store(min(max(c.i64(), 0), soon))
	for i := range e.counts {
		e.counts[i].Store(max(c.i64(), 0))
	}
	e.weather.read(c)
	return saved
}

// readSizes reads how large the engine was that wrote a head.
func readSizes(head cursor) Sizes {
	head.skip(16 + 4)
	size := func() int { return int(min(head.u64(), 1<<40)) }
	return Sizes{Sources: size(), Identities: size(), Networks: size(), Realms: min(size(), 1<<16)}
}
