package main

import (
	"context"
	"fmt"
	"io"
	"net/smtp"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/node"
)

// forgery is a letter that wants passwords.
const forgery = "From: \"PayPal\" <service@far.test>\r\nSubject: Your account is limited\r\nContent-Type: text/html\r\n\r\n" +
	"<p>Dear customer, we have noticed unusual activity. Verify your account within 24 hours:</p>\r\n" +
	"<a href=\"http://192.0.2.7/paypal/login\">https://www.paypal.com/signin</a>\r\n"

// filter shows one forged letter and two users who have agreed to different
// things.
func (d *demo) filter(ctx context.Context, n *node.Node) error {
	bob, carol := "bob@"+demoDomain, "carol@"+demoDomain
	d.say("bob lets filters file his mail; carol has said nothing, so they only label", fmt.Sprintf("migiwa filter set %s link=junk content=junk", bob))
	if err := n.Admin.SetFilters(ctx, "demo", "command", bob, []string{"link=junk", "content=junk"}); err != nil {
		return err
	}
	d.say("Somebody who wants their passwords writes to both, in one message", "")
	c, err := smtp.Dial(address(25))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := send(c, "service@far.test", []string{bob, carol}, forgery); err != nil {
		return err
	}
	if err := c.Quit(); err != nil {
		return err
	}
	for _, who := range []string{bob, carol} {
		if err := d.showForgery(ctx, n, who); err != nil {
			return err
		}
	}
	return nil
}

// showForgery shows where the letter lies, and what was found in it.
func (d *demo) showForgery(ctx context.Context, n *node.Node, who string) error {
	account, err := n.Admin.Account(ctx, who)
	if err != nil {
		return err
	}
	folders, err := n.Mailboxes.Folders(ctx, account.ID)
	if err != nil {
		return err
	}
	for _, f := range folders {
		uids, err := n.Mailboxes.UIDs(ctx, f.ID)
		if err != nil {
			return err
		}
		if len(uids) == 0 {
			continue
		}
		c, err := n.Mailboxes.Open(ctx, f.ID, slices.Max(uids))
		if err != nil {
			return err
		}
		raw, err := io.ReadAll(c)
		c.Close()
		if err != nil {
			return err
		}
		h := mail.ParseHeader(raw)
		if !strings.Contains(h.Get("Subject"), "limited") {
			continue
		}
		d.show(fmt.Sprintf("%s has it in %s: %s", who, f.Name, strings.TrimSpace(h.Get("X-Migiwa-Verdict"))))
		for _, found := range h.Values("X-Migiwa-Finding") {
			if strings.HasPrefix(strings.TrimSpace(found), "LINK_") {
				d.show("   " + strings.TrimSpace(found))
			}
		}
	}
	return nil
}
