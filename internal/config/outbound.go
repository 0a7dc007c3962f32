package config

import "time"

// Outbound says how the node's own users are judged, so that a stolen password
// does little harm.
type Outbound struct {
	Enabled           bool     `toml:"enabled" doc:"Whether accounts are held that are used as by somebody with a stolen password."`
	Hold              Duration `toml:"hold" doc:"How long an account is held for the first time; four times as long for each further time within a week, at most a day. A new password ends it at once."`
	MessagesPerHour   int      `toml:"messages_per_hour" doc:"Messages that an account may send in an hour, or four times the most of its last 28 days. More is answered with 450."`
	RecipientsPerHour int      `toml:"recipients_per_hour" doc:"The same for recipients."`
	RecipientsPerDay  int      `toml:"recipients_per_day" doc:"The same for recipients in a day."`
}

func defaultOutbound() Outbound {
	return Outbound{Enabled: true, Hold: Duration(30 * time.Minute), MessagesPerHour: 500, RecipientsPerHour: 500, RecipientsPerDay: 2000}
}

func (c *Config) checkOutbound(ck *checker) {
	o := c.Outbound
	ck.bad(o.Hold.D() >= time.Second, "outbound.hold", "must be at least 1s")
	ck.bad(o.MessagesPerHour >= 1, "outbound.messages_per_hour", "must be at least 1")
	ck.bad(o.RecipientsPerHour >= 1, "outbound.recipients_per_hour", "must be at least 1")
	ck.bad(o.RecipientsPerDay >= o.RecipientsPerHour, "outbound.recipients_per_day", "must not be below outbound.recipients_per_hour")
}
