package node

import (
	"context"

	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/confirm"
	"github.com/migiwa/migiwa/internal/filter/digest"
	"github.com/migiwa/migiwa/internal/filter/reputation"
	"github.com/migiwa/migiwa/internal/filter/suite"
	"github.com/migiwa/migiwa/internal/report"
	"github.com/migiwa/migiwa/internal/serve/receive"
)

// placing tells the filters that want to know what became of mail: those that
// learn from what lies in an INBOX, and the one that asks unknown senders.
func (n *Node) placing(run context.Context, reports digest.Store, o suite.Options) func(context.Context, *filter.Message, receive.Placed) error {
	asker := &report.Asker{Post: report.Post{Directory: n.Directory, Bodies: n.Bodies, Intake: n.intake, Signer: n.signer}, Filter: o.Confirm, Mailboxes: n.Mailboxes}
	sources := &reputation.Filter{Store: o.Past, Proven: o.Confirm.Proven}
	return func(ctx context.Context, m *filter.Message, c receive.Placed) error {
		if c.Mode(o.Confirm.Name()) > filter.Off {
			n.background.Go(func() { // the sender of this message need not wait for it
				if err := asker.Take(run, m, c.To, c.Folder != "", c.Findings); err != nil {
					n.Log.Warn("cannot ask for a confirmation", "account", c.To.Account, "err", err)
				}
			})
		}
		if c.Folder != "" {
			return nil
		}
		if c.Mode(sources.Name()) > filter.Off {
			o.Past.Delivered(c.To.ID, sources.Sources(ctx, m))
		}
		if c.Mode("digest") == filter.Off {
			return nil
		}
		return reports.Deliver(ctx, c.To.Account, digest.Fingerprints(m))
	}
}

// hearWritten notes to whom accounts write that ask unknown senders: those are
// known.
func (n *Node) hearWritten(run context.Context, f *confirm.Filter) func(*deliver.Accepted) {
	return func(m *deliver.Accepted) {
		if m.Account == 0 {
			return
		}
		n.background.Go(func() {
			if err := n.noteWritten(run, f, m); err != nil {
				n.Log.Warn("cannot note correspondents", "account", m.Submitter, "err", err)
			}
		})
	}
}

func (n *Node) noteWritten(ctx context.Context, f *confirm.Filter, m *deliver.Accepted) error {
	account, err := n.Directory.AccountByID(ctx, m.Account)
	if err != nil || !asks(ctx, n.Directory, account, f.Name()) {
		return err
	}
	for _, r := range m.Recipients {
		if _, err := f.Store.Know(ctx, account.ID, r.Key()); err != nil {
			return err
		}
	}
	return nil
}

// asks tells whether an account has the filter on.
func asks(ctx context.Context, d *directory.Directory, account directory.Account, name string) bool {
	modes, err := d.Consents(ctx, account.ID, account.Address.Domain)
	if err != nil {
		return false
	}
	return filter.ModeIn(modes, name, suite.Default) > filter.Off
}
