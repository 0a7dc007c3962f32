package imapd

import (
	"context"
	"strings"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// enabled is what ENABLE (RFC 5161) has turned on, or a command that implies it.
type enabled struct {
	condstore bool // RFC 7162: MODSEQ in every FETCH of flags
	qresync   bool // RFC 7162: VANISHED for EXPUNGE
	utf8      bool // RFC 6855
	rev2      bool // RFC 9051
	uidOnly   bool // RFC 9586
}

// turnOn turns an extension on. It is false for what there is not, or what is
// on already.
func (n *enabled) turnOn(extension string) bool {
	before := *n
	switch extension {
	case "CONDSTORE":
		n.condstore = true
	case "QRESYNC":
		n.qresync, n.condstore = true, true
	case "UTF8=ACCEPT":
		n.utf8 = true
	case "IMAP4REV2":
		n.rev2 = true
	case "UIDONLY":
		n.uidOnly = true
	}
	return *n != before
}

func (c *conn) parseEnable(d *wire.Decoder) task {
	var words []string
	for d.SP(); d.Err() == nil; {
		words = append(words, d.Atom())
		if !d.AcceptSP() {
			break
		}
	}
	d.End()
	return task{run: func(context.Context) (string, error) {
		response, had := "* ENABLED", c.enabled.condstore
		for _, w := range words {
			if c.enabled.turnOn(strings.ToUpper(w)) {
				response += " " + w
			}
		}
		c.line(response)
		if c.sel != nil && c.enabled.condstore && !had { // RFC 7162 section 3.1
			c.line("* OK " + highest(c.sel.folder.ModSeq) + "Highest mod-sequence")
		}
		c.useUTF8(c.enabled.utf8 || c.enabled.rev2)
		if c.sel != nil {
			c.sel.uidOnly = c.enabled.uidOnly
		}
		return "", nil
	}}
}

// useUTF8 sets whether names and strings are UTF-8. No other command runs.
func (c *conn) useUTF8(on bool) {
	c.dec.UTF8 = on
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.enc.UTF8 = on
}
