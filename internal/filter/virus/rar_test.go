package virus

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
)

// There is no free program that makes RAR files, so they are put together here.

// rarEntry is a file in a RAR file.
type rarEntry struct {
	name    string
	content []byte // as it stands in the archive
	size    uint64 // unpacked; 0: as it stands there
	how     uint64 // version, solid, method and dictionary of RAR 5; 0: stored
	extra   []byte
}

func block5(kind uint64, fields, extra, data []byte) []byte {
	body := binary.AppendUvarint(nil, kind)
	body = binary.AppendUvarint(body, 3)
	body = binary.AppendUvarint(body, uint64(len(extra)))
	body = binary.AppendUvarint(body, uint64(len(data)))
	body = slices.Concat(body, fields, extra)
	body = append(binary.AppendUvarint(nil, uint64(len(body))), body...)
	return slices.Concat(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(body)), body, data)
}

func rar5(main uint64, entries ...rarEntry) []byte {
	b := slices.Concat([]byte("Rar!\x1a\x07\x01\x00"), block5(1, binary.AppendUvarint(nil, main), nil, nil))
	for _, e := range entries {
		if e.size == 0 {
			e.size = uint64(len(e.content))
		}
		var f []byte
		for _, n := range []uint64{0, e.size, 0x20, e.how, 0, uint64(len(e.name))} {
			f = binary.AppendUvarint(f, n)
		}
		b = append(b, block5(2, append(f, e.name...), e.extra, e.content)...)
	}
	return append(b, block5(5, []byte{0}, nil, nil)...)
}

// bitWriter is what the packed blocks of RAR 5 are written with, the high bit first.
type bitWriter struct {
	data []byte
	n    int
}

func (b *bitWriter) put(value uint64, n int) {
	for i := n - 1; i >= 0; i-- {
		if b.n%8 == 0 {
			b.data = append(b.data, 0)
		}
		b.data[b.n/8] |= byte(value>>i&1) << (7 - b.n%8)
		b.n++
	}
}

// packed5 frames the one block that a file is packed into.
func packed5(b bitWriter) []byte {
	flags := byte((b.n-1)%8) | 2<<3 | 0x40 | 0x80
	size := []byte{byte(len(b.data)), byte(len(b.data) >> 8), byte(len(b.data) >> 16)}
	return slices.Concat([]byte{flags, 0x5a ^ flags ^ size[0] ^ size[1] ^ size[2]}, size, b.data)
}

// literals5 packs without packing: each letter has a code of its own eight bits.
func literals5(content []byte) []byte {
	var b bitWriter
	for i := range 20 { // of the codes for lengths, 0 and 8 are used
		b.put(map[int]uint64{0: 1, 8: 1}[i], 4)
	}
	for i := range 306 + 64 + 16 + 44 {
		b.put(map[bool]uint64{true: 1}[i < 256], 1)
	}
	for _, c := range content {
		b.put(uint64(c), 8)
	}
	return packed5(b)
}

// zeros5 packs zeros into 11 bits for 4097 of them.
func zeros5(n int) []byte {
	var b bitWriter
	for i := range 20 {
		b.put(map[int]uint64{0: 1, 1: 1}[i], 4)
	}
	for i := range 306 + 64 + 16 + 44 { // a zero, the longest match, the nearest place
		b.put(map[int]uint64{0: 1, 305: 1, 306: 1}[i], 1)
	}
	b.put(0, 1)
	for range n / 4097 {
		b.put(0b1_111111111_0, 11)
	}
	return packed5(b)
}

const method5 = 3 << 7 // with a dictionary of 128 KB

