package wire

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of one command, in octets.
const (
	MaxCommand = 256 << 10 // all of it that is kept in memory, literals included
	maxTag     = 128
	maxNesting = 100      // of parentheses, for those who parse recursively
	maxDrained = 64 << 20 // read over behind a wrong command before the connection is given up
)

// ErrTooMuch is what Drain gives when a client sends more behind a wrong command
// than is read over.
var ErrTooMuch = errors.New("imap: too much behind a wrong command")

// Decoder reads commands. It is used by one goroutine.
type Decoder struct {
	R *bufio.Reader
	// Continue asks the client to send the literal it announced.
	Continue func() error
	// UTF8 says that mailbox names are UTF-8 (after ENABLE of IMAP4rev2 or
	// UTF8=ACCEPT); names in modified UTF-7 are then what they look like.
	UTF8 bool
	// Limit is how many octets of a command are kept in memory. 0: MaxCommand.
	Limit int

	err     error
	used    int
	ended   bool  // the line has been read to its end
	literal int64 // octets of a literal that the client sends and nobody read yet
	depth   int
}

// Next begins the next command.
func (d *Decoder) Next() {
	d.err, d.used, d.ended, d.literal, d.depth = nil, 0, false, 0, 0
}

// Err gives the first error: a *SyntaxError, a *TooBigError or one of the
// connection.
func (d *Decoder) Err() error { return d.err }

// Fail makes the command wrong: BAD with this text, unless it is wrong already.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = syntax(format, args...)
	}
}

func (d *Decoder) broken(err error) {
	if d.err == nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		d.err = err
	}
}

// Peek gives the next octet, 0 after an error or at the end of the line.
func (d *Decoder) Peek() byte {
	if d.err != nil || d.ended {
		return 0
	}
	b, err := d.R.Peek(1)
	if err != nil {
		d.broken(err)
		return 0
	}
	if b[0] == '\r' || b[0] == '\n' {
		return 0
	}
	return b[0]
}

// take reads the octet that Peek has shown.
func (d *Decoder) take() {
	d.R.Discard(1)
	d.count(1)
}

func (d *Decoder) limit() int {
	if d.Limit > 0 {
		return d.Limit
	}
	return MaxCommand
}

func (d *Decoder) count(n int) bool {
	if d.used += n; d.used > d.limit() {
		d.Fail("Command too long")
		return false
	}
	return true
}

// Accept reads c when it is next.
func (d *Decoder) Accept(c byte) bool {
	if d.Peek() != c || d.err != nil {
		return false
	}
	d.take()
	return true
}

// Expect reads c or fails.
func (d *Decoder) Expect(c byte) {
	if !d.Accept(c) {
		d.Fail("Expected %q", c)
	}
}

// AcceptSP reads the space before a further argument. A space at the end of the
// line, which some clients send, is no such space.
func (d *Decoder) AcceptSP() bool {
	found := false
	for d.Accept(' ') {
		found = true
	}
	return found && d.Peek() != 0
}

// SP reads one space; more are forgiven.
func (d *Decoder) SP() {
	if !d.AcceptSP() {
		d.Fail("Expected an argument")
	}
}

// End reads the end of the command.
func (d *Decoder) End() error {
	for d.Accept(' ') {
	}
	if d.err != nil {
		return d.err
	}
	if d.Peek() != 0 {
		d.Fail("Unexpected text behind the command")
	}
	if d.err != nil {
		return d.err
	}
	return d.lineEnd()
}

func (d *Decoder) lineEnd() error {
	if d.ended {
		return d.err
	}
	c, err := d.R.ReadByte()
	if err == nil && c == 0 {
		d.Fail("NUL in a command")
		return d.err
	}
	if err == nil && c == '\r' {
		c, err = d.R.ReadByte()
	}
	switch {
	case err != nil:
		d.broken(err)
	case c != '\n':
		d.Fail("CR without LF")
	default:
		d.ended = true
	}
	return d.err
}

// Drain reads over what is left of a command that is wrong, with the literals
// that the client sends without being asked. An error means that the connection
// cannot go on.
func (d *Decoder) Drain() error {
	for rest := int64(maxDrained); ; {
		if d.literal > rest {
			return ErrTooMuch
		}
		if _, err := io.CopyN(io.Discard, d.R, d.literal); err != nil {
			return err
		}
		rest -= d.literal
		d.literal = 0
		if d.ended {
			return nil
		}
		tail, n, err := d.skipLine(rest)
		if err != nil {
			return err
		}
		rest -= n
		size, nonsync, ok := trailingLiteral(tail)
		if d.ended = !ok || !nonsync; d.ended {
			return nil
		}
		d.literal = size
	}
}

// skipLine reads up to the end of the line, and gives its length and at least
// its last octets.
func (d *Decoder) skipLine(limit int64) (tail []byte, n int64, err error) {
	for {
		part, err := d.R.ReadSlice('\n')
		n += int64(len(part))
		tail = append(tail[max(0, len(tail)-32):], part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return tail, n, err
		}
		if n > limit {
			return nil, n, ErrTooMuch
		}
	}
}

