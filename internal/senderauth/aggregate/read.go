package aggregate

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Limits of what is read.
const (
	MaxPacked  = 20 << 20 // octets as they come
	MaxSize    = 24 << 20 // of XML
	MaxRecords = 40_000

	maxRepaired = 8 << 20 // octets of XML that are looked through for stray <
	maxParts    = 5       // of a mail that are tried
)

// Errors of reading; others come from the reader.
var (
	ErrTooLarge = errors.New("the report is too large")
	ErrInvalid  = errors.New("this is no aggregate report")
)

// Read reads a report: XML, or one such file in gzip or zip. What reporters
// commonly do wrong is read all the same.
func Read(r io.Reader) (*Report, error) {
	packed, err := readAll(r, MaxPacked)
	if err != nil {
		return nil, err
	}
	text, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	report, err := parse(text)
	if errors.Is(err, ErrInvalid) && len(text) <= maxRepaired {
		if again, err := parse(escaped(text)); err == nil {
			return again, nil
		}
	}
	return report, err
}

// markup is what can be a tag of a report.
var markup = regexp.MustCompile(`<(/?[A-Za-z_][\w:.-]*(\s[^<>]*)?/?|[?!][^<>]*)>`)

// escaped writes each < that begins no tag as it should be: some reporters put
// an address in angle brackets, or a name as they found it, where text belongs.
func escaped(text []byte) []byte {
	out := make([]byte, 0, len(text)+1000)
	from := 0
	plain := func(to int) { out = append(out, bytes.ReplaceAll(text[from:to], []byte("<"), []byte("&lt;"))...) }
	for _, tag := range markup.FindAllIndex(text, -1) {
		plain(tag[0])
		out = append(out, text[tag[0]:tag[1]]...)
		from = tag[1]
	}
	plain(len(text))
	return out
}

// readAll reads up to limit octets; more are an error.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = ErrTooLarge
	}
	return b, err
}

func unpack(b []byte) ([]byte, error) {
	var r io.ReadCloser
	var err error
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		r, err = gzip.NewReader(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte("PK\x03\x04")):
		r, err = openZip(b)
	default:
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	defer r.Close()
	text, err := readAll(r, MaxSize)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && bytes.HasSuffix(bytes.TrimSpace(text), []byte("</feedback>")):
		return text, nil // only the sum behind it is missing
	case err != nil && !errors.Is(err, ErrTooLarge):
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return text, err
}

func openZip(b []byte) (io.ReadCloser, error) {
	archive, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	if len(archive.File) > 100 {
		return nil, errors.New("more than one file")
	}
	for _, f := range archive.File {
		if !f.FileInfo().IsDir() {
			return f.Open()
		}
	}
	return nil, errors.New("an empty archive")
}

// otherCharset is a label other than that of UTF-8.
var otherCharset = regexp.MustCompile(`(?i)<\?xml[^>]*encoding=["'][^u"']`)

// decoder gives the tokens of a report, with what reporters commonly do wrong
// put right.
func decoder(text []byte) *xml.Decoder {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if !otherCharset.Match(text[:min(len(text), 200)]) {
		text = bytes.ToValidUTF8(text, []byte("?"))
	}
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Strict = false // an & that stands alone, an element left open
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		raw, err := io.ReadAll(in)
		return strings.NewReader(mail.DecodeCharset(label, raw)), err
	}
	return xml.NewTokenDecoder(&bounded{d: d})
}

// parse reads XML element by element, so that memory follows its size.
func parse(text []byte) (*Report, error) {
	if longTag(text) {
		return nil, fmt.Errorf("%w: a tag of more than %d octets", ErrTooLarge, maxTag)
	}
	d := decoder(text)
	r := &Report{}
	inside, policy := false, false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, invalid(err)
		}
		if end, ok := token.(xml.EndElement); ok && end.Name.Local == "feedback" {
			break
		}
		start, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case !inside: // some put a schema around
			inside = start.Name.Local == "feedback"
		default:
			policy = policy || start.Name.Local == "policy_published"
			if err := r.element(d, start); err != nil {
				return nil, err
			}
		}
	}
	if !inside || !policy || r.Policy.Domain == "" && len(r.Records) == 0 {
		return nil, fmt.Errorf("%w: it tells of no domain", ErrInvalid)
	}
	r.tidy()
	return r, nil
}

// element reads one element below the root.
func (r *Report) element(d *xml.Decoder, start xml.StartElement) error {
	var err error
	switch start.Name.Local {
	case "version":
		err = d.DecodeElement(&r.Version, &start)
	case "report_metadata":
		err = d.DecodeElement(&r.Metadata, &start)
	case "policy_published":
		err = d.DecodeElement(&r.Policy, &start)
	case "record":
		if len(r.Records) == MaxRecords {
			return fmt.Errorf("%w: more than %d records", ErrTooLarge, MaxRecords)
		}
		var rec Record
		err = d.DecodeElement(&rec, &start)
		rec.tidy()
		r.Records = append(r.Records, rec)
	default:
		err = d.Skip()
	}
	if err != nil {
		return invalid(err)
	}
	return nil
}

// invalid makes an error of the decoder one of ours.
func invalid(err error) error {
	if errors.Is(err, ErrTooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// Number is a count, up to 2³¹−1; what is none reads as 0.
type Number int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Number) UnmarshalText(b []byte) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	if err != nil || !(v >= 0) {
		v = 0
	}
	*n = Number(min(v, math.MaxInt32))
	return nil
}

// Seconds is a time in seconds since 1970; what is none reads as 0.
type Seconds int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Seconds) UnmarshalText(b []byte) error {
	v, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	if err != nil || !(v >= 0 && v < 1<<40) {
		v = 0
	}
	*s = Seconds(v)
	return nil
}

// Time gives s as a time.
func (s Seconds) Time() time.Time { return time.Unix(int64(s), 0) }

// FromMessage reads the report that a mail carries, the first of several. A
// mail without anything that could be one is ErrInvalid.
func FromMessage(message io.Reader) (*Report, error) {
	var found *Report
	problem := fmt.Errorf("%w: no file is attached", ErrInvalid)
	tried := 0
	_, err := mail.ReadMIME(message, mail.DefaultMIMELimits(), func(p *mail.Part, body io.Reader) error {
		if found != nil || !p.Leaf || !carries(p) {
			return nil
		}
		if tried++; tried > maxParts {
			return nil
		}
		r, err := Read(p.Decode(body))
		if found = r; err != nil {
			problem = err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, problem
	}
	return found, nil
}

// carries tells whether a part may hold a report (RFC 9990 section 3.4).
func carries(p *mail.Part) bool {
	switch p.Type {
	case "application/gzip", "application/x-gzip", "application/zip", "application/x-zip-compressed", "application/x-zip",
		"application/xml", "text/xml", "application/octet-stream":
		return true
	}
	for _, name := range []string{p.DispositionParams["filename"], p.Params["name"]} {
		name = strings.ToLower(name)
		if strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".zip") || strings.HasSuffix(name, ".xml") {
			return true
		}
	}
	return false
}
