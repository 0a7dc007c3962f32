package report

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/confirm"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
)

// Asker asks unknown senders to confirm, for accounts that want that (filter
// "confirm"), and takes their answers.
type Asker struct {
	Post
	Filter    *confirm.Filter
	Mailboxes *mailbox.Store
}

// Take hears of a message for an account, whether it goes into another folder
// than the INBOX, and why. A question goes out only where nothing else speaks
// against the message, only to an author who is proven, and only of mail that
// names the account: what somebody signed for others can be sent on by anybody.
func (a *Asker) Take(ctx context.Context, m *filter.Message, to filter.Recipient, filed bool, findings []filter.Finding) error {
	author, ok := a.Filter.Askable(ctx, m)
	if !ok {
		return nil
	}
	if a.Filter.Answers(to, author) {
		if _, err := a.Filter.Store.Know(ctx, to.ID, author.Key()); err != nil {
			return err
		}
		return a.release(ctx, to.ID, author)
	}
	others := 0.0
	for _, f := range findings {
		if f.Symbol != confirm.Unconfirmed {
			others += f.Score
		}
	}
	unknown := slices.ContainsFunc(findings, func(f filter.Finding) bool { return f.Symbol == confirm.Unconfirmed })
	if !filed || !unknown || others >= filter.Suspect || !names(m.Header, to.Address) {
		return nil
	}
	may, err := a.Filter.Store.MayAsk(ctx, to.ID, author.Key())
	if err != nil || !may {
		return err
	}
	return a.ask(ctx, m, to, author)
}

// names tells whether a message says that it is for an address.
func names(h *mail.Header, to mail.Address) bool {
	for _, field := range []string{"To", "Cc"} {
		for _, value := range h.Values(field) {
			list, _ := mail.ParseAddressList(value)
			if slices.ContainsFunc(list, func(a mail.HeaderAddress) bool { return a.Address.Key() == to.Key() }) {
				return true
			}
		}
	}
	return false
}

const question = `Your message to %[1]s waits: this address has not had mail from you
before, and its owner wants to hear from people only. If you have written
it, please answer this mail; you need not write anything. If not, somebody
else used your account, and you need do nothing here.

%[1]s へのメールは保留されています。このアドレスに初めて書く方に確認を
お願いしています。ご自身で送られた場合は、このメールにそのまま返信してください。
`

func (a *Asker) ask(ctx context.Context, m *filter.Message, to filter.Recipient, author mail.Address) error {
	account, err := a.Directory.AccountByID(ctx, to.ID)
	if err != nil {
		return err
	}
	domain, err := a.Directory.Domain(ctx, account.Address.Domain)
	if err != nil {
		return err
	}
	separator := domain.Settings.PlusSeparator
	if separator == "" {
		return fmt.Errorf("confirm: %s has no details in addresses (plus_separator)", domain.Name)
	}
	back := mail.MakeAddress(account.Address.Local+separator+a.Filter.Detail(to.Account, author.Key()), account.Address.Domain)
	fields := [][2]string{{"Reply-To", "<" + back.Wire + ">"}, {"Auto-Submitted", "auto-replied"}}
	if ids := mail.MessageIDs(m.Header.Get("Message-ID")); len(ids) > 0 {
		fields = append(fields, [2]string{"In-Reply-To", ids[0]})
	}
	words := bytes.ReplaceAll(fmt.Appendf(nil, question, account.Address.Wire), []byte("\n"), []byte("\r\n"))
	return a.send(ctx, letter{account: account, to: author, subject: "Please confirm your message", fields: fields, kind: "alternative", parts: []part{text(string(words))}})
}

// maxReleased bounds how many of the newest messages of a folder are looked at.
const maxReleased = 500

// release brings what waits of a sender into the INBOX.
func (a *Asker) release(ctx context.Context, account int64, sender mail.Address) error {
	inbox, err := a.Mailboxes.Folder(ctx, account, "INBOX")
	if err != nil {
		return err
	}
	folders, err := a.Mailboxes.Folders(ctx, account)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if folder.Name != mailbox.Quarantine && folder.Role != "Junk" {
			continue
		}
		uids, err := a.Mailboxes.UIDs(ctx, folder.ID)
		if err != nil {
			return err
		}
		var waiting []uint32
		for _, uid := range uids[max(0, len(uids)-maxReleased):] {
			if a.from(ctx, folder.ID, uid, sender) {
				waiting = append(waiting, uid)
			}
		}
		if len(waiting) == 0 {
			continue
		}
		if _, err := a.Mailboxes.Move(ctx, folder.ID, inbox.ID, mailbox.Ranges(waiting), mailbox.Shed{}); err != nil {
			return err
		}
	}
	return nil
}

// from tells whether a message waits because of its unknown sender.
func (a *Asker) from(ctx context.Context, folder int64, uid uint32, sender mail.Address) bool {
	c, err := a.Mailboxes.Open(ctx, folder, uid)
	if err != nil {
		return false
	}
	defer c.Close()
	m, err := filter.Read(filter.Envelope{}, c)
	if err != nil {
		return false
	}
	author, count := m.Author()
	return waits(m.Header) && count == 1 && author.Address.Key() == sender.Key()
}

// waits tells by our labels whether a message would lie in the INBOX, were its
// sender known.
func waits(h *mail.Header) bool {
	unknown, others := false, 0.0
	for _, v := range h.Values("X-Migiwa-Finding") {
		symbol, rest, _ := strings.Cut(v, ";")
		score, _, _ := strings.Cut(rest, ";")
		if strings.TrimSpace(symbol) == confirm.Unconfirmed {
			unknown = true
		} else if n, err := strconv.ParseFloat(strings.TrimSpace(score), 64); err == nil {
			others += n
		}
	}
	return unknown && others < filter.Suspect
}
