package fulltext

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// errDamaged means that the index is not as it was written.
var errDamaged = errors.New("full-text index is damaged")

// kind is one of the three rows of a block.
type kind int

const (
	words  kind = iota // a line feed, then each word with a line feed behind it, in the order of octets
	docs               // for each word: octets that follow; for each message: distance from the UID before, and number of places
	places             // for each word: octets that follow; for each message: distances of its places
	kinds
)

// What a block holds before it is closed, in octets.
var blockSize = [kinds]int{16 << 10, 32 << 10, 64 << 10}

// unread marks messages whose text is not in the index, or not all of it, as
// if they had this word: no text has a control character.
const unread = "\x01"

// block is a stretch of the words of a segment with all that is known of them.
type block [kinds][]byte

// seal gives data as it is stored, with a checksum.
func seal(data []byte) []byte {
	return binary.LittleEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
}

// unseal gives what seal was given.
func unseal(data []byte) ([]byte, error) {
	n := len(data) - 4
	if n < 0 || crc32.ChecksumIEEE(data[:n]) != binary.LittleEndian.Uint32(data[n:]) {
		return nil, fmt.Errorf("%w: checksum", errDamaged)
	}
	return data[:n], nil
}

// add adds a word and its messages, each with its places, and tells whether
// the block is large enough.
func (b *block) add(word string, list *postings) (full bool) {
	if len(b[words]) == 0 {
		b[words] = append(b[words], '\n')
	}
	b[words] = append(append(b[words], word...), '\n')
	for k, data := range [...][]byte{docs: list.docs, places: list.places} {
		if kind(k) != words {
			b[k] = append(binary.AppendUvarint(b[k], uint64(len(data))), data...)
		}
	}
	for k, size := range blockSize {
		full = full || len(b[k]) >= size
	}
	return full
}

// postings are the messages that have a word, as a block holds them.
type postings struct {
	docs, places []byte
	last         uint32 // UID
}

func (p *postings) reset() { p.docs, p.places, p.last = p.docs[:0], p.places[:0], 0 }

// add adds the places of one more message; UIDs and places ascend.
func (p *postings) add(uid uint32, at []uint32) {
	// Most have one place: that takes a bit, not an octet.
	if distance := uint64(uid-p.last) << 1; len(at) == 1 {
		p.docs = binary.AppendUvarint(p.docs, distance|1)
	} else {
		p.docs = binary.AppendUvarint(p.docs, distance)
		p.docs = binary.AppendUvarint(p.docs, uint64(len(at)))
	}
	p.last = uid
	before := uint32(0)
	for _, a := range at {
		p.places = binary.AppendUvarint(p.places, uint64(a-before))
		before = a
	}
}

// records walks over the words of docs or places.
type records []byte

// next gives the record of the next word.
func (r *records) next() ([]byte, error) {
	n, size := binary.Uvarint(*r)
	if size <= 0 || n > uint64(len(*r)-size) {
		return nil, fmt.Errorf("%w: length", errDamaged)
	}
	rec := (*r)[size : size+int(n)]
	*r = (*r)[size+int(n):]
	return rec, nil
}

// skip passes over n words.
func (r *records) skip(n int) error {
	for range n {
		if _, err := r.next(); err != nil {
			return err
		}
	}
	return nil
}

// numbers walks over the numbers of a record. After the last one, or a wrong
// one, bad tells.
type numbers struct {
	rest []byte
	bad  bool
}

func (n *numbers) more() bool { return len(n.rest) > 0 && !n.bad }

func (n *numbers) next() uint64 {
	v, size := binary.Uvarint(n.rest)
	if size <= 0 || v >= 1<<33 {
		n.bad = true
		return 0
	}
	n.rest = n.rest[size:]
	return v
}

// eachDoc calls yield for every message of a docs record.
func eachDoc(record []byte, yield func(uid, count uint32)) error {
	n := numbers{rest: record}
	uid := uint32(0)
	for n.more() {
		v, count := n.next(), uint64(1)
		if uid += uint32(v >> 1); v&1 == 0 {
			count = n.next()
		}
		if !n.bad {
			yield(uid, uint32(count))
		}
	}
	return n.err()
}

// eachPlaces calls yield for every message of a word with its places, which
// are valid only then.
func eachPlaces(docs, places []byte, yield func(uid uint32, at []uint32)) error {
	n := numbers{rest: places}
	var at []uint32
	err := eachDoc(docs, func(uid, count uint32) {
		if n.bad = n.bad || int64(count) > int64(len(n.rest)); n.bad {
			return
		}
		at = at[:0]
		place := uint32(0)
		for range count {
			place += uint32(n.next())
			at = append(at, place)
		}
		if !n.bad {
			yield(uid, at)
		}
	})
	if err == nil {
		err = n.err()
	}
	return err
}

func (n *numbers) err() error {
	if n.bad {
		return fmt.Errorf("%w: number", errDamaged)
	}
	return nil
}

// needle is a word, or part of one, as it is looked for in a row of words.
type needle []byte

// newNeedle gives the needle for words that have word in them, or begin with
// it, end with it, or are it.
func newNeedle(word string, begin, end bool) needle {
	n := needle{}
	if begin {
		n = append(n, '\n')
	}
	n = append(n, word...)
	if end {
		n = append(n, '\n')
	}
	return n
}

// find calls yield with the number of each word of row that fits.
func (n needle) find(row []byte, yield func(word int)) {
	word, from := -1, 0 // word is that of the line feeds before from
	for from < len(row) {
		i := bytes.Index(row[from:], n)
		if i < 0 {
			return
		}
		at := from + i
		if n[0] == '\n' {
			at++
		}
		word += bytes.Count(row[from:at], []byte{'\n'})
		yield(word)
		next := bytes.IndexByte(row[at:], '\n')
		if next < 0 {
			return
		}
		from = at + next // its line feed begins the next word
	}
}
