package outline

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// version is the first octet of an encoded Outline. Readers know the versions
// that were; an unknown one is an error, and the outline is made anew.
const version = 1

// ErrFormat is given by Decode for octets that are no outline of a version we
// know.
var ErrFormat = errors.New("outline: unknown format")

// maxDepth bounds parts in parts. It is above what ReadMIME gives.
const maxDepth = 128

// head is the length of what stands before the fields: the version octet and
// the checksum of all behind it.
const head = 1 + 4

// Append appends the encoded Outline to b. The format: the version octet, a
// checksum (CRC-32C, big-endian) of what follows, then the fields in the order
// of the types; numbers are varints, strings and lists have their length before
// them.
func (o *Outline) Append(b []byte) []byte {
	start := len(b)
	w := writer(append(b, version, 0, 0, 0, 0))
	w.envelope(&o.Envelope)
	w.strings(o.References)
	w.time(o.Sent)
	w.string(o.Preview)
	if o.tree != "" {
		w = append(w, o.tree...)
	} else {
		w.part(o.Root())
	}
	binary.BigEndian.PutUint32(w[start+1:], checksum(w[start+head:]))
	return w
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Decode reads what Append wrote. Any other octets give ErrFormat, and take
// memory in proportion to their number at most. b is not kept. The parts are
// left encoded until Root or Section asks for them: who sorts many messages
// needs none.
func Decode(b []byte) (*Outline, error) {
	if len(b) < head || b[0] != version || binary.BigEndian.Uint32(b[1:]) != checksum(b[head:]) {
		return nil, ErrFormat
	}
	o := &Outline{}
	r := reader{in: string(b[head:])}
	r.envelope(&o.Envelope)
	o.References = r.strings()
	o.Sent = r.time()
	o.Preview = r.string()
	if r.bad || len(r.in) < minPart {
		return nil, ErrFormat
	}
	o.tree = r.in
	return o, nil
}

// noMIME is the bit of Part.NoMIME beside the kind.
const noMIME = 8

// maxSeconds is more than ten thousand years.
const maxSeconds = 1 << 40

type writer []byte

func (w *writer) number(n int64) { *w = binary.AppendUvarint(*w, uint64(n)) }

func (w *writer) string(s string) {
	w.number(int64(len(s)))
	*w = append(*w, s...)
}

func (w *writer) strings(list []string) {
	w.number(int64(len(list)))
	for _, s := range list {
		w.string(s)
	}
}

// given writes a string that may be missing.
func (w *writer) given(s string, there bool) {
	if !there {
		w.number(0)
		return
	}
	w.number(int64(len(s)) + 1)
	*w = append(*w, s...)
}

// time writes seconds and zone; zero for no time.
func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.number(0)
		return
	}
	_, offset := t.Zone()
	w.number(1)
	*w = binary.AppendVarint(*w, t.Unix())
	*w = binary.AppendVarint(*w, int64(offset))
}

func (w *writer) params(list []Param) {
	w.number(int64(len(list)))
	for _, p := range list {
		w.string(p.Name)
		w.string(p.Value)
	}
}

func (w *writer) envelope(e *Envelope) {
	w.given(e.Date, e.HasDate)
	w.given(e.Subject, e.HasSubject)
	for _, s := range []string{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		w.string(s)
	}
	w.given(e.InReplyTo, e.HasInReplyTo)
	w.given(e.MessageID, e.HasMessageID)
}

func (w *writer) part(p *Part) {
	kind := int64(p.Kind)
	if p.NoMIME {
		kind |= noMIME
	}
	w.number(kind)
	w.string(p.Type)
	w.string(p.Subtype)
	w.params(p.Params)
	w.given(p.ID.Value, p.ID.Given)
	w.given(p.Description.Value, p.Description.Given)
	w.string(p.Encoding)
	w.given(p.MD5.Value, p.MD5.Given)
	w.string(p.Disposition)
	w.params(p.DispParams)
	w.strings(p.Language)
	w.given(p.Location.Value, p.Location.Given)
	for _, n := range []int64{p.HeaderOffset, p.HeaderSize, p.BodyOffset, p.BodySize, p.Lines} {
		w.number(n)
	}
	if p.Kind == Message {
		w.envelope(p.Envelope)
	}
	w.number(int64(len(p.Children)))
	for i := range p.Children {
		w.part(&p.Children[i])
	}
}