func TestRAR5(t *testing.T) {
	program := []byte("MZ not a program")
	scr := rarEntry{name: "invoice.pdf.scr", content: program}
	nested := zipped(t, map[string][]byte{scr.name: program})
	for _, test := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"stored.rar", rar5(0, scr), inside},
		{"stored nested.rar", rar5(0, rarEntry{name: "a.dat", content: nested}), inside},
		{"com.rar", rar5(0, rarEntry{name: "example.com", content: []byte("text")}), ""},
		{"packed.rar", rar5(0, rarEntry{name: "a.dat", content: literals5(nested), size: uint64(len(nested)), how: method5}), inside},
		{"packed com.rar", rar5(0, rarEntry{name: "example.com", content: literals5([]byte("text")), size: 4, how: method5}), ""},
		{"solid.rar", rar5(4, rarEntry{name: "a", content: literals5([]byte("text")), size: 4, how: method5},
			rarEntry{name: "b", content: literals5(nested), size: uint64(len(nested)), how: method5 | 0x40}), inside},
		{"giant.rar", rar5(0, rarEntry{name: "a", content: literals5([]byte("text")), size: 1 << 40, how: method5 | 15<<10}, scr), inside + " ARCHIVE_LIMIT"},
		{"giant, since 7.0.rar", rar5(0, rarEntry{name: "a", content: literals5([]byte("text")), size: 1 << 40, how: method5 | 1 | 31<<10}, scr), inside + " ARCHIVE_LIMIT"},
		{"nonsense.rar", rar5(0, rarEntry{name: "a", content: []byte("nonsense"), size: 100, how: method5}, scr), inside + " ARCHIVE_DAMAGED"},
		{"encrypted.rar", rar5(0, rarEntry{name: "a", content: []byte("x"), extra: append([]byte{40, 1}, make([]byte, 39)...)}), "ARCHIVE_ENCRYPTED"},
		{"hidden.rar", append([]byte("Rar!\x1a\x07\x01\x00"), block5(4, make([]byte, 20), nil, nil)...), "ARCHIVE_ENCRYPTED"},
		{"truncated.rar", rar5(0, scr, rarEntry{name: "a", content: make([]byte, 100)})[:100], inside + " ARCHIVE_DAMAGED"},
	} {
		finds(t, test.name, test.content, test.want)
	}
}

func block4(kind byte, flags uint16, fields, data []byte) []byte {
	h := []byte{kind}
	h = binary.LittleEndian.AppendUint16(h, flags)
	h = binary.LittleEndian.AppendUint16(h, uint16(7+len(fields)))
	h = append(h, fields...)
	sum := binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE(h)))
	return slices.Concat(sum, h, data)
}

func rar4(flags uint16, method byte, name string, content []byte) []byte {
	f := binary.LittleEndian.AppendUint32(nil, uint32(len(content)))
	f = binary.LittleEndian.AppendUint32(f, uint32(len(content)))
	f = append(f, 2)
	f = binary.LittleEndian.AppendUint32(f, crc32.ChecksumIEEE(content))
	f = append(f, 0, 0, 0, 0, 29, method)
	f = binary.LittleEndian.AppendUint16(f, uint16(len(name)))
	f = append(f, 0x20, 0, 0, 0)
	f = append(f, name...)
	return slices.Concat([]byte("Rar!\x1a\x07\x00"), block4(0x73, 0, make([]byte, 6), nil), block4(0x74, 0x8000|flags, f, content), block4(0x7b, 0x4000, nil, nil))
}

func TestRAR4(t *testing.T) {
	nested := zipped(t, map[string][]byte{"invoice.pdf.scr": []byte("MZ not a program")})
	for _, test := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"stored.rar", rar4(0, 0x30, "a.dat", nested), inside},
		{"named.rar", rar4(0, 0x33, "invoice.pdf.scr", []byte("packed")), inside + " ARCHIVE_CLOSED"},
		{"encrypted.rar", rar4(4, 0x33, "a", []byte("x")), "ARCHIVE_ENCRYPTED"},
		{"unicode.rar", rar4(0x200, 0x30, "?????\x00\x00\x80\x68\x88.sc\x00r", []byte("x")), "ATTACHMENT_RUNS"},
		{"plain.rar", rar4(0x200, 0x30, "?.scr\x00\x00\xb0\x68\x88\x02", []byte("x")), "ATTACHMENT_RUNS"},
		{"hidden.rar", slices.Concat([]byte("Rar!\x1a\x07\x00"), block4(0x73, 0x80, make([]byte, 6), nil)), "ARCHIVE_ENCRYPTED"},
	} {
		finds(t, test.name, test.content, test.want)
	}
	if got := unicodeName("?.scr", "\x00\xb0\x68\x88\x02"); got != "表.scr" {
		t.Errorf("%q", got)
	}
	if got := unicodeName("?a.scr", "\x30\xb0\x68\x88\x80\x01\x02"); !strings.HasPrefix(got, "表") {
		t.Errorf("%q", got)
	}
}
