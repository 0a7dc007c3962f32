package blob

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

const (
	recordMagic  = "mgb1"
	headerSize   = 20
	segmentMagic = "migiwa segment 1"
	nameLength   = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newName gives a name of 60 random bits.
func newName() string { return strings.ToLower(rand.Text()[:nameLength]) }

// putHeader writes the header of a record of file name.
func putHeader(to []byte, name string, sum uint32, length int64) {
	copy(to, recordMagic)
	binary.LittleEndian.PutUint32(to[4:], sum)
	binary.LittleEndian.PutUint64(to[8:], uint64(length))
	binary.LittleEndian.PutUint32(to[16:], headerSum(name, to))
}

func headerSum(name string, header []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, header[:16])
}

// parseHeader reads the header of a record of file name.
func parseHeader(header []byte, name string) (sum uint32, length int64, ok bool) {
	if len(header) < headerSize || string(header[:4]) != recordMagic {
		return 0, 0, false
	}
	length = int64(binary.LittleEndian.Uint64(header[8:]))
	if length < 0 || binary.LittleEndian.Uint32(header[16:]) != headerSum(name, header) {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint32(header[4:]), length, true
}

// place is a parsed Ref.
type place struct {
	segment bool
	name    string
	offset  int64 // of the record
	length  int64 // of the body
}

func (p place) ref() Ref {
	if p.segment {
		return Ref(SegmentPrefix(p.name) + strconv.FormatInt(p.offset, 10) + "." + strconv.FormatInt(p.length, 10))
	}
	return Ref(FilePrefix(p.name) + strconv.FormatInt(p.length, 10))
}

// SegmentPrefix is what the refs of all bodies in a segment begin with.
func SegmentPrefix(segment string) string { return "s" + segment + "." }

// FilePrefix is what the ref of the body in a file begins with.
func FilePrefix(file string) string { return "f" + file + "." }

// SegmentOf gives the segment that a body lies in; none for a file body.
func SegmentOf(ref Ref) (segment string, ok bool) {
	p, err := parseRef(ref)
	return p.name, err == nil && p.segment
}

// parseRef reads a Ref in the one form that place.ref gives it.
func parseRef(r Ref) (place, error) {
	parts := strings.Split(string(r), ".")
	if r == "" || len(parts[0]) != 1+nameLength {
		return place{}, fmt.Errorf("%w: %q", ErrNotFound, r)
	}
	p := place{segment: r[0] == 's', name: parts[0][1:]}
	numbers := []*int64{&p.length}
	if p.segment {
		numbers = []*int64{&p.offset, &p.length}
	}
	if len(parts) != 1+len(numbers) || !isName(p.name) {
		return place{}, fmt.Errorf("%w: %q", ErrNotFound, r)
	}
	for i, n := range numbers {
		v, err := strconv.ParseInt(parts[1+i], 10, 62)
		if err != nil || v < 0 {
			return place{}, fmt.Errorf("%w: %q", ErrNotFound, r)
		}
		*n = v
	}
	if p.ref() != r {
		return place{}, fmt.Errorf("%w: %q", ErrNotFound, r)
	}
	return p, nil
}

// isName tells whether s is a name that newName may have given, so that a Ref
// cannot lead out of the store.
func isName(s string) bool {
	for i := range len(s) {
		if !('a' <= s[i] && s[i] <= 'z' || '2' <= s[i] && s[i] <= '7') {
			return false
		}
	}
	return len(s) == nameLength
}
