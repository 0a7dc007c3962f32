package config

import "time"

// Edge says how strangers are judged. There is nothing to tune in daily use.
type Edge struct {
	Enabled    bool     `toml:"enabled" doc:"Whether clients on port 25 are judged by what they have done. Clients on this machine never are."`
	Memory     Size     `toml:"memory" doc:"Room for what is known of clients: about 70 octets each. When it is full, what tells least is forgotten."`
	Disclosure int      `toml:"disclosure" doc:"Unknown recipients an hour that clients without a history may be told of before newcomers must prove to be mail servers."`
	Strict     bool     `toml:"strict" doc:"Once that is used up, tell clients without a history nothing more. Bounds what any botnet can learn; brand-new servers may wait for hours meanwhile."`
	LookupWait Duration `toml:"lookup_wait" doc:"Longest that a decision waits for DNS, and only where the answer could speak for the client."`
	TimeScale  int      `toml:"time_scale" doc:"Divides all times of the edge. For tests: days pass in minutes."`
}

func defaultEdge() Edge {
	return Edge{Enabled: true, Memory: 64 << 20, Disclosure: 1000, LookupWait: Duration(time.Second), TimeScale: 1}
}

func (c *Config) checkEdge(ck *checker) {
	e := c.Edge
	ck.bad(e.Memory >= 1<<20, "edge.memory", "must be at least 1 MiB")
	ck.bad(e.Disclosure >= 0, "edge.disclosure", "must not be below 0")
	ck.bad(e.LookupWait.D() <= 30*time.Second, "edge.lookup_wait", "must be at most 30s")
	ck.bad(e.TimeScale >= 1 && e.TimeScale <= 10_000, "edge.time_scale", "must be between 1 and 10000")
}