// trailingLiteral finds the announcement of a literal at the end of a line.
func trailingLiteral(line []byte) (size int64, nonsync, ok bool) {
	line = bytes.TrimRight(line, "\r\n")
	open := bytes.LastIndexByte(line, '{')
	if open < 0 || !bytes.HasSuffix(line, []byte("}")) {
		return 0, false, false
	}
	digits, nonsync := strings.CutSuffix(string(line[open+1:len(line)-1]), "+")
	size, err := strconv.ParseInt(digits, 10, 64)
	if errors.Is(err, strconv.ErrRange) { // then size is the largest there is
		err = nil
	}
	return size, nonsync, err == nil && size >= 0
}

// atomChar is ATOM-CHAR (RFC 9051 section 9) of 7 bits.
func atomChar(c byte) bool {
	return c > ' ' && c < 0x7f && c != '(' && c != ')' && c != '{' && c != '%' && c != '*' && c != '"' && c != '\\' && c != ']'
}

// nameChar is what an unquoted string may hold.
func nameChar(c byte) bool {
	return atomChar(c) || c == ']' || c == '%' || c == '*' || c == '\\' || c >= 0x80
}

// while reads octets as long as they are allowed.
func (d *Decoder) while(allowed func(byte) bool) string {
	var b strings.Builder
	for c := d.Peek(); c != 0 && allowed(c) && d.err == nil; c = d.Peek() {
		d.take()
		b.WriteByte(c)
	}
	if d.err != nil {
		return ""
	}
	return b.String()
}

// Atom reads an atom as it stands.
func (d *Decoder) Atom() string {
	s := d.while(atomChar)
	if s == "" {
		d.Fail("Expected an atom")
	}
	return s
}

// Word reads an atom that is a keyword of the protocol, and gives it in
// capitals.
func (d *Decoder) Word() string { return strings.ToUpper(d.Atom()) }

// Tag reads the tag of a command.
func (d *Decoder) Tag() string {
	s := d.while(func(c byte) bool { return atomChar(c) && c != '+' || c == ']' })
	switch {
	case s == "":
		d.Fail("Expected a tag")
	case len(s) > maxTag:
		d.Fail("Tag too long")
		return ""
	}
	return s
}

// Number reads a number of 32 bits.
func (d *Decoder) Number() uint32 {
	n := d.Number64()
	if n > 1<<32-1 {
		d.Fail("Number too large")
		return 0
	}
	return uint32(n)
}

// Number64 reads a number of 63 bits.
func (d *Decoder) Number64() int64 {
	s := d.while(func(c byte) bool { return c >= '0' && c <= '9' })
	if s == "" {
		d.Fail("Expected a number")
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		d.Fail("Number too large")
		return 0
	}
	return n
}

// String reads a quoted string or a literal. NUL is refused.
func (d *Decoder) String() string {
	switch d.Peek() {
	case '"':
		return d.quoted()
	case '{', '~':
		return d.smallLiteral()
	}
	d.Fail("Expected a string")
	return ""
}

// IsString tells whether a quoted string or a literal is next. An atom may begin
// with "~", too.
func (d *Decoder) IsString() bool {
	switch d.Peek() {
	case '"', '{':
		return true
	case '~':
		b, err := d.R.Peek(2)
		return err == nil && b[1] == '{'
	}
	return false
}

// Astring reads an atom, in which "]" is allowed, or a string. Names and
// passwords with "%", "*", "\" or 8-bit octets often come without quotes.
func (d *Decoder) Astring() string {
	if d.IsString() {
		return d.String()
	}
	s := d.while(nameChar)
	if s == "" {
		d.Fail("Expected a string")
	}
	return s
}

// Nstring reads a string or NIL, for which it gives false.
func (d *Decoder) Nstring() (string, bool) {
	if d.IsString() {
		return d.String(), d.err == nil
	}
	if s := d.Word(); s != "NIL" {
		d.Fail("Expected a string or NIL")
	}
	return "", false
}

func (d *Decoder) quoted() string {
	d.Expect('"')
	var b strings.Builder
	for {
		c := d.Peek()
		if c == 0 || d.err != nil {
			d.Fail("Unterminated quoted string")
			return ""
		}
		d.take()
		if c == '"' {
			return b.String()
		}
		if c == '\\' {
			if c = d.Peek(); c != '"' && c != '\\' {
				d.Fail("Bad escape in a quoted string")
				return ""
			}
			d.take()
		}
		b.WriteByte(c)
	}
}

// Announced is a literal that the client wants to send.
type Announced struct {
	Size   int64 // octets
	Binary bool  // literal8 (RFC 3516)
	Sync   bool  // the client waits to be asked
}

// Announcement reads the head of a literal, up to its line end. Accept or
// Refuse comes next.
func (d *Decoder) Announcement() (a Announced) {
	a.Binary = d.Accept('~')
	d.Expect('{')
	a.Size = d.Number64()
	a.Sync = !d.Accept('+')
	d.Expect('}')
	if d.err != nil || d.lineEnd() != nil {
		return Announced{}
	}
	// Unless it is asked for a synchronizing literal, the client goes on with
	// another command.
	d.ended = a.Sync
	if !a.Sync {
		d.literal = a.Size
	}
	return a
}

