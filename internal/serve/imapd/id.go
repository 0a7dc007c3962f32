package imapd

import (
	"context"
	"strings"
	"unicode"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Bounds of ID (RFC 2971 section 3.3).
const (
	maxIDFields = 30
	maxIDField  = 30   // octets
	maxIDValue  = 1024 // octets
	maxIDEvent  = 300  // octets of all that are recorded
)

// parseID notes what a client says of itself, for the event of its login.
func (c *conn) parseID(d *wire.Decoder) task {
	var said []string
	d.SP()
	if d.Peek() == '(' {
		fields := 0
		d.List(func() {
			field := d.String()
			d.SP()
			value, there := d.Nstring()
			switch fields++; {
			case fields > maxIDFields:
				d.Fail("More than %d fields", maxIDFields)
			case len(field) > maxIDField || len(value) > maxIDValue:
				d.Fail("Field too long")
			case there:
				said = append(said, printable(field)+"="+printable(value))
			}
		})
	} else if _, there := d.Nstring(); there {
		d.Fail("Expected a list or NIL")
	}
	d.End()
	return task{run: func(context.Context) (string, error) {
		if c.id == "" && len(said) > 0 {
			c.id = cut(strings.Join(said, " "), maxIDEvent)
		}
		c.line(`* ID ("name" "migiwa")`)
		return "", nil
	}}
}

// cut gives at most n octets of s, for an event: the journal is no place for
// what strangers want to keep.
func cut(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

// printable gives s without what does not belong into a line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
