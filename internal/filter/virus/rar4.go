package virus

import (
	"strings"
	"unicode/utf16"
)

// block4 reads one block of the format before RAR 5.0.
func (v *rarFile) block4(offset int64) (length int64, last bool, err error) {
	c := v.at(offset, 32+8+maxPathRAR4)
	c.uint16() // checksum
	kind, flags, size := c.octet(), c.uint16(), c.uint16()
	if c.bad || size < 7 {
		return 0, false, errRAR
	}
	length = int64(size)
	data := int64(0)
	if kind == 0x74 || flags&0x8000 != 0 {
		data = int64(c.uint32())
	}
	switch kind {
	case 0x73:
		if flags&0x80 != 0 {
			err = errEncrypted
		}
	case 0x74:
		m := rarMember{encrypted: flags&4 != 0, split: flags&3 != 0, offset: offset + length, size: data}
		err = v.file4(c, &m, flags)
		data = m.size
	case 0x7b:
		last = true
	}
	return length + data, last, err
}

const maxPathRAR4 = 8 << 10 // octets of a name in both forms

func (v *rarFile) file4(c *cursor, m *rarMember, flags uint16) error {
	c.take(4 + 1 + 4 + 4 + 1) // size, system, checksum, time, version
	m.stored = c.octet() == 0x30
	n := c.uint16()
	c.uint32() // attributes
	if flags&0x100 != 0 {
		m.size |= int64(c.uint32()) << 32
		c.uint32()
	}
	name := c.take(uint64(n))
	if c.bad || m.size < 0 {
		return errRAR
	}
	plain, packed, two := strings.Cut(string(name), "\x00")
	m.names = []string{tail(plain)}
	if flags&0x200 != 0 && two {
		m.names = append(m.names, tail(unicodeName(plain, packed)))
	}
	switch {
	case flags&0xe0 == 0xe0: // a directory
		return nil
	case !v.entry():
		return errLimit
	}
	v.members = append(v.members, *m)
	return nil
}

// unicodeName gives a name in its second form, which is packed: two bits for each
// letter tell whether it is given by its low octet, by that and the high octet that
// most have, or whole; or for how many letters the plain name serves.
func unicodeName(plain, packed string) string {
	c := cursor{data: []byte(packed)}
	high := uint16(c.octet()) << 8
	var letters []uint16
	var how byte
	for bits := 0; !c.bad && len(letters) < len(plain); bits -= 2 {
		if bits == 0 {
			how, bits = c.octet(), 8
		}
		switch how >> 6 {
		case 0:
			letters = append(letters, uint16(c.octet()))
		case 1:
			letters = append(letters, uint16(c.octet())|high)
		case 2:
			letters = append(letters, c.uint16())
		case 3:
			letters = append(letters, plainLetters(&c, plain[len(letters):], high)...)
		}
		how <<= 2
	}
	return strings.TrimRight(string(utf16.Decode(letters)), "\x00")
}

// plainLetters takes letters from the plain name, moved to where the high octet says.
func plainLetters(c *cursor, plain string, high uint16) (letters []uint16) {
	n := c.octet()
	moved := n&0x80 != 0
	var by byte
	if moved {
		by = c.octet()
	}
	for i := range min(int(n&0x7f)+2, len(plain)) {
		letter := uint16(plain[i])
		if moved {
			letter = uint16(plain[i]+by) | high
		}
		letters = append(letters, letter)
	}
	return letters
}
