package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Edge says how strangers are judged. There is nothing to tune in daily use.
type Edge struct {
	Enabled    bool     `toml:"enabled" doc:"Whether clients on port 25 are judged by what they have done. Clients on this machine never are."`
	Memory     Size     `toml:"memory" doc:"Room for what is known of clients: about 70 octets each. When it is full, what tells least is forgotten."`
	Disclosure int      `toml:"disclosure" doc:"Unknown recipients an hour that clients without a history may be told of before newcomers must prove to be mail servers."`
	Strict     bool     `toml:"strict" doc:"Once that is used up, tell clients without a history nothing more. Bounds what any botnet can learn; brand-new servers may wait for hours meanwhile."`
	LookupWait Duration `toml:"lookup_wait" doc:"Longest that a decision waits for DNS, and only where the answer could speak for the client."`
	// For edge-milter and edge-policy alone.
	Recipients  string         `toml:"recipients" doc:"How edge-milter and edge-policy find out whether a deferred recipient exists: smtp:HOST:PORT asks a port of the mail server that does not ask migiwa, directory the accounts and aliases of this node; empty: not at all."`
	OwnNetworks []netip.Prefix `toml:"own_networks" doc:"Networks that the mail server relays for: edge-milter and edge-policy do not judge their clients."`
	TimeScale   int            `toml:"time_scale" doc:"Divides all times of the edge. For tests: days pass in minutes."`

	Login EdgeLogin `toml:"login"`
}

// EdgeLogin says how those who guess passwords are met.
type EdgeLogin struct {
	Enabled    bool `toml:"enabled" doc:"Whether logins are judged by account, source and network before a password is looked at. Who guesses hears that it is for the moment. Clients on this machine are not judged."`
	Disclosure int  `toml:"disclosure" doc:"Wrong passwords an hour that places unknown to their account may be told of, in all. When it is used up, a new place gets in after trying the same password again for some minutes, as mail programs do."`
}

func defaultEdge() Edge {
	return Edge{
		Enabled: true, Memory: 64 << 20, Disclosure: 1000, LookupWait: Duration(time.Second), TimeScale: 1,
		OwnNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")},
		Login:       EdgeLogin{Enabled: true, Disclosure: 30},
	}
}

func (c *Config) checkEdge(ck *checker) {
	e := c.Edge
	ck.bad(e.Memory >= 1<<20, "edge.memory", "must be at least 1 MiB")
	ck.bad(e.Disclosure >= 0, "edge.disclosure", "must not be below 0")
	ck.bad(e.LookupWait.D() <= 30*time.Second, "edge.lookup_wait", "must be at most 30s")
	ck.bad(e.TimeScale >= 1 && e.TimeScale <= 10_000, "edge.time_scale", "must be between 1 and 10000")
	host, asks := strings.CutPrefix(e.Recipients, "smtp:")
	ck.bad(e.Recipients == "" || e.Recipients == "directory" || asks && hostPort(host) && !strings.HasPrefix(host, ":"),
		"edge.recipients", "%q is neither smtp:HOST:PORT nor directory", e.Recipients)
	if i := slices.IndexFunc(c.Roles, func(r Role) bool { return r == EdgeMilter || r == EdgePolicy }); i >= 0 {
		ck.bad(e.Enabled, "edge.enabled", "%s is nothing without it", c.Roles[i])
	}
	ck.bad(e.Login.Disclosure >= 1, "edge.login.disclosure", "must be at least 1")
}
