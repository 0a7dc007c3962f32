package config

import "github.com/migiwa/migiwa/internal/mail"

// Report says what is exchanged with other sites about mail.
type Report struct {
	Address      string `toml:"address" doc:"An account here that sends DMARC reports to the domains that ask for them, and whose mailbox is read for reports and complaints of others. Empty: neither."`
	Complain     bool   `toml:"complain" doc:"Tell senders that ask for it (CFBL-Address, RFC 9477) when a user moves their mail into Junk, without naming the user. Needs address."`
	Spam         string `toml:"spam" doc:"An address here to which users send unwanted mail as attachments, to the same effect as moving it into Junk. Empty: none."`
	Wanted       string `toml:"wanted" doc:"The same for mail that is wanted, as if it were moved out of Junk. Empty: none."`
	Organisation string `toml:"organisation" doc:"Name of the site in reports. Empty: the host name."`
}

func (c *Config) checkReport(ck *checker) {
	for key, value := range map[string]string{"address": c.Report.Address, "spam": c.Report.Spam, "wanted": c.Report.Wanted} {
		a, err := mail.ParseAddress(value)
		ck.bad(value == "" || err == nil && a.Domain != "", "report."+key, "must be an address here")
	}
	ck.bad(!c.Report.Complain || c.Report.Address != "", "report.complain", "needs report.address")
}
