package imapd

import (
	"context"
	"fmt"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// Names that mean something to us.
const (
	inbox = "INBOX"
	// others is the namespace of what other users share (RFC 2342): others,
	// the owner's address, the name that the mailbox has there.
	others = "Other Users"
)

// spot is where the name of a mailbox leads.
type spot struct {
	account int64  // whose mailbox it is or would be; 0: nobody's
	owner   string // the owner's address; empty for mailboxes of our own
	name    string // in the owner's account, as the store keeps it
}

// shown gives the name by which the client knows the spot.
func (s spot) shown() string {
	if s.owner == "" {
		return s.name
	}
	return others + "/" + s.owner + "/" + s.name
}

// locate takes a name apart. Whether anything is there, it does not tell: an
// owner who does not exist is no error.
func (c *conn) locate(ctx context.Context, name string) (spot, error) {
	if name == "" {
		return spot{}, fmt.Errorf("%w: empty", mailbox.ErrName)
	}
	rest, ok := strings.CutPrefix(name, others+"/")
	if !ok {
		name, err := mailbox.NormalName(name)
		return spot{account: c.account, name: name}, err
	}
	owner, inner, err := splitOwner(rest)
	if err != nil {
		return spot{}, err
	}
	at := spot{owner: owner.String()}
	if at.name, err = mailbox.NormalName(inner); err != nil || c.srv.Owner == nil {
		return at, err
	}
	if at.account, err = c.srv.Owner(ctx, owner); err != nil {
		return at, err
	}
	if at.account == c.account {
		at.account = 0 // our own mailboxes have one name, not two
	}
	if at.account != 0 {
		at.owner, err = c.srv.Address(ctx, at.account)
	}
	return at, err
}

// splitOwner reads "address/name". A local part may hold slashes, a domain may
// not.
func splitOwner(s string) (owner mail.Address, name string, err error) {
	for i := range min(len(s), mail.MaxPath+1) {
		if s[i] != '/' {
			continue
		}
		owner, err := mail.ParseAddress(s[:i])
		if err == nil && owner.Domain != "" && i+1 < len(s) {
			return owner, s[i+1:], nil
		}
	}
	return owner, "", fmt.Errorf("%w: no address behind %s", mailbox.ErrNoFolder, others)
}

// find gives the mailbox of that name as the client writes it, and what the
// user may do with it. Without the rights of need it gives NO [NOPERM]; who
// may not even look it up hears that there is none.
func (c *conn) find(ctx context.Context, name string, need mailbox.Rights) (mailbox.Folder, mailbox.Rights, error) {
	at, err := c.locate(ctx, name)
	if err != nil {
		return mailbox.Folder{}, 0, err
	}
	return c.findAt(ctx, at, need)
}

func (c *conn) findAt(ctx context.Context, at spot, need mailbox.Rights) (mailbox.Folder, mailbox.Rights, error) {
	f, rights, err := c.look(ctx, at)
	if err != nil {
		return f, 0, err
	}
	return f, rights, suffice(rights, need)
}

// look gives the mailbox of a spot and what the user may do with it, which may
// be nothing.
func (c *conn) look(ctx context.Context, at spot) (mailbox.Folder, mailbox.Rights, error) {
	if at.account == 0 {
		return mailbox.Folder{}, 0, mailbox.ErrNoFolder
	}
	f, err := c.srv.Mailboxes.Folder(ctx, at.account, at.name)
	if err != nil {
		return f, 0, err
	}
	rights, err := c.srv.Mailboxes.RightsOf(ctx, f, c.account)
	return f, rights, err
}

// suffice gives nil when rights are all of need. A right that needs no look
// at the list, such as reading, holds without Lookup (RFC 4314 section 4).
func suffice(rights, need mailbox.Rights) error {
	switch {
	case need != 0 && rights&need == need, need == 0 && rights&mailbox.Lookup != 0:
		return nil
	case rights&mailbox.Lookup == 0:
		return mailbox.ErrNoFolder
	}
	return no("NOPERM", "You may not do that with this mailbox")
}

// mayStill looks again at the rights to the selected mailbox when it is somebody
// else's. Without the right to read it is gone: mailbox.ErrNoFolder. What else
// was taken counts at once where the caller is alone with the view; what was
// given counts from the next SELECT on, which says what can be done.
func (c *conn) mayStill(ctx context.Context, alone bool) error {
	v := c.sel
	v.mu.Lock()
	f := v.folder
	v.mu.Unlock()
	if f.Account == c.account {
		return nil
	}
	rights, err := c.srv.Mailboxes.RightsOf(ctx, f, c.account)
	switch {
	case err != nil:
		return err
	case rights&mailbox.ReadRight == 0:
		return mailbox.ErrNoFolder
	case alone:
		v.rights &= rights
	}
	return nil
}

// parent gives the name one level above, "" at the top.
func parent(name string) string { return name[:max(0, strings.LastIndexByte(name, '/'))] }

// mailboxID is the MAILBOXID of a folder (RFC 8474).
func mailboxID(f mailbox.Folder) string { return fmt.Sprintf("F%d", f.ID) }

// parseNamespace is RFC 2342.
func (c *conn) parseNamespace(d *wire.Decoder) task {
	d.End()
	return task{shared: true, run: func(context.Context) (string, error) {
		if c.srv.Owner == nil {
			c.line(`* NAMESPACE (("" "/")) NIL NIL`)
		} else {
			c.line(`* NAMESPACE (("" "/")) (("` + others + `/" "/")) NIL`)
		}
		return "", nil
	}}
}
