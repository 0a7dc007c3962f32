package mail

import (
	"bytes"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// MIMELimits bounds what ReadMIME takes apart. Over a limit nothing is lost:
// the octets concerned are handed out as one leaf with a DefectLimit.
type MIMELimits struct {
	Depth        int   // multiparts and messages inside each other
	Parts        int   // of the whole message
	HeaderBytes  int   // of all header sections together
	HeaderFields int   // likewise
	Bytes        int64 // of the message; what is behind is not read
}

// DefaultMIMELimits take every honest message and hold memory to a few
// megabytes.
func DefaultMIMELimits() MIMELimits {
	return MIMELimits{Depth: 50, Parts: 2000, HeaderBytes: 2 << 20, HeaderFields: 20000, Bytes: 1 << 40}
}

// Part is one entity of a message: the message itself, a body part, or a
// message inside a part. Offsets are octets from the start of the input, so
// input[BodyOffset:BodyOffset+BodySize] is the body exactly as it stands.
type Part struct {
	// Path is the section of IMAP (RFC 9051 section 6.4.5.1) that fetches the
	// body: "1", "2.1". Where a whole message is a multipart, it has no number
	// of its own and is "TEXT" or "2.TEXT".
	Path     string
	Depth    int // 0 for the message itself
	Parent   *Part
	Children []*Part // parts of a multipart, or the one message of a message/rfc822
	Leaf     bool    // its body was handed out, it can have no children
	// Decoded says that the part lies in a message that stands in base64 or
	// quoted-printable (message/global may, message/rfc822 should not): its
	// offsets count in the decoded text of that message, not in the input.
	Decoded bool

	Header       *Header
	HeaderOffset int64
	HeaderSize   int64 // with the empty line
	BodyOffset   int64
	BodySize     int64 // without the line end before the next boundary
	BodyLines    int64 // line ends in it

	Type              string            // "text/plain", lower case; the default where none or none valid was given
	Params            map[string]string // of Content-Type, names in lower case, values in UTF-8; never nil
	Disposition       string            // "attachment", lower case; "" when not given
	DispositionParams map[string]string // never nil
	Encoding          string            // "7bit", "8bit", "binary", "base64", "quoted-printable", or an unknown word, lower case

	Defects []Defect

	endMark mark // behind the body
}

// ReadMIME takes a message apart while it reads r once from start to end, and
// calls visit for every part when its header is known, before its children.
//
// For a leaf, body gives its octets as they stand (see Part.Decode and
// Part.Text); what visit leaves unread is skipped. For a multipart, body gives
// the text before the first boundary, which is everything when there is no
// boundary. For a message inside a part, body is empty. BodySize, BodyLines,
// Children and some Defects are known only when the part has ended.
//
// Broken messages are no error; an error comes from r or from visit, which may
// be nil. A message in a transfer encoding is decoded and taken apart as well.
// Memory is bounded by the limits, whatever the input.
func ReadMIME(r io.Reader, limits MIMELimits, visit func(p *Part, body io.Reader) error) (*Part, error) {
	if visit == nil {
		visit = func(*Part, io.Reader) error { return nil }
	}
	w := &mimeWalk{scan: newMIMEScanner(r, limits.Bytes), limits: limits, visit: visit}
	defer w.scan.release()
	root, err := w.message(nil, "")
	if err == nil && w.scan.err != io.EOF {
		err = w.scan.err
	}
	if w.scan.cut && root != nil {
		root.defect(DefectLimit, "message size")
	}
	return root, err
}

// All gives p and everything in it, parents first.
func (p *Part) All() iter.Seq[*Part] {
	return func(yield func(*Part) bool) { p.all(yield) }
}

func (p *Part) all(yield func(*Part) bool) bool {
	if !yield(p) {
		return false
	}
	for _, c := range p.Children {
		if !c.all(yield) {
			return false
		}
	}
	return true
}

// Is tells whether the type is t, or of the kind of t when that ends in "/".
func (p *Part) Is(t string) bool {
	return p.Type == t || strings.HasSuffix(t, "/") && strings.HasPrefix(p.Type, t)
}

// Has tells whether the part has a defect of that kind.
func (p *Part) Has(kind DefectKind) bool {
	return slices.ContainsFunc(p.Defects, func(d Defect) bool { return d.Kind == kind })
}

// Filename gives the name the sender gave the part, decoded but otherwise as
// it is: with any path and any control character in it.
func (p *Part) Filename() string {
	if name := p.DispositionParams["filename"]; name != "" {
		return name
	}
	return p.Params["name"]
}

// Filenames gives every name a mail program may show for the part: Filename,
// then the others that differ from it. Rules about attachments must hold for
// each of them.
func (p *Part) Filenames() []string {
	var out []string
	for _, name := range []string{p.DispositionParams["filename"], p.Params["name"], p.Params["filename"], p.DispositionParams["name"]} {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Decode undoes the transfer encoding of the part's body as far as that is
// possible, and adds to Defects what was wrong with it.
func (p *Part) Decode(body io.Reader) io.Reader {
	switch p.Encoding {
	case "base64":
		return newTransferReader(body, &base64Decoder{note: func(d string) { p.defect(DefectBase64, d) }})
	case "quoted-printable":
		return newTransferReader(body, &quotedDecoder{note: func(d string) { p.defect(DefectQuoted, d) }})
	}
	return body
}

// Text undoes transfer encoding and charset of the part's body: UTF-8 comes
// out, whatever went in. A charset that is missing, unknown or wrong is
// guessed from the first 8 KiB.
func (p *Part) Text(body io.Reader) io.Reader { return p.DecodedText(p.Decode(body)) }

// DecodedText undoes the charset only, for one who needs what Decode gives too.
func (p *Part) DecodedText(decoded io.Reader) io.Reader {
	return charsetReader(p.Params["charset"], decoded)
}

func (p *Part) defect(kind DefectKind, detail string) {
	p.Defects = addDefect(p.Defects, Defect{kind, detail})
}

// end notes where the body ends.
func (p *Part) end(m, start mark) {
	p.endMark = m
	p.BodySize, p.BodyLines = m.off-start.off, m.lines-start.lines
}

// mimeWalk is one run of ReadMIME.
type mimeWalk struct {
	scan   *mimeScanner
	limits MIMELimits
	visit  func(*Part, io.Reader) error
	parts  int
	bytes  int // of headers kept
	fields int
}

// message reads a whole message: the input itself, or the body of a
// message/rfc822, whose section is prefix.
func (w *mimeWalk) message(parent *Part, prefix string) (*Part, error) {
	p := w.begin(parent)
	w.readHeader(p, true)
	p.classify("text/plain")
	numbers := prefix
	if w.container(p) == kindMultipart {
		p.Path = section(prefix, "TEXT")
	} else {
		p.Path = section(prefix, "1")
		numbers = p.Path
	}
	return p, w.content(p, numbers)
}

// bodyPart reads one part of a multipart.
func (w *mimeWalk) bodyPart(parent *Part, path string) (*Part, error) {
	p := w.begin(parent)
	p.Path = path
	w.readHeader(p, false)
	if parent.Type == "multipart/digest" {
		p.classify("message/rfc822")
	} else {
		p.classify("text/plain")
	}
	return p, w.content(p, path)
}

func section(prefix, n string) string {
	if prefix == "" {
		return n
	}
	return prefix + "." + n
}

func (w *mimeWalk) begin(parent *Part) *Part {
	w.parts++
	p := &Part{Parent: parent, Header: &Header{}, HeaderOffset: w.scan.pos().off}
	if parent != nil {
		p.Depth = parent.Depth + 1
		p.Decoded = parent.Decoded || isMessageType(parent.Type) && parent.encoded()
		parent.Children = append(parent.Children, p)
	}
	return p
}

// readHeader reads up to the empty line, a boundary or the end. Over a limit
// it goes on without keeping what it reads. A part whose first line is no
// field has no header at all: everything in it is body.
func (w *mimeWalk) readHeader(p *Part, isMessage bool) {
	var raw []byte
	for {
		lineStart := !w.scan.inside
		piece := w.scan.next()
		if piece == nil {
			if w.scan.hit >= 0 {
				p.defect(DefectHeaderEnd, "boundary in header")
			}
			break
		}
		if lineStart && len(raw) == 0 && noHeader(piece, isMessage) {
			p.defect(DefectHeaderEnd, "no header")
			w.scan.unread(piece)
			break
		}
		if lineStart && piece[0] != ' ' && piece[0] != '\t' {
			w.fields++
		}
		if w.bytes += len(piece); w.bytes > w.limits.HeaderBytes || w.fields > w.limits.HeaderFields {
			p.defect(DefectLimit, "header")
		} else {
			raw = append(raw, piece...)
		}
		if lineStart && isBlank(piece) {
			break
		}
	}
	p.Header = ParseHeader(raw)
	p.BodyOffset = w.scan.pos().off
	p.HeaderSize = p.BodyOffset - p.HeaderOffset
	if bytes.IndexByte(raw, 0) >= 0 {
		p.defect(DefectNUL, "header")
	}
	// Some readers end a line at a CR alone and see other fields than we do.
	if bytes.Count(raw, []byte{'\r'}) != bytes.Count(raw, []byte("\r\n")) {
		p.defect(DefectHeaderLine, "CR without LF")
	}
	for i, f := range p.Header.fields {
		if f.Name == "" && !(i == 0 && bytes.HasPrefix(f.raw, []byte("From "))) {
			p.defect(DefectHeaderLine, "")
		}
	}
}

// noHeader tells whether the first line of a part is text and not a header.
// Messages may begin with the "From " line of an mbox.
func noHeader(line []byte, isMessage bool) bool {
	if isBlank(line) || bytes.IndexByte(line, ':') > 0 {
		return false
	}
	return !isMessage || !bytes.HasPrefix(line, []byte("From ")) && !bytes.HasPrefix(line, []byte(">From "))
}

// classify reads the fields that say what the part is.
func (p *Part) classify(defaultType string) {
	var defects []Defect
	ctype := p.single("Content-Type")
	p.Type, p.Params, defects = ParseParams(ctype)
	p.addAll(defects)
	if !validType(p.Type) {
		if ctype != "" {
			p.defect(DefectSyntax, "Content-Type "+clip(p.Type))
		}
		if strings.HasPrefix(p.Type, "multipart") && p.Params["boundary"] != "" {
			p.Type = "multipart/mixed"
		} else {
			p.Type = defaultType
		}
	}
	p.Disposition, p.DispositionParams, defects = ParseParams(p.single("Content-Disposition"))
	p.addAll(defects)
	p.Encoding, _, defects = ParseParams(p.single("Content-Transfer-Encoding"))
	p.addAll(defects)
	switch p.Encoding {
	case "":
		p.Encoding = "7bit"
	case "7bit", "8bit", "binary":
	case "base64", "quoted-printable":
		if p.Is("multipart/") || p.Type == "message/rfc822" {
			p.defect(DefectEncoding, p.Encoding+" of "+clip(p.Type))
		}
	default:
		p.defect(DefectEncoding, clip(p.Encoding))
		p.Encoding = likelyEncoding(p.Encoding)
	}
}

// likelyEncoding reads a broken encoding as the program of a victim may:
// "base64 base64", "x-base64", "quoted-printable,foo".
func likelyEncoding(word string) string {
	switch {
	case strings.Contains(word, "base64"):
		return "base64"
	case strings.Contains(word, "quoted-printable"):
		return "quoted-printable"
	}
	return word
}

func (p *Part) addAll(list []Defect) {
	for _, d := range list {
		p.defect(d.Kind, d.Detail)
	}
}

// single gives the value of a field that may stand only once.
func (p *Part) single(name string) string {
	values := p.Header.Values(name)
	if len(values) == 0 {
		return ""
	}
	if len(values) > 1 {
		p.defect(DefectDuplicate, name)
	}
	return values[0]
}

func validType(t string) bool {
	kind, sub, ok := strings.Cut(t, "/")
	return ok && kind != "" && sub != "" && !strings.ContainsFunc(t, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"[]?=`, r)
	}) && !strings.Contains(sub, "/")
}

func isMessageType(t string) bool {
	return t == "message/rfc822" || t == "message/global" || t == "message/news"
}

type containerKind byte

const (
	kindLeaf containerKind = iota
	kindMultipart
	kindMessage
)

// container tells how the body of p is to be read, limits considered.
func (w *mimeWalk) container(p *Part) containerKind {
	kind := kindLeaf
	switch {
	case p.Is("multipart/"):
		if b := p.boundary(); b == "" || len(b) > maxBoundary {
			p.defect(DefectNoBoundary, "")
			return kindLeaf
		}
		kind = kindMultipart
	case isMessageType(p.Type):
		kind = kindMessage
	default:
		return kindLeaf
	}
	if p.Depth >= w.limits.Depth {
		p.defect(DefectLimit, "depth")
		return kindLeaf
	}
	if w.parts >= w.limits.Parts {
		p.defect(DefectLimit, "parts")
		return kindLeaf
	}
	return kind
}

func (p *Part) encoded() bool { return p.Encoding == "base64" || p.Encoding == "quoted-printable" }

func (p *Part) boundary() string { return strings.TrimRight(p.Params["boundary"], " \t") }

// content reads the body of p. Its children get numbers below prefix.
func (w *mimeWalk) content(p *Part, prefix string) error {
	start := w.scan.pos()
	switch w.container(p) {
	case kindMultipart:
		return w.multipart(p, prefix, start)
	case kindMessage:
		if err := w.visit(p, strings.NewReader("")); err != nil {
			return err
		}
		if p.encoded() {
			return w.encodedMessage(p, prefix, start)
		}
		child, err := w.message(p, prefix)
		p.end(child.endMark, start)
		return err
	}
	return w.leaf(p)
}

// encodedMessage takes apart a message that stands in a transfer encoding: a
// scanner of its own reads what comes out of the decoder.
func (w *mimeWalk) encodedMessage(p *Part, prefix string, start mark) error {
	outer, body := w.scan, w.scan.body()
	w.scan = newMIMEScanner(p.Decode(body), w.limits.Bytes)
	defer w.scan.release()
	_, err := w.message(p, prefix)
	if inner := w.scan.err; err == nil && inner != nil && inner != io.EOF {
		err = inner
	}
	w.scan = outer
	if err != nil {
		return err
	}
	m, err := body.drain()
	p.end(m, start)
	return err
}

// leaf hands out the body of p and skips what was left unread.
func (w *mimeWalk) leaf(p *Part) error {
	p.Leaf = true
	start := w.scan.pos()
	body := w.scan.body()
	if err := w.visit(p, body); err != nil {
		return err
	}
	m, err := body.drain()
	p.end(m, start)
	return err
}

// multipart reads the parts of p up to its closing boundary, the boundary of
// a multipart around it, or the end.
func (w *mimeWalk) multipart(p *Part, prefix string, start mark) error {
	s := w.scan
	level := len(s.open)
	s.open = append(s.open, p.boundary())
	preamble := s.body()
	if err := w.visit(p, preamble); err != nil {
		return err
	}
	end, err := preamble.drain()
	for err == nil && s.hit == level && !s.hitEnd {
		if s.loose {
			p.defect(DefectLooseBoundary, "")
		}
		s.hit = -1
		path := section(prefix, strconv.Itoa(len(p.Children)+1))
		var child *Part
		if w.parts+1 >= w.limits.Parts {
			child, err = w.rest(p, path, level)
		} else {
			child, err = w.bodyPart(p, path)
		}
		end = child.endMark
	}
	if err != nil {
		return err
	}
	if len(p.Children) == 0 {
		p.defect(DefectEmpty, "")
	}
	closed := s.hit == level
	s.open = s.open[:level]
	if closed {
		end, err = w.epilogue(p)
	} else {
		p.defect(DefectNoEnd, "")
	}
	p.end(end, start)
	return err
}

// rest takes everything up to the end of multipart p as one leaf, when there
// are too many parts.
func (w *mimeWalk) rest(p *Part, path string, level int) (*Part, error) {
	w.scan.open = w.scan.open[:level]
	p.defect(DefectLimit, "parts")
	child := w.begin(p)
	child.Path = path
	child.BodyOffset = child.HeaderOffset
	child.Type, child.Encoding = "application/octet-stream", "binary"
	child.Params, child.DispositionParams = map[string]string{}, map[string]string{}
	child.defect(DefectLimit, "parts")
	return child, w.leaf(child)
}

// epilogue skips what follows the closing boundary. Where nothing does, the
// line end of the closing boundary belongs to the boundary around it.
func (w *mimeWalk) epilogue(p *Part) (mark, error) {
	s := w.scan
	if s.loose {
		p.defect(DefectLooseBoundary, "")
	}
	closing, eol := s.at, s.eol
	s.hit, s.watch, s.again = -1, p.boundary(), false
	end, err := s.body().drain()
	if s.again {
		p.defect(DefectAfterEnd, "")
	}
	s.watch = ""
	if s.hit >= 0 && s.hitAt == closing && eol > 0 {
		end.off -= int64(eol)
		end.lines--
	}
	return end, err
}
