package virus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Bounds of what is looked at in archives.
const (
	maxDepth        = 4
	maxEntries      = 10_000
	maxDirectory    = 4 << 20   // octets of the directory of a ZIP or 7z file
	maxArchive      = 64 << 20  // octets of one archive
	maxUnpacked     = 256 << 20 // octets that all archives of a message may give
	maxRatio        = 250       // octets an archive may give for each of its own, above a MB
	maxDictionary   = 64 << 20  // octets of the dictionaries in use for one message
	maxDictionaries = 4 << 30   // octets of all that are made for it, one after the other
)

// attachments looks at attachments and into archives.
type attachments struct {
	ctx      context.Context
	dir      string
	scanner  Scanner // nil: only names and kinds are looked at
	add      func(symbol, evidence string)
	found    map[string]bool
	entries  int
	unpacked int64
	scans    int
	failed   error // of the scanner
	memory   dictionaries
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
	defer a.memory.done()
	inside := false
	for _, p := range m.Parts {
		names := p.Filenames()
		a.file(readings(names), p.Head)
		inside = inside || opened[kindOf(p.Head)] || mayBeImage(names, p.Head)
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
		return a.open(p.Filenames(), p.Decode(body), 0)
	})
	return errors.Join(err, a.failed)
}

func quoted(name string) string {
	if len(name) > 80 {
		name = "…" + strings.ToValidUTF8(name[len(name)-80:], "")
	}
	return fmt.Sprintf("%q", name)
}

// file judges a file by its names and how it begins; head is nil when that is
// not known.
func (a *attachments) file(names []string, head []byte) {
	for _, name := range names {
		a.name(name, head)
	}
	a.kind(names, head)
}

// name judges a file by its name.
func (a *attachments) name(name string, head []byte) {
	ext := extension(name)
	if why := disguise(name); why != "" {
		a.say("ATTACHMENT_DISGUISED", quoted(name)+": "+why)
	}
	switch {
	case ext == "com" && head != nil && !command(head):
	case run[ext]:
		a.say("ATTACHMENT_RUNS", quoted(name))
	case macros[ext]:
		a.say("ATTACHMENT_MACROS", quoted(name))
	}
}

// command tells whether a file whose name ends in .com may be a program, since
// so do many names of hosts that files are named after: a program is not text,
// and nothing of another kind.
func command(head []byte) bool {
	if kind := kindOf(head); kind != "" {
		return kind == "program"
	}
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		return false // text in UTF-16
	}
	return bytes.ContainsFunc(head, func(r rune) bool {
		return r < ' ' && !strings.ContainsRune("\t\n\f\r\x1b", r)
	})
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
	if bytes.Contains(head[:min(len(head), 512)], []byte("%PDF-")) { // programs do not mind what is before
		return "pdf"
	}
	return image(head)
}

// opened are the kinds of files that are looked into.
var opened = map[string]bool{"zip": true, "gzip": true, "bzip2": true, "zstd": true, "xz": true, "tar": true, "7z": true, "rar": true, "iso": true, "ole": true, "pdf": true}

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
	case "cab", "udf":
		a.say("ARCHIVE_CLOSED", "what is in a file of type "+kind+" was not looked at")
	}
}

// open looks into a file, if it is an archive. What goes wrong in it, also in
// the code that unpacks it, costs only what is in it.
func (a *attachments) open(names []string, r io.Reader, depth int) (err error) {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	name := strings.Join(names[:min(1, len(names))], "")
	defer func() {
		if v := recover(); v != nil {
			a.say("ARCHIVE_DAMAGED", fmt.Sprintf("%s: panic: %v", quoted(name), v))
			err = a.ctx.Err()
		}
	}()
	head, err := beginning(names, r)
	if depth > 0 {
		a.file(names, head)
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return a.damaged(name, err, depth)
	}
	kind := kindOf(head)
	if !opened[kind] {
		return nil
	}
	if depth == maxDepth {
		a.say("ARCHIVE_LIMIT", "archives in archives, more than "+fmt.Sprint(maxDepth)+" deep")
		return nil
	}
	r = io.MultiReader(bytes.NewReader(head), r)
	switch kind {
	case "gzip", "bzip2", "zstd", "xz":
		return a.packed(name, kind, r, depth)
	case "tar":
		return a.tar(name, r, depth)
	}
	return a.stored(name, kind, r, depth)
}

