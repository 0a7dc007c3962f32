package imapd

import (
	"context"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// parseRights reads rights as SETACL has them, with what is done with them in
// front: "+", "-", or nothing for instead of those that are there.
func parseRights(d *wire.Decoder) (op byte, rights mailbox.Rights) {
	text := d.Astring()
	if text != "" && (text[0] == '+' || text[0] == '-') {
		op, text = text[0], text[1:]
	}
	rights, err := mailbox.ParseRights(text)
	if err != nil {
		d.Fail("Unknown right")
	}
	return op, rights
}

// anyone is the identifier of mailbox.Anyone.
const anyone = "anyone"

// grantee gives the account of an identifier. One without a domain is of the
// user's own.
func (c *conn) grantee(ctx context.Context, identifier string) (int64, error) {
	if identifier == anyone {
		return mailbox.Anyone, nil
	}
	unknown := no("CANNOT", "Rights are given to addresses of accounts, or to anyone")
	if c.srv.Owner == nil {
		return 0, unknown
	}
	if !strings.Contains(identifier, "@") {
		own, err := c.srv.Address(ctx, c.account)
		if err != nil {
			return 0, err
		}
		_, domain, _ := strings.Cut(own[strings.LastIndexByte(own, '"')+1:], "@")
		identifier += "@" + domain
	}
	a, err := mail.ParseAddress(identifier)
	if err != nil {
		return 0, unknown
	}
	account, err := c.srv.Owner(ctx, a)
	if err == nil && account == 0 {
		err = unknown
	}
	return account, err
}

// identifier is the way back from grantee; "" for accounts that are gone.
func (c *conn) identifier(ctx context.Context, account int64) (string, error) {
	if account == mailbox.Anyone {
		return anyone, nil
	}
	if c.srv.Address == nil {
		return "", nil
	}
	return c.srv.Address(ctx, account)
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
		e.Raw(" " + rights.Obsolete())
		return nil
	})
}

func (c *conn) parseGetACL(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	d.End()
	return task{shared: true, run: func(ctx context.Context) (string, error) {
		f, _, err := c.find(ctx, name, mailbox.Administer)
		if err != nil {
			return "", err
		}
		grants, err := c.srv.Mailboxes.Grants(ctx, f.ID)
		if err != nil {
			return "", err
		}
		var words []string // identifier and rights in turn
		for _, g := range append([]mailbox.Grant{{Account: f.Account, Rights: mailbox.AllRights}}, grants...) {
			identifier, err := c.identifier(ctx, g.Account)
			if err != nil {
				return "", err
			}
			if identifier != "" {
				words = append(words, identifier, g.Rights.Obsolete())
			}
		}
		return "", c.tellWords("ACL", name, words)
	}}
}

// tellWords writes a response about a mailbox that consists of strings.
func (c *conn) tellWords(response, name string, words []string) error {
	return c.respond(func(e *wire.Encoder) error {
		e.Raw("* " + response + " ")
		e.Mailbox(name)
		for _, w := range words {
			e.Raw(" ")
			e.Astring(w)
		}
		return nil
	})
}

func (c *conn) parseSetACL(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	d.SP()
	identifier := d.Astring()
	d.SP()
	op, rights := parseRights(d)
	d.End()
	return task{run: func(ctx context.Context) (string, error) {
		return "", c.setACL(ctx, name, identifier, func(now mailbox.Rights) mailbox.Rights {
			switch op {
			case '+':
				return now | rights
			case '-':
				return now &^ rights
			}
			return rights
		})
	}}
}

// parseDeleteACL is DELETEACL.
func (c *conn) parseDeleteACL(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	d.SP()
	identifier := d.Astring()
	d.End()
	return task{run: func(ctx context.Context) (string, error) {
		return "", c.setACL(ctx, name, identifier, func(mailbox.Rights) mailbox.Rights { return 0 })
	}}
}

// setACL changes the rights of an identifier. The owner's are always all, so
// that nobody can be locked out of what is theirs (RFC 4314 section 2).
func (c *conn) setACL(ctx context.Context, name, identifier string, change func(now mailbox.Rights) mailbox.Rights) error {
	f, _, err := c.find(ctx, name, mailbox.Administer)
	if err != nil {
		return err
	}
	to, err := c.grantee(ctx, identifier)
	if err != nil {
		return err
	}
	if to == f.Account {
		if change(mailbox.AllRights) != mailbox.AllRights {
			return no("CANNOT", "The owner keeps all rights")
		}
		return nil
	}
	return c.srv.Mailboxes.SetGrant(ctx, f.ID, to, change)
}

// parseListRights is LISTRIGHTS: the owner has all rights and always will,
// others may get each by itself.
func (c *conn) parseListRights(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	d.SP()
	identifier := d.Astring()
	d.End()
	return task{shared: true, run: func(ctx context.Context) (string, error) {
		f, _, err := c.find(ctx, name, mailbox.Administer)
		if err != nil {
			return "", err
		}
		to, err := c.grantee(ctx, identifier)
		if err != nil {
			return "", err
		}
		all := mailbox.AllRights.Obsolete()
		words := []string{identifier, all}
		if to != f.Account {
			words = append([]string{identifier, ""}, strings.Split(all, "")...)
		}
		return "", c.tellWords("LISTRIGHTS", name, words)
	}}
}
