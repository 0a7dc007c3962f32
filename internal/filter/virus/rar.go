package virus

import (
	"bytes"
	"errors"
	"io"

	"github.com/nwaples/rardecode/v2"
)

// rar looks into a RAR file. Its headers are read here, so that no name is lost
// by what cannot be unpacked.
func (a *attachments) rar(name string, f io.ReaderAt, size int64, depth int) error {
	v := &rarFile{f: f, size: size, entry: a.entry}
	err := v.walk()
	for _, m := range v.members {
		for _, n := range m.names {
			a.name(n, []byte{}) // first of all, lest what comes be in the way
		}
		if m.encrypted {
			a.say("ARCHIVE_ENCRYPTED", quoted(name)+" holds "+quoted(m.names[0]))
		}
	}
	switch {
	case errors.Is(err, errEncrypted):
		a.say("ARCHIVE_ENCRYPTED", quoted(name)+" hides even the names of its files")
		return nil
	case err != nil:
		err = a.damaged(name, err, depth+1)
	}
	look := a.rarStored
	if v.five && v.unpackable() {
		look = a.rarUnpacked
	}
	return errors.Join(err, look(name, v, depth))
}

// rarStored looks at the files that are stored as they are. Those that older
// programs have packed stay closed: to unpack them may take 340 MB, and the library
// cannot be told to take less.
func (a *attachments) rarStored(name string, v *rarFile, depth int) error {
	for _, m := range v.members {
		if m.stored && !m.encrypted && !m.split {
			if err := a.unseen(m.names, a.counted(io.NewSectionReader(v.f, m.offset, m.size)), depth+1); err != nil {
				return err
			}
			continue
		}
		for _, n := range m.names {
			a.name(n, nil)
		}
		if !m.encrypted {
			a.say("ARCHIVE_CLOSED", quoted(m.names[0])+" is packed in a way that is not looked into")
		}
	}
	return nil
}

// rarUnpacked looks at all files that are not encrypted.
func (a *attachments) rarUnpacked(name string, v *rarFile, depth int) error {
	dictionary, solid := v.needs()
	done, err := a.dictionary(name, 2*dictionary) // as much for what is undone after unpacking
	if err == nil {
		defer done()
		err = a.rarEach(v, dictionary, solid, depth)
	}
	if err == nil {
		return nil
	}
	for _, m := range v.members {
		for _, n := range m.names {
			a.name(n, nil)
		}
	}
	return a.damaged(name, err, depth+1)
}

func (a *attachments) rarEach(v *rarFile, dictionary int64, solid bool, depth int) error {
	// The library unpacks the rest of a file by itself, and so the time is looked at
	// where it reads.
	in := &timed{a.ctx, io.NewSectionReader(v.f, 0, v.size)}
	r, err := rardecode.NewReader(in, rardecode.MaxDictionarySize(max(dictionary, minWindowRAR)), rardecode.SkipCheck)
	if err != nil {
		return err
	}
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.IsDir || h.Encrypted {
			continue
		}
		member := a.counted(r)
		if err := a.unseen([]string{tail(h.Name)}, member, depth+1); err != nil {
			return err
		}
		if !solid {
			continue
		}
		if _, err := io.Copy(io.Discard, member); err != nil {
			return err
		}
	}
}

const (
	minWindowRAR = 256 << 10
	maxHeaderRAR = 2 << 20
	maxNameRAR   = 1 << 10 // octets kept of a name, from its end
)

func tail(name string) string { return name[max(0, len(name)-maxNameRAR):] }

// rarFile is what the headers of a RAR file tell.
type rarFile struct {
	f       io.ReaderAt
	size    int64
	entry   func() bool // counts files; false ends it
	five    bool        // the format since RAR 5.0
	members []rarMember
}

type rarMember struct {
	names         []string // at least one
	encrypted     bool
	stored, solid bool
	split         bool // over several files
	offset, size  int64
	unpacked      int64
	dictionary    int64
}

var errRAR = errors.New("not a proper file of type RAR")

