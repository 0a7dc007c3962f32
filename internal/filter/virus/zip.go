package virus

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// endOfZip begins the record by which a ZIP file tells where its directory is.
var endOfZip = []byte("PK\x05\x06")

// largeDirectory tells whether the directory of a ZIP file says that it has more
// than is looked at: reading it would take its size in memory many times over.
// With several records that could be meant, the largest counts.
func largeDirectory(f io.ReaderAt, size int64) bool {
	const record, comment = 22, 1 << 16
	tail := make([]byte, min(size, record+comment))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return true
	}
	for {
		i := bytes.Index(tail, endOfZip)
		if i < 0 {
			return false
		}
		if tail = tail[i:]; len(tail) < record {
			return false
		}
		entries, octets := binary.LittleEndian.Uint16(tail[10:]), binary.LittleEndian.Uint32(tail[12:])
		if entries > maxEntries || octets > maxDirectory {
			return true
		}
		tail = tail[4:]
	}
}

func (a *attachments) zip(name string, f io.ReaderAt, size int64, depth int) error {
	if largeDirectory(f, size) {
		a.say("ARCHIVE_LIMIT", quoted(name)+" has too many files to look at")
		return nil
	}
	z, err := zip.NewReader(f, size)
	if err != nil {
		a.say("ARCHIVE_DAMAGED", quoted(name))
		z = &zip.Reader{}
	}
	listed := map[string]bool{}
	for _, e := range z.File {
		if !a.entry() {
			return nil
		}
		listed[e.Name] = true
		if err := a.zipped(name, e, depth); err != nil {
			return err
		}
	}
	return a.unlisted(name, io.NewSectionReader(f, 0, size), listed)
}

// zipped looks at one file of a ZIP file.
func (a *attachments) zipped(archive string, e *zip.File, depth int) error {
	if officeMacros(e.Name) {
		a.say("ATTACHMENT_MACROS", quoted(archive))
	}
	if e.Flags&1 != 0 {
		a.name(e.Name, nil)
		a.say("ARCHIVE_ENCRYPTED", quoted(archive)+" holds "+quoted(e.Name))
		return nil
	}
	if ratio := e.UncompressedSize64 / max(e.CompressedSize64, 1); e.UncompressedSize64 > 1<<20 && ratio > maxRatio {
		a.name(e.Name, nil)
		a.say("ARCHIVE_LIMIT", quoted(e.Name)+" would become "+fmt.Sprint(ratio)+" times as large")
		return nil
	}
	r, err := e.Open()
	if err != nil {
		a.name(e.Name, nil)
		a.say("ARCHIVE_CLOSED", quoted(e.Name)+" is packed in an unknown way")
		return nil
	}
	defer r.Close()
	if relations(e.Name) {
		a.office(archive, a.counted(r))
		return nil
	}
	return a.open([]string{e.Name}, a.counted(r), depth+1)
}

// unlisted looks at the headers that stand before each file in a ZIP file: some
// programs go by them, and they may say other things than the directory.
func (a *attachments) unlisted(archive string, r io.Reader, listed map[string]bool) error {
	buf, kept := make([]byte, 64<<10), 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		data := buf[:kept+n]
		for {
			i := bytes.Index(data, []byte("PK\x03\x04"))
			if i < 0 {
				data = data[max(0, len(data)-3):]
				break
			}
			if err == nil && len(data)-i < localHeader+maxLocalName {
				data = data[i:]
				break
			}
			data = data[i+4:]
			a.local(archive, data, listed)
		}
		if err != nil {
			return a.ctx.Err()
		}
		kept = copy(buf, data)
	}
}

const localHeader, maxLocalName = 30, 1024

// local judges what stands behind the mark of a file's own header. It could be
// there by chance, in packed data, and so must look like one.
func (a *attachments) local(archive string, h []byte, listed map[string]bool) {
	if len(h) < localHeader-4 {
		return
	}
	field := func(i int) int { return int(binary.LittleEndian.Uint16(h[i-4:])) }
	version, flags, method, length := field(4), field(6), field(8), field(26)
	h = h[localHeader-4:]
	if version > 100 || method > 99 || length == 0 || length > min(len(h), maxLocalName) {
		return
	}
	name := string(h[:length])
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return
	}
	if !listed[name] {
		if listed[name] = true; !a.entry() {
			return
		}
		a.name(name, []byte{})
	}
	if flags&1 != 0 {
		a.say("ARCHIVE_ENCRYPTED", quoted(archive)+" holds "+quoted(name))
	}
}
