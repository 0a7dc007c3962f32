package imapd

import (
	"context"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// An account has one quota root, "" (RFC 9208), when its storage is limited.
// Mailboxes of others have theirs, which is theirs alone to see.

func (c *conn) parseGetQuota(d *wire.Decoder) task {
	d.SP()
	root := d.Astring()
	d.End()
	return task{shared: true, run: func(ctx context.Context) (string, error) {
		u, err := c.srv.Mailboxes.Usage(ctx, c.account)
		if err == nil && (root != "" || u.Limit == 0) {
			err = no("NONEXISTENT", "No such quota root")
		}
		if err != nil {
			return "", err
		}
		return "", c.tellQuota(u)
	}}
}

func (c *conn) parseGetQuotaRoot(d *wire.Decoder) task {
	d.SP()
	name := d.Mailbox()
	d.End()
	return task{shared: true, run: func(ctx context.Context) (string, error) {
		f, _, err := c.find(ctx, name, 0)
		if err != nil {
			return "", err
		}
		var u mailbox.Usage
		if f.Account == c.account {
			if u, err = c.srv.Mailboxes.Usage(ctx, c.account); err != nil {
				return "", err
			}
		}
		err = c.respond(func(e *wire.Encoder) error {
			e.Raw("* QUOTAROOT ")
			e.Mailbox(name)
			if u.Limit > 0 {
				e.Raw(` ""`)
			}
			return nil
		})
		if err != nil || u.Limit == 0 {
			return "", err
		}
		return "", c.tellQuota(u)
	}}
}

// tellQuota writes QUOTA, in units of 1,024 octets.
func (c *conn) tellQuota(u mailbox.Usage) error {
	return c.respond(func(e *wire.Encoder) error {
		e.Rawf(`* QUOTA "" (STORAGE %d %d)`, (u.Used+1023)/1024, u.Limit/1024)
		return nil
	})
}

// parseSetQuota refuses SETQUOTA: quotas are set by the administrator, not
// here. So QUOTASET is no capability of ours.
func (c *conn) parseSetQuota(d *wire.Decoder) task {
	d.SP()
	d.Astring()
	d.SP()
	d.List(func() {
		d.Atom()
		d.SP()
		d.Number64()
	})
	d.End()
	return task{shared: true, run: func(context.Context) (string, error) {
		return "", no("NOPERM", "Quotas are set by the administrator")
	}}
}
