package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Edge says how strangers are judged. There is nothing to tune in daily use.
type Edge struct {
	Enabled        bool     `toml:"enabled" doc:"Whether clients on port 25 are judged by what they have done. Clients on this machine never are."`
	Memory         Size     `toml:"memory" doc:"Room for what is known of clients: about 70 octets each. When it is full, what tells least is forgotten."`
	Disclosure     int      `toml:"disclosure" doc:"Unknown recipients an hour that clients without a history may be told of before newcomers must prove to be mail servers."`
	Strict         bool     `toml:"strict" doc:"Once that is used up, tell clients without a history nothing more. Bounds what any botnet can learn; brand-new servers may wait for hours meanwhile."`
	LookupWait     Duration `toml:"lookup_wait" doc:"Longest that a decision waits for DNS, and only where the answer could speak for the client."`
	GreetPause     Duration `toml:"greet_pause" doc:"How long a suspect waits for the greeting: who guessed lately, and newcomers while most of them guess. Who cannot wait is no mail server. 0s: nobody waits."`
	Tarpit         Duration `toml:"tarpit" doc:"Over how long each reply is spread for a client in penalty. At most 2,000 connections are held back at a time, then such clients are turned away. 0s: not at all."`
	NullPerMailbox int      `toml:"null_per_mailbox" doc:"Bounces (null-sender mail) to one address and hour; more are answered with 451. 0: no limit."`
	NullPerDomain  int      `toml:"null_per_domain" doc:"The same to one domain."`
	// For edge-milter and edge-policy alone.
	Recipients  string         `toml:"recipients" doc:"How edge-milter and edge-policy find out whether a deferred recipient exists: smtp:HOST:PORT asks a port of the mail server that does not ask migiwa, directory the accounts and aliases of this node; empty: not at all."`
	OwnNetworks []netip.Prefix `toml:"own_networks" doc:"Networks that the mail server relays for: edge-milter and edge-policy do not judge their clients."`
	TimeScale   int            `toml:"time_scale" doc:"Divides all times of the edge. For tests: days pass in minutes."`
	Flow        Flow           `toml:"flow"`
	Login       EdgeLogin      `toml:"login"`
}

// EdgeLogin says how those who guess passwords are met.
type EdgeLogin struct {
	Enabled    bool `toml:"enabled" doc:"Whether logins are judged by account, source and network before a password is looked at. Who guesses hears that it is for the moment. Clients on this machine are not judged."`
	Disclosure int  `toml:"disclosure" doc:"Wrong passwords an hour that places unknown to their account may be told of, in all. When it is used up, a new place gets in after trying the same password again for some minutes, as mail programs do."`
}

// Flow bounds what one client may bring in a time, whatever it is; what is over
// a limit is refused for now. The limits end by themselves.
type Flow struct {
	Connections int  `toml:"connections" doc:"Connections a minute from one client address (IPv6: one /64), at most twice as many at once, and 20 times as many an hour; more are answered with 421. 0: no limit, here and below."`
	Sessions    int  `toml:"sessions" doc:"Connections from one client address that are open at a time; more are answered with 421. smtp.max_per_address comes before it and holds for proven clients, too."`
	Messages    int  `toml:"messages" doc:"Messages in ten minutes from one client address, and 20 times as many a day; more are answered with 450."`
	Recipients  int  `toml:"recipients" doc:"The same for recipients."`
	Octets      Size `toml:"octets" doc:"The same for the size of messages together."`
	Network     int  `toml:"network" doc:"How many times as much all clients of one network (/24, IPv6: /56) that are not proven may bring together."`
	Proven      int  `toml:"proven" doc:"How many times as much a client may bring that has sent wanted mail for hours. It counts for itself, not for its network."`
}

func defaultEdge() Edge {
	return Edge{
		Enabled: true, Memory: 64 << 20, Disclosure: 1000, LookupWait: Duration(time.Second),
		GreetPause: Duration(5 * time.Second), NullPerMailbox: 100, NullPerDomain: 2000, TimeScale: 1,
		OwnNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")},
		Login:       EdgeLogin{Enabled: true, Disclosure: 30},
		Flow:        Flow{Connections: 30, Sessions: 10, Messages: 100, Recipients: 500, Octets: 128 << 20, Network: 4, Proven: 50},
	}
}

func (c *Config) checkEdge(ck *checker) {
	e := c.Edge
	ck.bad(e.Memory >= 1<<20, "edge.memory", "must be at least 1 MiB")
	ck.bad(e.Disclosure >= 0, "edge.disclosure", "must not be below 0")
	ck.bad(e.LookupWait.D() <= 30*time.Second, "edge.lookup_wait", "must be at most 30s")
	ck.bad(e.GreetPause.D() <= time.Minute, "edge.greet_pause", "must be at most 1m: mail servers give up after five")
	ck.bad(e.Tarpit.D() <= 5*time.Minute, "edge.tarpit", "must be at most 5m")
	ck.bad(e.NullPerMailbox >= 0, "edge.null_per_mailbox", "must not be below 0")
	ck.bad(e.NullPerDomain >= 0, "edge.null_per_domain", "must not be below 0")
	ck.bad(e.TimeScale >= 1 && e.TimeScale <= 10_000, "edge.time_scale", "must be between 1 and 10000")
	e.Flow.check(ck)
	host, asks := strings.CutPrefix(e.Recipients, "smtp:")
	ck.bad(e.Recipients == "" || e.Recipients == "directory" || asks && hostPort(host) && !strings.HasPrefix(host, ":"),
		"edge.recipients", "%q is neither smtp:HOST:PORT nor directory", e.Recipients)
	if i := slices.IndexFunc(c.Roles, func(r Role) bool { return r == EdgeMilter || r == EdgePolicy }); i >= 0 {
		ck.bad(e.Enabled, "edge.enabled", "%s is nothing without it", c.Roles[i])
	}
	ck.bad(e.Login.Disclosure >= 1, "edge.login.disclosure", "must be at least 1")
}

func (f *Flow) check(ck *checker) {
	for _, k := range []struct {
		key   string
		value int
	}{
		{"connections", f.Connections}, {"sessions", f.Sessions}, {"messages", f.Messages},
		{"recipients", f.Recipients}, {"network", f.Network}, {"proven", f.Proven},
	} {
		ck.bad(k.value >= 0 && k.value <= 1_000_000, "edge.flow."+k.key, "must be between 0 and 1000000")
	}
	ck.bad(f.Octets == 0 || f.Octets >= 1<<20 && f.Octets <= 100<<30, "edge.flow.octets", "must be 0, or between 1 MiB and 100 GiB")
}
