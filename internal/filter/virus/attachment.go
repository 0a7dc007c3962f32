package virus

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Bounds of what is looked at in archives.
const (
	maxDepth     = 4
	maxEntries   = 10_000
	maxDirectory = 4 << 20   // octets of the directory of a ZIP file
	maxArchive   = 64 << 20  // octets of one archive
	maxUnpacked  = 256 << 20 // octets that all archives of a message may give
	maxRatio     = 250       // octets an archive may give for each of its own, above a MB
)

// attachments looks at attachments and into archives.
type attachments struct {
	ctx      context.Context
	dir      string
	add      func(symbol, evidence string)
	found    map[string]bool
	entries  int
	unpacked int64
}

// say tells each symbol once.
func (a *attachments) say(symbol, evidence string) {
	if !a.found[symbol] {
		a.found[symbol] = true
		a.add(symbol, evidence)
	}
}

// message looks at all attachments. The message is read again only when it has
// archives or documents.
func (a *attachments) message(m *filter.Message) error {
	inside := false
	for _, p := range m.Parts {
		names := p.Filenames()
		for _, name := range names {
			a.name(name)
		}
		a.kind(names, p.Head)
		inside = inside || packed(p.Head)
	}
	if !inside {
		return nil
	}
	whole, err := m.Open()
	if err != nil {
		return err
	}
	defer whole.Close()
	_, err = mail.ReadMIME(whole, mail.DefaultMIMELimits(), func(p *mail.Part, body io.Reader) error {
		if !p.Leaf || p.Is("text/") && p.Disposition != "attachment" {
			return nil
		}
		names := p.Filenames()
		return a.open(strings.Join(names[:min(1, len(names))], ""), p.Decode(body), 0)
	})
	return err
}

func quoted(name string) string {
	if len(name) > 80 {
		name = "…" + strings.ToValidUTF8(name[len(name)-80:], "")
	}
	return fmt.Sprintf("%q", name)
}

// name judges a file by its name.
func (a *attachments) name(name string) {
	ext := extension(name)
	if why := disguise(name); why != "" {
		a.say("ATTACHMENT_DISGUISED", quoted(name)+": "+why)
	}
	switch {
	case run[ext]:
		a.say("ATTACHMENT_RUNS", quoted(name))
	case macros[ext]:
		a.say("ATTACHMENT_MACROS", quoted(name))
	}
}

// magic tells what files are by how they begin.
var magic = []struct{ kind, begins string }{
	{"program", "MZ"}, {"program", "\x7fELF"}, {"program", "\xcf\xfa\xed\xfe"}, {"program", "\xca\xfe\xba\xbe"},
	{"shortcut", "L\x00\x00\x00\x01\x14\x02\x00"}, {"zip", "PK\x03\x04"}, {"gzip", "\x1f\x8b\x08"}, {"rar", "Rar!\x1a\x07"},
	{"7z", "7z\xbc\xaf\x27\x1c"}, {"cab", "MSCF\x00"}, {"xz", "\xfd7zXZ\x00"}, {"bzip2", "BZh"}, {"zstd", "\x28\xb5\x2f\xfd"}, {"ole", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"},
	{"onenote", "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d"},
}

func kindOf(head []byte) string {
	for _, m := range magic {
		if bytes.HasPrefix(head, []byte(m.begins)) {
			return m.kind
		}
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return "tar"
	}
	return ""
}

func packed(head []byte) bool {
	switch kindOf(head) {
	case "zip", "gzip", "tar", "ole":
		return true
	}
	return false
}

// kind judges a file by what it is.
func (a *attachments) kind(names []string, head []byte) {
	name := strings.Join(names, ", ")
	switch kind := kindOf(head); kind {
	case "program", "shortcut", "onenote":
		a.say("ATTACHMENT_RUNS", "a "+kind+" named "+quoted(name))
		for _, n := range names {
			if ext := extension(n); shown[ext] {
				a.say("ATTACHMENT_DISGUISED", "a "+kind+" named "+quoted(n))
			}
		}
	case "rar", "7z", "cab", "xz", "bzip2", "zstd":
		a.say("ARCHIVE_CLOSED", "what is in a file of type "+kind+" was not looked at")
	}
}

// open looks into a file, if it is an archive.
func (a *attachments) open(name string, r io.Reader, depth int) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	head := make([]byte, 512)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return a.damaged(name, err, depth)
	}
	head = head[:n]
	if depth > 0 {
		a.kind([]string{name}, head)
	}
	if !packed(head) {
		return nil
	}
	if depth == maxDepth {
		a.say("ARCHIVE_LIMIT", "archives in archives, more than "+fmt.Sprint(maxDepth)+" deep")
		return nil
	}
	r = io.MultiReader(bytes.NewReader(head), r)
	switch kindOf(head) {
	case "gzip":
		return a.gzip(name, r, depth)
	case "tar":
		return a.tar(r, depth)
	}
	return a.stored(name, kindOf(head), r, depth)
}

