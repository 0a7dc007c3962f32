package config

import (
	"fmt"
	"time"
)

// Filter says what the filters need. How far each may go with somebody's mail
// is not here but in the directory (migiwa filter set).
type Filter struct {
	Rules    string   `toml:"rules" doc:"File of content rules of your own, beside those that come with migiwa; read again when it changes. Empty: none."`
	Access   string   `toml:"access" doc:"File of addresses, domains and networks to allow, block or label, as sendmail's access; read again when it changes. Empty: none."`
	Deadline Duration `toml:"deadline" doc:"How long one filter may take on one message. One that is later costs its findings; the message goes on."`
	Clamd    string   `toml:"clamd" doc:"Where ClamAV's daemon listens: a socket's path, or host:port. Empty: no search for viruses, only for harmful attachments."`
	DNSBL    []DNSBL  `toml:"dnsbl"`
	Milters  []Milter `toml:"milter"`
}

// Milter is one mail filter of others.
type Milter struct {
	Address  string `toml:"address" doc:"Where it listens, as sendmail writes it: unix:/run/opendkim.sock, inet:8891@localhost."`
	Required bool   `toml:"required" doc:"That it does not answer is a finding of its own."`
}

// DNSBL is one list that is asked by DNS.
type DNSBL struct {
	Zone   string  `toml:"zone" doc:"The list's zone, such as zen.spamhaus.org."`
	Kind   string  `toml:"kind" doc:"What it holds: address, of clients; domain, of senders; url, of links."`
	Weight float64 `toml:"weight" doc:"Score of being on it; below 0 for a list of the good."`
}

func defaultFilter() Filter { return Filter{Deadline: Duration(20 * time.Second)} }

func (c *Config) checkFilter(ck *checker) {
	d := c.Filter.Deadline.D()
	ck.bad(d >= time.Second && d <= 4*time.Minute, "filter.deadline", "must be between 1s and 4m: senders wait for the answer")
	for i, m := range c.Filter.Milters {
		ck.bad(m.Address != "", fmt.Sprintf("filter.milter[%d].address", i), "must be set")
	}
	for i, l := range c.Filter.DNSBL {
		key := fmt.Sprintf("filter.dnsbl[%d]", i)
		ck.bad(l.Zone != "", key+".zone", "must be set")
		ck.bad(l.Kind == "address" || l.Kind == "domain" || l.Kind == "url", key+".kind", "must be address, domain or url")
		ck.bad(l.Weight >= -20 && l.Weight <= 20 && l.Weight != 0, key+".weight", "must be from -20 to 20 and not 0")
	}
}
