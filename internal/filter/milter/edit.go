package milter

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// Kind is what a Modification changes.
type Kind string

// Kinds of modifications.
const (
	AddHeader       Kind = "add header"    // at the end
	InsertHeader    Kind = "insert header" // behind the Index-th field, 0 is the top
	ChangeHeader    Kind = "change header" // the Index-th of that Name, from 1; an empty Value deletes it
	ChangeFrom      Kind = "change sender"
	AddRecipient    Kind = "add recipient"
	DeleteRecipient Kind = "delete recipient"
	ReplaceBody     Kind = "replace body"
)

// Modification is one change that a server wants.
type Modification struct {
	Server string
	Kind   Kind
	Index  int
	Name   string
	Value  string // with LF where it is folded
	// Address is the sender or recipient; the zero Address is the null sender.
	Address mail.Address
	Body    []byte // all of the new one
}

// draft is the message as the servers so far have made it.
type draft struct {
	fields []string // as they stand, with their line ends
	body   []byte   // nil: that of the message
	m      *filter.Message
}

func newDraft(m *filter.Message) *draft {
	d := &draft{m: m}
	for f := range m.Header.All() {
		d.fields = append(d.fields, f.Raw())
	}
	return d
}

// open gives the body.
func (d *draft) open() (io.ReadCloser, error) {
	if d.body != nil {
		return io.NopCloser(bytes.NewReader(d.body)), nil
	}
	r, err := d.m.Open()
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, r, d.m.Root.BodyOffset); err != nil && err != io.EOF {
		r.Close()
		return nil, fmt.Errorf("skipping the header: %w", err)
	}
	return r, nil
}

// splitField gives name and value of a field as it stands, the value from behind
// the colon; ok is false for a line that is no field.
func splitField(raw string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(raw, ":")
	name = strings.TrimRight(name, " \t")
	return name, value, ok && fieldName(name)
}

// fieldName tells whether s is a name: RFC 5322, 3.6.8.
func fieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

// Limits of what a server may write into a header, in octets.
const (
	maxName  = 100
	maxValue = 64 << 10
)

// field writes a field. Whatever the value is, it stays one field: a line end
// not followed by space is made a fold.
func field(name, value string) (string, error) {
	if !fieldName(name) {
		return "", fmt.Errorf("%.40q is no name of a field", name)
	}
	if len(value) > maxValue {
		return "", fmt.Errorf("field %s of %d octets", name, len(value))
	}
	value = strings.Map(func(r rune) rune {
		if r == 0 {
			return -1
		}
		return r
	}, strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(value))
	var b strings.Builder
	b.WriteString(name + ":")
	for i, line := range strings.Split(strings.TrimRight(value, "\n"), "\n") {
		switch {
		case i == 0 && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t"):
			b.WriteByte(' ')
		case i > 0 && strings.Trim(line, " \t") == "": // RFC 5322, 3.2.2: a fold is not empty
			continue
		case i > 0:
			b.WriteString("\r\n")
			if line[0] != ' ' && line[0] != '\t' {
				b.WriteByte('\t')
			}
		}
		b.WriteString(line)
	}
	b.WriteString("\r\n")
	return b.String(), nil
}

// apply makes the changes of one server. Deleted fields keep their place until
// the end, so that the numbers in later changes mean what they meant to it, as in
// sendmail.
func (d *draft) apply(mods []Modification) error {
	fields := append([]string(nil), d.fields...)
	for _, m := range mods {
		var err error
		switch m.Kind {
		case AddHeader, InsertHeader, ChangeHeader:
			fields, err = edit(fields, m)
		case ReplaceBody:
			d.body = m.Body
		}
		if err != nil {
			return err
		}
	}
	d.fields = d.fields[:0:0]
	for _, f := range fields {
		if f != "" {
			d.fields = append(d.fields, f)
		}
	}
	return nil
}

func edit(fields []string, m Modification) ([]string, error) {
	raw, err := field(m.Name, m.Value)
	if err != nil {
		return nil, err
	}
	switch m.Kind {
	case AddHeader:
		return append(fields, raw), nil
	case InsertHeader:
		i := min(max(m.Index, 0), len(fields))
		return append(fields[:i:i], append([]string{raw}, fields[i:]...)...), nil
	}
	if m.Value == "" {
		raw = ""
	}
	nth := 0
	for i, f := range fields {
		if name, _, ok := splitField(f); !ok || !strings.EqualFold(name, m.Name) {
			continue
		}
		if nth++; nth == max(m.Index, 1) {
			fields[i] = raw
			return fields, nil
		}
	}
	if raw != "" { // sendmail adds what is not there
		fields = append(fields, raw)
	}
	return fields, nil
}

// header gives the header as it is now.
func (d *draft) header() *mail.Header {
	return mail.ParseHeader([]byte(strings.Join(d.fields, "") + "\r\n"))
}