// reader takes its input apart; what it gives are pieces of it. After the
// first mistake all it gives is zero.
type reader struct {
	in  string
	bad bool
}

func (r *reader) fail() {
	r.in, r.bad = "", true
}

// number reads a number that is not negative.
func (r *reader) number() int64 {
	var n uint64
	for i := range len(r.in) {
		c := r.in[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.in = r.in[i+1:]
			return int64(n)
		}
		if i == 8 { // 63 bits
			break
		}
	}
	r.fail()
	return 0
}

func (r *reader) signed() int64 {
	n := r.number()
	return n>>1 ^ -(n & 1)
}

func (r *reader) take(n int64) string {
	if n > int64(len(r.in)) {
		r.fail()
		return ""
	}
	s := r.in[:n]
	r.in = r.in[n:]
	return s
}

func (r *reader) string() string { return r.take(r.number()) }

func (r *reader) given() (string, bool) {
	n := r.number()
	if n == 0 {
		return "", false
	}
	return r.take(n - 1), true
}

func (r *reader) text() Text {
	s, there := r.given()
	return Text{s, there}
}

// count reads the length of a list whose members take at least size octets
// each.
func (r *reader) count(size int64) int {
	n := r.number()
	if n > int64(len(r.in))/size {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) strings() []string {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.string()
	}
	return list
}

func (r *reader) time() time.Time {
	if r.number() == 0 {
		return time.Time{}
	}
	seconds, offset := r.signed(), r.signed()
	if max(seconds, -seconds) > maxSeconds || max(offset, -offset) > 25*3600 {
		r.fail()
	}
	t := time.Unix(seconds, 0).UTC()
	if offset != 0 {
		t = t.In(time.FixedZone("", int(offset)))
	}
	return t
}

func (r *reader) params() []Param {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	list := make([]Param, n)
	for i := range list {
		list[i] = Param{r.string(), r.string()}
	}
	return list
}

func (r *reader) envelope(e *Envelope) {
	e.Date, e.HasDate = r.given()
	e.Subject, e.HasSubject = r.given()
	e.From, e.Sender, e.ReplyTo = r.string(), r.string(), r.string()
	e.To, e.Cc, e.Bcc = r.string(), r.string(), r.string()
	e.InReplyTo, e.HasInReplyTo = r.given()
	e.MessageID, e.HasMessageID = r.given()
}

// minPart is the least an encoded part takes, in octets.
const minPart = 18

func (r *reader) part(p *Part, depth int) {
	kind := r.number()
	p.NoMIME = kind&noMIME != 0
	if kind &^= noMIME; kind > int64(Message) || depth > maxDepth {
		r.fail()
		return
	}
	p.Kind = Kind(kind)
	p.Type, p.Subtype, p.Params = r.string(), r.string(), r.params()
	p.ID, p.Description, p.Encoding, p.MD5 = r.text(), r.text(), r.string(), r.text()
	p.Disposition, p.DispParams = r.string(), r.params()
	p.Language, p.Location = r.strings(), r.text()
	p.HeaderOffset, p.HeaderSize = r.number(), r.number()
	p.BodyOffset, p.BodySize, p.Lines = r.number(), r.number(), r.number()
	if p.Kind == Message {
		p.Envelope = &Envelope{}
		r.envelope(p.Envelope)
	}
	n := r.count(minPart)
	if p.Kind == Message && n != 1 || p.Kind == Leaf && n != 0 {
		r.fail()
		return
	}
	if n > 0 {
		p.Children = make([]Part, n)
		for i := range p.Children {
			r.part(&p.Children[i], depth+1)
		}
	}
}
