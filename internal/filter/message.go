package filter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"sync"

	"github.com/migiwa/migiwa/internal/filter/hypertext"
	"github.com/migiwa/migiwa/internal/mail"
)

// Bounds of what is kept of one message, however large it is.
const (
	maxLeaves    = 200
	maxText      = 256 << 10 // octets of UTF-8 of one part
	maxTexts     = 1 << 20   // of all parts
	headSize     = 4 << 10
	maxMIMEDepth = 30
	maxMIMEParts = 500
)

// Envelope is what the dialogue told of a message. The zero value is mail whose
// way here is unknown, such as a file; filters that need more then find nothing.
type Envelope struct {
	Trace      string
	Client     netip.Addr
	ClientName string // forward-confirmed name of Client, "" when it has none
	Hello      string
	From       mail.Address
	Account    string               // of the authenticated sender, "" for strangers
	TLS        *tls.ConnectionState // nil: in the clear
	Hostname   string               // of this server, for Authentication-Results
}

// Message is one message as filters see it. It is read only and shared by all
// filters, which run at the same time.
type Message struct {
	Envelope
	Header *mail.Header
	Root   *mail.Part
	Parts  []*Part // leaves, the first 200
	Size   int64   // octets
	// Over says that there were more parts, or larger ones, than are looked at.
	Over bool

	open func() (io.ReadCloser, error)
	once sync.Map // what Once made, by its type
}

// Part is a leaf of the message and what was kept of it.
type Part struct {
	*mail.Part
	Text   string // of text parts, UTF-8, the first 256 KiB
	Cut    bool   // Text is not all of it
	Head   []byte // the first 4 KiB, decoded
	Length int64  // octets, decoded
	Sum    [sha256.Size]byte

	page func() *hypertext.Page
}

// Page gives the part's HTML taken apart; nil for anything else.
func (p *Part) Page() *hypertext.Page {
	if p.page == nil {
		return nil
	}
	return p.page()
}

// Open gives the whole message again from its start. It is an error when the
// message was not kept.
func (m *Message) Open() (io.ReadCloser, error) {
	if m.open == nil {
		return nil, fmt.Errorf("filter: the message was not kept")
	}
	return m.open()
}

// Keep says how Open gets the message, once it is stored.
func (m *Message) Keep(open func() (io.ReadCloser, error)) { m.open = open }

// Once gives what make makes of m, made once for all filters. There is one for
// each type T.
func Once[T any](m *Message, make func(*Message) T) T {
	value, _ := m.once.LoadOrStore(reflect.TypeFor[T](), sync.OnceValue(func() T { return make(m) }))
	return value.(func() T)()
}

// FromBytes reads a message that is in memory.
func FromBytes(env Envelope, raw []byte) (*Message, error) {
	m, err := Read(env, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	m.Keep(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
	return m, nil
}

// Read takes a message apart while it reads r once, to its end. An error is one
// of r; broken messages are none.
func Read(env Envelope, r io.Reader) (*Message, error) {
	counted := &countingReader{r: r}
	m := &Message{Envelope: env}
	limits := mail.DefaultMIMELimits()
	limits.Depth, limits.Parts = maxMIMEDepth, maxMIMEParts
	kept := 0
	root, err := mail.ReadMIME(counted, limits, func(p *mail.Part, body io.Reader) error {
		if !p.Leaf {
			return nil
		}
		if len(m.Parts) == maxLeaves {
			m.Over = true
			return nil
		}
		leaf, err := readLeaf(p, body, max(0, min(maxText, maxTexts-kept)))
		if err != nil {
			return err
		}
		kept += len(leaf.Text)
		m.Over = m.Over || leaf.Cut
		m.Parts = append(m.Parts, leaf)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return nil, err
	}
	m.Root, m.Header, m.Size = root, root.Header, counted.n
	return m, nil
}

func readLeaf(p *mail.Part, body io.Reader, room int) (*Part, error) {
	leaf := &Part{Part: p}
	sum := sha256.New()
	head := &headWriter{limit: headSize}
	counted := &countingReader{r: p.Decode(body)}
	decoded := io.TeeReader(counted, io.MultiWriter(sum, head))
	if p.Is("text/") && p.Disposition != "attachment" {
		text, err := io.ReadAll(io.LimitReader(p.DecodedText(decoded), int64(room)+1))
		if err != nil {
			return nil, err
		}
		if leaf.Cut = len(text) > room; leaf.Cut {
			text = text[:room]
		}
		leaf.Text = strings.ToValidUTF8(string(text), "")
	}
	if _, err := io.Copy(io.Discard, decoded); err != nil {
		return nil, err
	}
	leaf.Head, leaf.Length = head.kept, counted.n
	sum.Sum(leaf.Sum[:0])
	if p.Is("text/html") || leaf.Text != "" && hypertext.Looks(leaf.Text) {
		leaf.page = sync.OnceValue(func() *hypertext.Page { return hypertext.Parse(leaf.Text) })
	}
	return leaf, nil
}

// Text gives what a person reads of the message: its plain texts, and the
// visible text of its HTML.
func (m *Message) Text() string {
	var b strings.Builder
	for _, p := range m.Parts {
		if page := p.Page(); page != nil {
			b.WriteString(page.Text)
		} else {
			b.WriteString(p.Text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Author gives the first address of the From field, and how many addresses all
// From fields hold.
func (m *Message) Author() (author mail.HeaderAddress, count int) {
	for _, value := range m.Header.Values("From") {
		list, _ := mail.ParseAddressList(value)
		if count == 0 && len(list) > 0 {
			author = list[0]
		}
		count += len(list)
	}
	return author, count
}

// Filter looks for one kind of thing.
type Filter interface {
	// Name is the word that recipients and events know the filter by.
	Name() string
	// Check adds to r what it finds in m for the recipients of r, who all have
	// the filter on. It ends when ctx does. An error is temporary by nature: a
	// server that does not answer, a list that cannot be reached.
	Check(ctx context.Context, m *Message, r *Report) error
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// headWriter keeps the first octets.
type headWriter struct {
	limit int
	kept  []byte
}

func (w *headWriter) Write(b []byte) (int, error) {
	if room := w.limit - len(w.kept); room > 0 {
		w.kept = append(w.kept, b[:min(room, len(b))]...)
	}
	return len(b), nil
}
