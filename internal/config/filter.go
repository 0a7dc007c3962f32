package config

import "time"

// Filter says what the filters need. How far each may go with somebody's mail
// is not here but in the directory (migiwa filter set).
type Filter struct {
	Rules    string   `toml:"rules" doc:"File of content rules of your own, beside those that come with migiwa; read again when it changes. Empty: none."`
	Deadline Duration `toml:"deadline" doc:"How long one filter may take on one message. One that is later costs its findings; the message goes on."`
}

func defaultFilter() Filter { return Filter{Deadline: Duration(20 * time.Second)} }

func (c *Config) checkFilter(ck *checker) {
	d := c.Filter.Deadline.D()
	ck.bad(d >= time.Second && d <= 4*time.Minute, "filter.deadline", "must be between 1s and 4m: senders wait for the answer")
}
