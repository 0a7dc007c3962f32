package virus

import (
	"bufio"
	"compress/zlib"
	"encoding/hex"
	"io"
	"strings"
)

const (
	maxNamePDF    = 127      // octets of a name that are read
	maxStringPDF  = 255      // octets of a file's name that are read
	maxFilesPDF   = 100      // names of files that are judged
	maxObjectsPDF = 64 << 20 // octets that all streams of objects may give
)

// pdfFile is what a PDF file says, as far as it is of use here. Its objects are not
// put together: a name says enough, wherever it stands.
type pdfFile struct {
	scripts, launches, embeds bool

	files   []string // names of files
	objects bool     // the object at hand is a stream of packed objects
}

// pdf looks for programs in a PDF file: JavaScript, the start of others, and
// files that it brings along.
func (a *attachments) pdf(name string, f io.ReaderAt, size int64) error {
	p := &pdfFile{}
	objects := int64(maxObjectsPDF)
	p.read(a.counted(io.NewSectionReader(f, 0, size)), func(offset int64) bool {
		if !a.entry() || objects <= 0 {
			return false
		}
		z, err := zlib.NewReader(io.NewSectionReader(f, offset, size-offset))
		if err != nil {
			return true // it is packed in another way, or not at all
		}
		defer z.Close()
		r := &io.LimitedReader{R: z, N: objects}
		if p.read(a.counted(r), nil); r.N <= 0 {
			a.say("ARCHIVE_LIMIT", quoted(name)+" unpacks to more than is looked at")
		}
		objects = r.N
		return true
	})
	if p.launches {
		a.say("PDF_LAUNCHES", quoted(name))
	}
	if p.scripts {
		a.say("PDF_SCRIPT", quoted(name))
	}
	if p.embeds {
		a.say("PDF_EMBEDS", quoted(name))
	}
	if p.embeds || p.launches {
		for _, file := range p.files {
			a.name(file, []byte{})
		}
	}
	return a.ctx.Err()
}

// read reads names to the end, be it one by damage or a limit. unpack, unless nil, is told
// where streams of objects begin; false ends it.
func (p *pdfFile) read(r io.Reader, unpack func(offset int64) bool) {
	b := &positioned{Reader: bufio.NewReaderSize(r, 64<<10)}
	last := uint64(0) // eight octets
	for {
		c, err := b.ReadByte()
		if err != nil {
			return
		}
		last = last<<8 | uint64(c)
		switch {
		case c == '/':
			p.name(b)
		case last&(1<<24-1) == keyword("obj"):
			p.objects = false
		case last&(1<<48-1) == keyword("stream") && last>>48 != keyword("nd") && p.objects && unpack != nil:
			p.objects = false
			b.skip("\r")
			b.skip("\n")
			if !unpack(b.at) {
				return
			}
		}
	}
}

func keyword(s string) (k uint64) {
	for _, c := range []byte(s) {
		k = k<<8 | uint64(c)
	}
	return k
}

// name reads what follows a slash.
func (p *pdfFile) name(b *positioned) {
	switch b.name() {
	case "ObjStm":
		p.objects = true
	case "JavaScript":
		p.scripts = true
	case "Launch":
		p.launches = true
	case "EmbeddedFile", "EmbeddedFiles":
		p.embeds = true
	case "F", "UF":
		for b.skip(" ") || b.skip("\r") || b.skip("\n") {
		}
		if len(p.files) < maxFilesPDF && b.skip("(") {
			p.files = append(p.files, b.text())
		}
	}
}

// positioned reads, and knows where.
type positioned struct {
	*bufio.Reader
	at int64
}

func (b *positioned) ReadByte() (byte, error) {
	c, err := b.Reader.ReadByte()
	if err == nil {
		b.at++
	}
	return c, err
}

// skip passes over an octet if it comes next.
func (b *positioned) skip(octet string) bool {
	next, err := b.Peek(1)
	if err != nil || string(next) != octet {
		return false
	}
	b.ReadByte()
	return true
}

// name reads a name to its end, and undoes escapes such as #4a.
func (b *positioned) name() string {
	var room [maxNamePDF]byte
	name := room[:0]
	for len(name) < maxNamePDF {
		next, err := b.Peek(1)
		if err != nil || next[0] <= ' ' || strings.IndexByte("/<>[](){}%", next[0]) >= 0 {
			break
		}
		c, _ := b.ReadByte()
		if c == '#' {
			if digits, _ := b.Peek(2); len(digits) == 2 {
				if octet, err := hex.DecodeString(string(digits)); err == nil {
					c = octet[0]
					b.Discard(2)
					b.at += 2
				}
			}
		}
		name = append(name, c)
	}
	return string(name)
}

// text reads a string to its end. Of UTF-16 that stays which is seen in ASCII.
func (b *positioned) text() string {
	var text []byte
	for len(text) < maxStringPDF {
		c, err := b.ReadByte()
		if err != nil || c == ')' {
			break
		}
		if c != 0 && c < 0x80 {
			text = append(text, c)
		}
	}
	return string(text)
}
