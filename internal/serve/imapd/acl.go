package imapd

import (
	"context"
	"strings"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// rightLetters are the rights by their letters, in the order of their bits
// (RFC 4314 section 2.1).
const rightLetters = "lrswipkxtea"

// The rights that RFC 2086 has in place of others (RFC 4314 section 2.1.1).
const (
	virtualCreate = mailbox.CreateBelow                                              // c
	virtualDelete = mailbox.DeleteFolder | mailbox.DeleteMark | mailbox.ExpungeRight // d
)

// formatRights writes rights, c and d among them where they hold at least in
// part.
func formatRights(r mailbox.Rights) string {
	var b strings.Builder
	for i := range len(rightLetters) {
		if r&(1<<i) != 0 {
			b.WriteByte(rightLetters[i])
		}
	}
	if r&virtualCreate != 0 {
		b.WriteByte('c')
	}
	if r&virtualDelete != 0 {
		b.WriteByte('d')
	}
	return b.String()
}

// parseMyRights is MYRIGHTS. Whoever has a right that is about the mailbox
// itself may ask (RFC 4314 section 4).
func (c *conn) parseMyRights(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	d.End()
	return task{shared: true, run: func(ctx context.Context) (string, error) {
		at, err := c.locate(ctx, name)
		if err != nil {
			return "", err
		}
		_, rights, err := c.look(ctx, at)
		const any = mailbox.Lookup | mailbox.ReadRight | mailbox.Insert | mailbox.CreateBelow | mailbox.DeleteFolder | mailbox.Administer
		if err == nil && rights&any == 0 {
			err = mailbox.ErrNoFolder
		}
		if err != nil {
			return "", err
		}
		return "", c.tellMyRights(name, rights)
	}}
}

func (c *conn) tellMyRights(name string, rights mailbox.Rights) error {
	return c.respond(func(e *wire.Encoder) error {
		e.Raw("* MYRIGHTS ")
		e.Mailbox(name)
		e.Raw(" " + formatRights(rights))
		return nil
	})
}
