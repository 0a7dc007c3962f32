package imapd

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// folderCommands are LIST, STATUS, CREATE and their kind.
var folderCommands = map[string]command{
	"CREATE":      {after, (*conn).parseCreate},
	"DELETE":      {after, (*conn).parseDelete},
	"RENAME":      {after, (*conn).parseRename},
	"SUBSCRIBE":   {after, func(c *conn, d *wire.Decoder) task { return c.parseSubscribe(d, true) }},
	"UNSUBSCRIBE": {after, func(c *conn, d *wire.Decoder) task { return c.parseSubscribe(d, false) }},
	"LIST":        {after, (*conn).parseList},
	"LSUB":        {after, (*conn).parseLsub},
	"STATUS":      {after, (*conn).parseStatus},
	"NAMESPACE":   {after, (*conn).parseNamespace},
}

// parseCreate reads CREATE, with the special use of RFC 6154 section 5.
func (c *conn) parseCreate(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	var uses []string
	if d.AcceptSP() {
		d.List(func() {
			if d.Word() != "USE" {
				d.Fail("Unknown parameter of CREATE")
			}
			d.SP()
			d.List(func() { uses = append(uses, d.Flag()) })
		})
	}
	d.End()
	return task{run: func(ctx context.Context) (string, error) { return c.create(ctx, name, uses) }}
}

func (c *conn) create(ctx context.Context, name string, uses []string) (string, error) {
	at, err := c.locate(ctx, strings.TrimSuffix(name, "/"))
	if err != nil {
		return "", err
	}
	if err := c.mayCreate(ctx, at); err != nil {
		return "", err
	}
	role, ok := useRole(uses)
	if !ok || role != "" && at.owner != "" {
		return "", no("USEATTR", "Special use not available")
	}
	f, err := c.srv.Mailboxes.Create(ctx, at.account, at.name, role)
	if errors.Is(err, mailbox.ErrExists) && role != "" {
		if _, there := c.srv.Mailboxes.Folder(ctx, at.account, at.name); errors.Is(there, mailbox.ErrNoFolder) {
			return "", no("USEATTR", "Another mailbox has this special use")
		}
	}
	if err != nil {
		return "", err
	}
	c.watching.created(f, at)
	return "[MAILBOXID (" + mailboxID(f) + ")] Mailbox created", c.tellNewName(ctx, strings.TrimSuffix(name, "/"), at, false)
}

// specialUses are the attributes of RFC 6154 that a mailbox may have, by role.
var specialUses = []string{"Archive", "Drafts", "Junk", "Sent", "Trash"}

// useRole gives the role of special-use attributes: one at most is possible.
func useRole(uses []string) (string, bool) {
	if len(uses) == 0 {
		return "", true
	}
	i := slices.IndexFunc(specialUses, func(r string) bool { return strings.EqualFold(`\`+r, uses[0]) })
	if len(uses) > 1 || i < 0 {
		return "", false
	}
	return specialUses[i], true
}

// mayCreate tells whether the user may make a mailbox there: among others'
// that is up to the nearest above it (RFC 4314 section 4).
func (c *conn) mayCreate(ctx context.Context, at spot) error {
	if at.owner == "" {
		if at.name == others {
			return no("CANNOT", "This name is taken for mailboxes of others")
		}
		return nil
	}
	for up := parent(at.name); up != ""; up = parent(up) {
		_, rights, err := c.look(ctx, spot{account: at.account, owner: at.owner, name: up})
		if errors.Is(err, mailbox.ErrNoFolder) {
			continue
		}
		if err != nil || rights&mailbox.CreateBelow != 0 {
			return err
		}
		break
	}
	return no("NOPERM", "You may not create mailboxes there")
}

// tellNewName tells a client of IMAP4rev2 the name that a mailbox has now, when
// that is not the one it gave or when it has been renamed (RFC 9051 sections
// 6.3.4 and 6.3.6).
func (c *conn) tellNewName(ctx context.Context, given string, at spot, renamed bool) error {
	if !c.enabled.rev2 || !renamed && given == at.shown() {
		return nil
	}
	return c.tellListed(ctx, at, given)
}

func (c *conn) parseDelete(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	d.End()
	return task{run: func(ctx context.Context) (string, error) {
		f, _, err := c.find(ctx, name, mailbox.DeleteFolder)
		if err != nil {
			return "", err
		}
		if err := c.srv.Mailboxes.Delete(ctx, f.Account, f.Name); err != nil {
			return "", err
		}
		c.watching.deleted(f.ID)
		c.dropped(f)
		return "", nil
	}}
}

func (c *conn) parseRename(d *wire.Decoder) task {
	d.SP()
	from := d.Mailbox()
	d.SP()
	to := d.Mailbox()
	d.End()
	return task{run: func(ctx context.Context) (string, error) { return "", c.rename(ctx, from, to) }}
}

func (c *conn) rename(ctx context.Context, from, to string) error {
	src, err := c.locate(ctx, from)
	if err != nil {
		return err
	}
	dst, err := c.locate(ctx, strings.TrimSuffix(to, "/"))
	if err != nil {
		return err
	}
	// A level of our own that has no mailbox can be renamed: those below are.
	if src.owner != "" {
		if _, _, err := c.findAt(ctx, src, mailbox.DeleteFolder); err != nil {
			return err
		}
		if src.name == inbox {
			return mailbox.ErrInbox
		}
	}
	if err := c.mayCreate(ctx, dst); err != nil {
		return err
	}
	if src.account != dst.account {
		return no("CANNOT", "A mailbox stays with its owner")
	}
	if err := c.srv.Mailboxes.Rename(ctx, src.account, src.name, dst.name); err != nil {
		return err
	}
	c.watching.renamed(src, dst)
	return c.tellNewName(ctx, src.shown(), dst, true)
}

func (c *conn) parseSubscribe(d *wire.Decoder, on bool) task {
	d.SP()
	name := d.Mailbox()
	d.End()
	return task{run: func(ctx context.Context) (string, error) {
		at, err := c.locate(ctx, name)
		if err == nil && at.owner != "" && on {
			_, _, err = c.findAt(ctx, at, mailbox.Lookup)
		}
		if err != nil {
			return "", err
		}
		if err = c.srv.Mailboxes.Subscribe(ctx, c.account, at.shown(), on); err == nil {
			c.watching.subscribe(at.shown(), on)
		}
		return "", err
	}}
}
