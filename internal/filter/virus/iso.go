package virus

import (
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"
)

const (
	sectorISO  = 2048
	systemISO  = 16 * sectorISO // octets for other purposes, before the descriptors
	maxDescISO = 32             // descriptors
	maxDirISO  = 1 << 20        // octets of one directory
)

// imageHead is how much of a file shows that it is the image of a disc.
const imageHead = systemISO + 6

// mayBeImage tells of a file that must be read further to know: most images begin
// with zeros, and those that are opened by a click are named so.
func mayBeImage(names []string, head []byte) bool {
	for _, name := range names {
		switch extension(name) {
		case "iso", "img", "udf":
			return true
		}
	}
	return len(head) >= 512 && len(strings.Trim(string(head[:512]), "\x00")) == 0
}

// image tells what a disc's image is by how it begins.
func image(head []byte) string {
	if len(head) < imageHead {
		return ""
	}
	switch string(head[systemISO+1 : imageHead]) {
	case "CD001":
		return "iso"
	case "BEA01", "NSR02", "NSR03":
		return "udf"
	}
	return ""
}

// isoFile is an image by ECMA-119 (ISO 9660).
type isoFile struct {
	a    *attachments
	name string
	f    io.ReaderAt
	seen map[uint32]bool // directories, since they may go round in circles
}

// iso looks into the image of a disc: at the files of each descriptor, as the
// names of Joliet are others than those of the standard.
func (a *attachments) iso(name string, f io.ReaderAt, depth int) error {
	z := &isoFile{a: a, name: name, f: f, seen: map[uint32]bool{}}
	for i := range maxDescISO {
		d := make([]byte, sectorISO)
		n, _ := f.ReadAt(d, systemISO+int64(i)*sectorISO)
		if n < len(d) {
			return a.damaged(name, errTruncated, depth+1)
		}
		switch kind := string(d[1:6]); {
		case kind == "BEA01", kind == "CD001" && d[0] == 255:
			return z.udf(int64(i))
		case kind != "CD001":
			return a.damaged(name, errTruncated, depth+1)
		case d[0] == 1, d[0] == 2:
			if err := z.directory(d[156:190], d[0] == 2, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// udf tells when there is a second description of the disc, by the standard that
// is not read here; it may name other files.
func (z *isoFile) udf(sector int64) error {
	d := make([]byte, 4*sectorISO)
	n, _ := z.f.ReadAt(d, systemISO+sector*sectorISO)
	if mark := string(d[:n]); strings.Contains(mark, "\x00NSR02") || strings.Contains(mark, "\x00NSR03") {
		z.a.say("ARCHIVE_CLOSED", quoted(z.name)+" is described by UDF too, which was not looked at")
	}
	return nil
}

// directory looks at what a directory's record leads to.
func (z *isoFile) directory(record []byte, joliet bool, depth int) error {
	todo := []extentISO{extent(record)}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		if z.seen[at.sector] {
			continue
		}
		z.seen[at.sector] = true
		if at.size > maxDirISO {
			return z.a.damaged(z.name, errTooMany, depth+1)
		}
		data := make([]byte, at.size)
		n, err := io.ReadFull(z.a.counted(at.of(z.f)), data)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return z.a.damaged(z.name, err, depth+1)
		}
		if n < len(data) {
			z.a.say("ARCHIVE_DAMAGED", quoted(z.name))
		}
		for _, r := range records(data[:n]) {
			if !z.a.entry() {
				return nil
			}
			if r[25]&2 != 0 {
				todo = append(todo, extent(r))
				continue
			}
			if err := z.a.open(namesISO(r, joliet), z.a.counted(extent(r).of(z.f)), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// extentISO is where a file or directory is.
type extentISO struct{ sector, size uint32 }

func extent(record []byte) extentISO {
	return extentISO{binary.LittleEndian.Uint32(record[2:]), binary.LittleEndian.Uint32(record[10:])}
}

func (e extentISO) of(f io.ReaderAt) io.Reader {
	return io.NewSectionReader(f, int64(e.sector)*sectorISO, int64(e.size))
}

// records gives the records of a directory, without those for itself and the one
// above. None crosses the end of a sector; zeros fill it up.
func records(data []byte) (list [][]byte) {
	for len(data) > 0 {
		sector := data[:min(sectorISO, len(data))]
		data = data[len(sector):]
		for len(sector) > 33 {
			length, name := int(sector[0]), int(sector[32])
			if length < 34 || length > len(sector) || name > length-33 {
				break
			}
			if r := sector[:length]; name != 1 || r[33] > 1 {
				list = append(list, r)
			}
			sector = sector[length:]
		}
	}
	return list
}

// namesISO gives the name of a file, and that which Rock Ridge has for it.
func namesISO(record []byte, joliet bool) []string {
	raw := record[33 : 33+int(record[32])]
	name := string(raw)
	if joliet {
		letters := make([]uint16, len(raw)/2)
		for i := range letters {
			letters[i] = binary.BigEndian.Uint16(raw[2*i:])
		}
		name = string(utf16.Decode(letters))
	}
	name, _, _ = strings.Cut(name, ";") // the version
	names := []string{name}
	for rest := record[33+len(raw)+(len(raw)+1)%2:]; len(rest) > 4; {
		length := int(rest[2])
		if length < 4 || length > len(rest) {
			break
		}
		if string(rest[:2]) == "NM" && length > 5 {
			names = append(names, string(rest[5:length]))
		}
		rest = rest[length:]
	}
	return names
}