// unpackable tells whether there is anything to unpack.
func (v *rarFile) unpackable() bool {
	for _, m := range v.members {
		if !m.stored && !m.encrypted {
			return true
		}
	}
	return false
}

// needs gives the largest dictionary.
func (v *rarFile) needs() (dictionary int64, solid bool) {
	for _, m := range v.members {
		need := m.dictionary
		if m.stored || m.encrypted {
			need = 0
		} else if !m.solid {
			need = min(need, max(m.unpacked, minWindowRAR))
		}
		dictionary, solid = max(dictionary, need), solid || m.solid
	}
	return dictionary, solid
}

// walk reads all headers.
func (v *rarFile) walk() error {
	mark := make([]byte, 8)
	if _, err := v.f.ReadAt(mark, 0); err != nil {
		return errRAR
	}
	next, offset := v.block4, int64(7)
	if v.five = bytes.Equal(mark, []byte("Rar!\x1a\x07\x01\x00")); v.five {
		next, offset = v.block5, 8
	}
	for offset < v.size {
		length, last, err := next(offset)
		if err != nil || last {
			return err
		}
		if length <= 0 || length > v.size-offset {
			return errTruncated
		}
		offset += length
	}
	if v.five {
		return errTruncated // it has a block that says that it ends
	}
	return nil
}

// at gives n octets of the file; fewer make the cursor bad where they are missed.
func (v *rarFile) at(offset int64, n int) *cursor {
	b := make([]byte, max(0, min(int64(n), v.size-offset)))
	n, _ = v.f.ReadAt(b, offset)
	return &cursor{data: b[:n]}
}

// block5 reads one block; length is that of its header and what belongs to it.
func (v *rarFile) block5(offset int64) (length int64, last bool, err error) {
	c := v.at(offset, 16)
	c.uint32() // checksum
	before := len(c.data)
	n := c.multibyte()
	start := 4 + int64(before-len(c.data))
	if c.bad || n > maxHeaderRAR {
		return 0, false, errRAR
	}
	c = v.at(offset+start, int(n))
	kind, flags := c.multibyte(), c.multibyte()
	var extra, data uint64
	if flags&1 != 0 {
		extra = c.multibyte()
	}
	if flags&2 != 0 {
		data = c.multibyte()
	}
	if c.bad || extra > uint64(len(c.data)) || data > 1<<62 {
		return 0, false, errRAR
	}
	switch length = start + int64(n) + int64(data); kind {
	case 2:
		m := rarMember{offset: offset + start + int64(n), size: int64(data), split: flags&0x18 != 0}
		err = v.file5(c, &m, int(extra))
	case 4:
		err = errEncrypted
	case 5:
		last = true
	}
	return length, last, err
}

func (v *rarFile) file5(c *cursor, m *rarMember, extra int) error {
	records := cursor{data: c.data[len(c.data)-extra:]}
	flags := c.multibyte()
	m.unpacked = int64(min(c.multibyte(), 1<<62))
	c.multibyte() // attributes
	for _, bit := range []uint64{2, 4} {
		if flags&bit != 0 {
			c.uint32()
		}
	}
	how := c.multibyte()
	c.multibyte() // system
	m.names = []string{tail(string(c.take(c.multibyte())))}
	if flags&8 != 0 {
		m.unpacked = 1 << 62 // not known
	}
	m.stored, m.solid = how>>7&7 == 0, how&0x40 != 0
	if m.dictionary = 128 << 10 << (how >> 10 & 0x1f); how&0x3f > 0 { // since RAR 7.0 with a fraction
		m.dictionary += m.dictionary / 32 * int64(how>>15&0x1f)
	}
	for len(records.data) > 0 && !records.bad {
		record := cursor{data: records.take(records.multibyte())}
		m.encrypted = m.encrypted || record.multibyte() == 1
	}
	switch {
	case c.bad:
		return errRAR
	case flags&1 != 0: // a directory
		return nil
	case !v.entry():
		return errLimit
	}
	v.members = append(v.members, *m)
	return nil
}