// damaged makes an error below the message's own level a finding.
func (a *attachments) damaged(name string, err error, depth int) error {
	if depth == 0 {
		return err
	}
	a.say("ARCHIVE_DAMAGED", quoted(name))
	return nil
}

// stored puts a file that needs to be read here and there on disk.
func (a *attachments) stored(name, kind string, r io.Reader, depth int) error {
	f, err := os.CreateTemp(a.dir, "migiwa-attachment")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	size, err := io.Copy(f, io.LimitReader(r, maxArchive+1))
	if err != nil {
		return a.damaged(name, err, depth)
	}
	if size > maxArchive {
		a.say("ARCHIVE_LIMIT", quoted(name)+" is too large to look into")
		return nil
	}
	if kind == "ole" {
		return a.ole(name, io.NewSectionReader(f, 0, size))
	}
	return a.zip(name, f, size, depth)
}

var vbaProject = []byte("_\x00V\x00B\x00A\x00_\x00P\x00R\x00O\x00J\x00E\x00C\x00T\x00")

// ole looks for macros in a document of the old form, by the name of the stream
// they stand in.
func (a *attachments) ole(name string, r io.Reader) error {
	buf := make([]byte, 64<<10)
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		if bytes.Contains(buf[:kept+n], vbaProject) {
			a.say("ATTACHMENT_MACROS", quoted(name))
			return nil
		}
		if err != nil {
			return nil
		}
		all := buf[:kept+n]
		tail := all[max(0, len(all)-len(vbaProject)):]
		kept = copy(buf, tail)
	}
}

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
		return nil
	}
	for _, e := range z.File {
		if a.entries++; a.entries > maxEntries {
			a.say("ARCHIVE_LIMIT", "more than "+fmt.Sprint(maxEntries)+" files in archives")
			return nil
		}
		a.name(e.Name)
		if strings.HasSuffix(strings.ToLower(e.Name), "vbaproject.bin") {
			a.say("ATTACHMENT_MACROS", quoted(name))
		}
		if e.Flags&1 != 0 {
			a.say("ARCHIVE_ENCRYPTED", quoted(name)+" holds "+quoted(e.Name))
			continue
		}
		if size := int64(e.CompressedSize64); int64(e.UncompressedSize64) > 1<<20 && int64(e.UncompressedSize64)/max(size, 1) > maxRatio {
			a.say("ARCHIVE_LIMIT", quoted(e.Name)+" would become "+fmt.Sprint(e.UncompressedSize64/max(e.CompressedSize64, 1))+" times as large")
			continue
		}
		r, err := e.Open()
		if err != nil {
			a.say("ARCHIVE_CLOSED", quoted(e.Name)+" is packed in an unknown way")
			continue
		}
		err = a.open(e.Name, a.counted(r), depth+1)
		r.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *attachments) gzip(name string, r io.Reader, depth int) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		a.say("ARCHIVE_DAMAGED", quoted(name))
		return nil
	}
	inner := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".tgz")
	if z.Name != "" {
		a.name(z.Name)
	}
	a.name(inner)
	return a.open(inner, a.counted(z), depth+1)
}

func (a *attachments) tar(r io.Reader, depth int) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err != nil {
			return nil // the end, or damage that ends it
		}
		if a.entries++; a.entries > maxEntries {
			a.say("ARCHIVE_LIMIT", "more than "+fmt.Sprint(maxEntries)+" files in archives")
			return nil
		}
		a.name(h.Name)
		if err := a.open(h.Name, t, depth+1); err != nil {
			return err
		}
	}
}

var errUnpacked = errors.New("archives give more than is looked at")

// counted bounds what all archives of a message give together.
func (a *attachments) counted(r io.Reader) io.Reader { return &counter{a, r} }

type counter struct {
	a *attachments
	r io.Reader
}

func (c *counter) Read(p []byte) (int, error) {
	if c.a.unpacked > maxUnpacked {
		c.a.say("ARCHIVE_LIMIT", errUnpacked.Error())
		return 0, errUnpacked
	}
	n, err := c.r.Read(p)
	c.a.unpacked += int64(n)
	return n, err
}
