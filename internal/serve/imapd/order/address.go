package order

import (
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mail/outline"
)

// firstOf gives the first element of an address field; a group begins with its
// name.
func firstOf(field string) (a outline.Address, ok bool) {
	if field == "" {
		return a, false
	}
	all := outline.Addresses(field)
	if len(all) == 0 {
		return a, false
	}
	return all[0], true
}

// mailboxOf is what From, To and Cc sort by (addr-mailbox of the first
// address, RFC 5256 section 3).
func mailboxOf(field string) string {
	a, _ := firstOf(field)
	return Collate(mail.DecodeText(a.Mailbox))
}

// displayOf is what DisplayFrom and DisplayTo sort by (RFC 5957 section 3).
func displayOf(field string) string {
	a, ok := firstOf(field)
	switch {
	case !ok:
		return ""
	case a.Name != "":
		return Collate(mail.DecodeText(a.Name))
	case a.Role == outline.Mailbox:
		return Collate(mail.DecodeText(a.Mailbox + "@" + a.Host))
	}
	return Collate(mail.DecodeText(a.Mailbox))
}