// Literal gives the octets of an announced literal, asking for them if need
// be. They must be read to their end before anything else is read, unless
// the command is given up: Drain copes with that.
func (d *Decoder) Literal(a Announced) io.Reader {
	if d.err == nil && a.Sync {
		if err := d.Continue(); err != nil {
			d.broken(err)
		}
		d.ended, d.literal = false, a.Size
	}
	return &literalReader{d: d}
}

// Refuse gives a literal up that is over limit octets.
func (d *Decoder) Refuse(a Announced, limit int64) {
	if d.err == nil {
		d.err = &TooBigError{Size: a.Size, Limit: limit}
	}
}

type literalReader struct{ d *Decoder }

// Read reads from the connection; its errors are the decoder's.
func (r *literalReader) Read(p []byte) (int, error) {
	if r.d.err != nil {
		return 0, r.d.err
	}
	if r.d.literal == 0 {
		return 0, io.EOF
	}
	n, err := r.d.R.Read(p[:min(int64(len(p)), r.d.literal)])
	r.d.literal -= int64(n)
	if err != nil {
		r.d.broken(err)
		return n, r.d.err
	}
	return n, nil
}

func (d *Decoder) smallLiteral() string {
	b := d.octets()
	if bytes.IndexByte(b, 0) >= 0 {
		d.Fail("NUL in a string")
		return ""
	}
	return string(b)
}

// Octets reads a value (RFC 5464): a string, a literal8, whose octets may be
// any, or NIL, for which it gives nil.
func (d *Decoder) Octets() []byte {
	if c := d.Peek(); c == '{' || c == '~' {
		return d.octets()
	}
	if s, there := d.Nstring(); there {
		return []byte(s)
	}
	return nil
}

// octets reads a literal into memory.
func (d *Decoder) octets() []byte {
	a := d.Announcement()
	if d.err != nil {
		return nil
	}
	if room := int64(d.limit() - d.used); a.Size > room {
		d.Refuse(a, max(0, room))
		return nil
	}
	b := bytes.NewBuffer([]byte{}) // grows with what comes, not with what was announced
	if n, err := b.ReadFrom(d.Literal(a)); err != nil || n < a.Size {
		d.broken(cmp.Or(err, io.ErrUnexpectedEOF))
		return nil
	}
	d.count(b.Len())
	return b.Bytes()
}

// List reads a parenthesized list; each reads one element.
func (d *Decoder) List(each func()) {
	d.Expect('(')
	if d.depth++; d.depth > maxNesting {
		d.Fail("Too many parentheses")
	}
	for d.Accept(' ') {
	}
	for first := true; d.err == nil && !d.Accept(')'); first = false {
		if !first {
			if !d.Accept(' ') {
				d.Fail("Expected a space or )")
				return
			}
			for d.Accept(' ') {
			}
			if d.Accept(')') {
				break
			}
		}
		each()
	}
	d.depth--
}

// Nest runs parse one level deeper, or fails when that is too deep. Grammars
// that recurse without parentheses use it.
func (d *Decoder) Nest(parse func()) {
	if d.depth++; d.depth > maxNesting {
		d.Fail("Nested too deep")
		return
	}
	parse()
	d.depth--
}

// Flag reads a flag or keyword, "\Seen" with its backslash.
func (d *Decoder) Flag() string {
	if d.Accept('\\') {
		if d.Accept('*') {
			return `\*`
		}
		return `\` + d.Atom()
	}
	return d.Atom()
}

// Flags reads a list of flags, or one or more without parentheses, as STORE
// has them.
func (d *Decoder) Flags() (flags []string) {
	if d.Peek() == '(' {
		d.List(func() { flags = append(flags, d.Flag()) })
		return flags
	}
	flags = append(flags, d.Flag())
	for d.err == nil && d.AcceptSP() {
		flags = append(flags, d.Flag())
	}
	return flags
}

// Text gives the rest of the line and ends the command, for what is only
// passed over or is base64.
func (d *Decoder) Text() string {
	s := d.while(func(byte) bool { return true })
	d.lineEnd()
	return s
}

// Mailbox reads a mailbox name and gives it in UTF-8.
func (d *Decoder) Mailbox() string { return d.name(d.Astring()) }

// ListPattern reads a mailbox name with wildcards.
func (d *Decoder) ListPattern() string {
	if d.IsString() {
		return d.name(d.String())
	}
	s := d.while(nameChar)
	if s == "" {
		d.Fail("Expected a mailbox pattern")
	}
	return d.name(s)
}

// name decodes modified UTF-7, unless names are UTF-8. Old clients that send
// UTF-8 all the same are understood, and so is broken modified UTF-7: as it
// stands.
func (d *Decoder) name(s string) string {
	if strings.EqualFold(s, "INBOX") {
		return "INBOX"
	}
	if !utf8.ValidString(s) {
		d.Fail("Mailbox name is not UTF-8")
		return ""
	}
	if d.UTF8 {
		return s
	}
	if name, ok := DecodeName(s); ok {
		return name
	}
	return s
}