// beginning reads as much of a file as is needed to tell its kind.
func beginning(names []string, r io.Reader) ([]byte, error) {
	head := make([]byte, 512, imageHead)
	n, err := io.ReadFull(r, head)
	if err == nil && mayBeImage(names, head) {
		head = head[:imageHead]
		more, merr := io.ReadFull(r, head[n:])
		n, err = n+more, merr
	}
	return head[:n], err
}

// damaged makes an error below the message's own level a finding, unless a limit
// has told of it, the time is over, or it is one of the disk.
func (a *attachments) damaged(name string, err error, depth int) error {
	if cerr := a.ctx.Err(); cerr != nil {
		return cerr
	}
	if disk := (*fs.PathError)(nil); depth == 0 || errors.As(err, &disk) {
		return err
	}
	switch {
	case errors.Is(err, errLimit):
	case errors.Is(err, errTooMany):
		a.say("ARCHIVE_LIMIT", quoted(name)+" has too many files to look at")
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		a.say("ARCHIVE_LIMIT", quoted(name)+" needs more memory than is given to it")
	case errors.Is(err, errPacking):
		a.say("ARCHIVE_CLOSED", quoted(name)+" is packed in an unknown way")
	default:
		a.say("ARCHIVE_DAMAGED", quoted(name))
	}
	return nil
}

// stored opens a file that needs to be read here and there.
func (a *attachments) stored(name, kind string, r io.Reader, depth int) error {
	f, size, err := a.temporary(name, r, depth)
	if f == nil {
		return err
	}
	defer f.Close()
	switch kind {
	case "ole":
		return a.ole(name, io.NewSectionReader(f, 0, size))
	case "7z":
		return a.sevenzip(name, f, size, depth)
	case "rar":
		return a.rar(name, f, size, depth)
	case "iso":
		return a.iso(name, f, depth)
	case "pdf":
		return a.pdf(name, f, size)
	}
	return a.zip(name, f, size, depth)
}

// temporary puts what r gives into a file that has no name; the caller closes it.
// It gives nil when that is damaged or too much to look into, and has said so.
func (a *attachments) temporary(name string, r io.Reader, depth int) (*os.File, int64, error) {
	f, err := os.CreateTemp(a.dir, "migiwa-attachment")
	if err != nil {
		return nil, 0, err
	}
	size := int64(0)
	if err = os.Remove(f.Name()); err == nil {
		size, err = io.Copy(f, io.LimitReader(r, maxArchive+1))
	}
	if err == nil && size <= maxArchive {
		return f, size, nil
	}
	f.Close()
	if err != nil {
		return nil, 0, a.damaged(name, err, depth)
	}
	a.say("ARCHIVE_LIMIT", quoted(name)+" is too large to look into")
	return nil, 0, nil
}

// unseen looks at a file from an archive that ClamAV does not open, or not
// everywhere, and so has it look at the file too.
func (a *attachments) unseen(names []string, r io.Reader, depth int) error {
	if a.scanner == nil {
		return a.open(names, r, depth)
	}
	if a.scans++; a.scans > maxLeaves {
		a.say(Unscanned, "more than "+fmt.Sprint(maxLeaves)+" files in archives to scan")
		return a.open(names, r, depth)
	}
	f, _, err := a.temporary(strings.Join(names, ", "), r, depth)
	if f == nil {
		a.file(names, nil)
		return err
	}
	defer f.Close()
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	signature, err := a.scanner.Scan(a.ctx, f)
	if signature != "" {
		a.say(Found, signature)
	} else if err != nil {
		a.failed = err
	}
	if _, err = f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return a.open(names, f, depth)
}
