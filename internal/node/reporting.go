package node

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/authentic"
	"github.com/migiwa/migiwa/internal/filter/lesson"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/report"
	"github.com/migiwa/migiwa/internal/store/blob"
)

// addReporting exchanges reports with other sites. resolver is the one that
// filters ask: what it has in its cache is not asked again for the tally.
func (n *Node) addReporting(run context.Context, cfg *config.Config, resolver dns.Resolver, teacher *lesson.Teacher) error {
	if cfg.Report.Address == "" {
		return nil
	}
	address, err := mail.ParseAddress(cfg.Report.Address)
	if err != nil {
		return fmt.Errorf("report.address: %w", err)
	}
	tally := &report.Tally{DB: n.DB}
	proof := &authentic.Filter{Resolver: resolver}
	n.filters.Judged = func(ctx context.Context, m *filter.Message, filed bool) error {
		p, err := proof.Prove(ctx, m) // as the filter has; nothing is asked again
		if err != nil {
			return err
		}
		return tally.Add(m, p, filed)
	}
	post := report.Post{Directory: n.Directory, Bodies: n.Bodies, Intake: n.intake, Signer: n.signer, Address: address}
	if cfg.Report.Complain {
		complaints := &report.Complaints{Post: post, Resolver: n.resolver}
		teacher.Complain = func(ctx context.Context, message io.Reader) error {
			_, err := complaints.About(ctx, message)
			return err
		}
	}
	daily := &report.Daily{Post: post, DB: n.DB, Tally: tally, Bus: n.Bus, Resolver: n.resolver, Organisation: cmp.Or(cfg.Report.Organisation, cfg.Hostname), Log: n.Log}
	inbox := &report.Inbox{DB: n.DB, Directory: n.Directory, Mailboxes: n.Mailboxes, Events: n.Events, Address: address, Hostname: cfg.Hostname, Log: n.Log}
	n.background.Go(func() { daily.Run(run) })
	n.background.Go(func() { inbox.Run(run) })
	return nil
}

// hearForwarded learns from mail that users send on as attachments, beside their
// sessions. What is lost on the way is one lesson, not mail.
func (n *Node) hearForwarded(run context.Context, cfg *config.Config, teacher *lesson.Teacher) func(*deliver.Accepted) {
	spam, wanted := key(cfg.Report.Spam), key(cfg.Report.Wanted)
	return func(m *deliver.Accepted) {
		for _, r := range m.Recipients {
			to := r.Key()
			if to != spam && to != wanted || to == "" {
				continue
			}
			account, ref := m.Account, m.Body.Ref
			n.background.Go(func() {
				if err := n.learnForwarded(run, teacher, account, to == spam, ref); err != nil {
					n.Log.Warn("cannot learn from forwarded mail", "err", err)
				}
			})
		}
	}
}

// key gives the form of an address to compare, "" for none.
func key(address string) string {
	a, err := mail.ParseAddress(address)
	if err != nil {
		return ""
	}
	return a.Key()
}

func (n *Node) learnForwarded(ctx context.Context, teacher *lesson.Teacher, id int64, spam bool, ref blob.Ref) error {
	account, err := n.Directory.AccountByID(ctx, id)
	if err != nil {
		return err
	}
	r, err := n.Blobs.Open(ctx, ref)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = teacher.Forwarded(ctx, account, spam, r)
	return err
}
