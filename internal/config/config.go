// Package config turns the TOML file of a node into a checked Config.
//
// Every key is a field of Config with its name in the tag `toml`, one line for
// the operator in the tag `doc`, and its default in Default. Unknown keys and
// values that cannot work are all reported at once, each with file, line, key
// and reason (Problems); a fault of syntax or type comes alone. What concerns
// one domain or one account is not here but in the directory, where it changes
// without a restart.
package config

import (
	"net/netip"
	"time"
)

// Role is one thing a node does.
type Role string

// The roles of this release.
const (
	MX         Role = "mx"
	Submission Role = "submission"
	Delivery   Role = "delivery"
	IMAP       Role = "imap"
	POP3       Role = "pop3"
	EdgeMilter Role = "edge-milter"
	EdgePolicy Role = "edge-policy"
)

// Roles are all roles, in the order in which they start.
var Roles = []Role{Delivery, IMAP, POP3, Submission, MX, EdgePolicy, EdgeMilter}

// Config is a node's configuration. Relative paths in it are resolved against
// the directory of the file.
type Config struct {
	Hostname string     `toml:"hostname" doc:"Name of this node: in banners, Received fields and certificates. Others must be able to resolve it."`
	Domain   string     `toml:"domain" doc:"Default domain: of login names without one, and of the postmaster who gets reports."`
	DataDir  string     `toml:"data_dir" doc:"Where the node keeps its data."`
	Roles    []Role     `toml:"roles" doc:"What this node does: mx, submission, delivery, imap, pop3; or edge-milter, edge-policy, which defend another mail server."`
	Listen   Listen     `toml:"listen"`
	Proxy    Proxy      `toml:"proxy"`
	TLS      TLS        `toml:"tls"`
	Store    Store      `toml:"store"`
	SMTP     SMTP       `toml:"smtp"`
	Edge     Edge       `toml:"edge"`
	Outbound Outbound   `toml:"outbound"`
	Filter   Filter     `toml:"filter"`
	Report   Report     `toml:"report"`
	IMAP     IMAPServer `toml:"imap"`
	POP3     POP        `toml:"pop3"`
	Queue    Queue      `toml:"queue"`
	Routes   []Route    `toml:"route"`
	DNS      DNS        `toml:"dns"`
	Log      Log        `toml:"log"`

	// File is where the configuration was read from.
	File string `toml:"-"`
}

// Listen says which addresses each service opens: "host:port", ":port" or
// nothing. A service whose role the node does not have stays closed.
type Listen struct {
	MX          []string `toml:"mx" doc:"SMTP for mail from other servers."`
	MXProxy     []string `toml:"mx_proxy" doc:"The same behind a balancer: the PROXY protocol is required, from the networks of proxy.trust only."`
	Submission  []string `toml:"submission" doc:"Submission with STARTTLS."`
	Submissions []string `toml:"submissions" doc:"Submission with TLS from the start."`
	IMAP        []string `toml:"imap" doc:"IMAP with STARTTLS."`
	IMAPS       []string `toml:"imaps" doc:"IMAP with TLS from the start."`
	POP3        []string `toml:"pop3" doc:"POP3 with STLS."`
	POP3S       []string `toml:"pop3s" doc:"POP3 with TLS from the start."`
	EdgeMilter  []string `toml:"edge_milter" doc:"Milter for sendmail or Postfix, without a password: keep it on loopback."`
	EdgePolicy  []string `toml:"edge_policy" doc:"Policy service for Postfix, socket map for sendmail, without a password: keep it on loopback."`
	Metrics     []string `toml:"metrics" doc:"Prometheus metrics by HTTP at /metrics, without a password: keep it on loopback. Profiles at /debug/pprof/ are for clients on this machine only."`
}

// Proxy names the balancers in front of the node.
type Proxy struct {
	Trust []netip.Prefix `toml:"trust" doc:"Networks of balancers whose PROXY headers are believed."`
}

// TLS says where certificates come from.
type TLS struct {
	Certificates []Certificate `toml:"certificate"`
	ACME         ACME          `toml:"acme"`
}

// Certificate is a pair of PEM files, watched and read again when they change.
// The first is given to clients that ask for no name or an unknown one.
type Certificate struct {
	Cert string `toml:"cert" doc:"PEM file with the certificate and its chain. Files are watched; a new one is used without a restart."`
	Key  string `toml:"key" doc:"PEM file with the private key."`
}

// ACME obtains certificates by RFC 8555.
type ACME struct {
	Directory string   `toml:"directory" doc:"Directory URL of the certificate authority; empty: ACME is off."`
	Email     string   `toml:"email" doc:"Where the authority may write to."`
	Agree     bool     `toml:"agree" doc:"You agree to the authority's terms of service; without it ACME does not start."`
	Names     []string `toml:"names" doc:"Names to obtain certificates for; empty: the hostname."`
	Host      string   `toml:"host" doc:"Address to listen on for challenges; empty: all."`
	HTTPPort  int      `toml:"http_port" doc:"Port to which the authority's HTTP-01 requests for port 80 come; 0: not offered."`
	ALPNPort  int      `toml:"alpn_port" doc:"Port to which its TLS-ALPN-01 connections for port 443 come; 0: not offered."`
	CAFile    string   `toml:"ca_file" doc:"PEM file with the root that the authority's own HTTPS is checked by; empty: the system's roots."`
}

// Store says where state lives.
type Store struct {
	DSN     string `toml:"dsn" doc:"Database: empty for SQLite in data_dir, or postgres://…"`
	Reserve Size   `toml:"reserve" doc:"Free room below which new mail is answered with 452."`
}

// SMTP holds the limits of SMTP sessions.
type SMTP struct {
	MaxMessage     Size     `toml:"max_message" doc:"Largest message, announced by SIZE."`
	MaxRecipients  int      `toml:"max_recipients" doc:"Recipients in one transaction; more are answered with 452."`
	MaxMessages    int      `toml:"max_messages" doc:"Transactions in one connection."`
	MaxErrors      int      `toml:"max_errors" doc:"Faulty commands before the connection is closed."`
	MaxConnections int      `toml:"max_connections" doc:"Connections of one service at once; more are answered with 421."`
	MaxPerAddress  int      `toml:"max_per_address" doc:"Connections of one service from one client address at once, proven or not; this machine itself is exempt. For clients on port 25 that are not proven, edge.flow draws tighter limits."`
	Idle           Duration `toml:"idle" doc:"How long the node waits for the next command."`
	Total          Duration `toml:"total" doc:"Longest connection."`
	MinRate        Size     `toml:"min_rate" doc:"Least octets a second while a message comes in."`
	MaxHops        int      `toml:"max_hops" doc:"Received fields above which a message is taken to be in a loop."`
}

// IMAPServer holds the limits of IMAP sessions.
type IMAPServer struct {
	MaxConnections int      `toml:"max_connections" doc:"Connections at the same time."`
	MaxPerAddress  int      `toml:"max_per_address" doc:"Connections of one IPv4 address or IPv6 /64 at the same time."`
	MaxPerAccount  int      `toml:"max_per_account" doc:"Sessions of one account at the same time, those from this machine not counted."`
	Idle           Duration `toml:"idle" doc:"Wait between commands, and for a client that idles to renew that; at least 30m by RFC 9051."`
	MaxMessage     Size     `toml:"max_message" doc:"Largest message that may be appended."`
}

// POP holds the limits of POP3 sessions.
type POP struct {
	MaxConnections int      `toml:"max_connections" doc:"Connections at once."`
	MaxPerAddress  int      `toml:"max_per_address" doc:"Connections from one client address at once."`
	Idle           Duration `toml:"idle" doc:"How long the node waits for the next command; RFC 1939 asks for ten minutes or more."`
}

// Queue says how mail to other hosts is tried.
type Queue struct {
	RetryFirst     Duration `toml:"retry_first" doc:"Wait after the first failed attempt; it doubles with each further one, with some jitter."`
	RetryMax       Duration `toml:"retry_max" doc:"Longest wait between two attempts."`
	Lifetime       Duration `toml:"lifetime" doc:"How long a message is tried before it is returned."`
	WarnAfter      Duration `toml:"warn_after" doc:"When its own user is told that a message is late; 0: never."`
	Concurrency    int      `toml:"concurrency" doc:"Connections to other hosts at once."`
	PerDestination int      `toml:"per_destination" doc:"Most connections to one destination; it starts with few and adapts."`
	DigestEvery    Duration `toml:"digest_every" doc:"How often the postmaster gets one digest of bounces that could not be returned, if there are any."`
}

// Route sends mail for a domain to a given host, as a mailertable does.
type Route struct {
	Domain     string `toml:"domain" doc:"Domain, or .domain for everything below it, or * for all mail to other hosts."`
	To         string `toml:"to" doc:"host:port, or unix:PATH with lmtp."`
	Protocol   string `toml:"protocol" doc:"smtp or lmtp."`
	TLS        string `toml:"tls" doc:"none, opportunistic, required (any certificate), verify (a valid one), or implicit (TLS from the start, valid)."`
	User       string `toml:"user" doc:"Login at the host, if it asks for one."`
	Password   string `toml:"password_file" doc:"File with its password."`
	Relay      bool   `toml:"relay" doc:"The domain's mailboxes are behind this route: mail for it is taken from anybody."`
	Recipients string `toml:"recipients" doc:"With relay: any (the host behind decides) or listed (only accounts and aliases of the directory exist)."`
}

// DNS says whom to ask.
type DNS struct {
	Servers  []string `toml:"servers" doc:"Resolvers, host:port; empty: those of /etc/resolv.conf."`
	Timeout  Duration `toml:"timeout" doc:"Longest wait for one answer."`
	ZoneFile string   `toml:"zone_file" doc:"Answers from this zone file and asks nobody. For test installations."`
}

// Default gives the configuration of an empty file.
func Default() *Config {
	return &Config{
		DataDir: "data",
		Roles:   []Role{MX, Submission, Delivery, IMAP, POP3},
		Listen: Listen{
			MX: []string{":25"}, Submission: []string{":587"}, Submissions: []string{":465"},
			IMAP: []string{":143"}, IMAPS: []string{":993"},
			POP3: []string{":110"}, POP3S: []string{":995"},
			EdgeMilter: []string{"127.0.0.1:8825"}, EdgePolicy: []string{"127.0.0.1:8826"}, Metrics: []string{"127.0.0.1:9125"},
		},
		TLS:   TLS{ACME: ACME{HTTPPort: 80}},
		Store: Store{Reserve: 64 << 20},
		SMTP: SMTP{
			MaxMessage: 50 << 20, MaxRecipients: 100, MaxMessages: 1000, MaxErrors: 10,
			MaxConnections: 20000, MaxPerAddress: 50,
			Idle: Duration(5 * time.Minute), Total: Duration(2 * time.Hour), MinRate: 256, MaxHops: 100,
		},
		Edge: defaultEdge(), Outbound: defaultOutbound(), Filter: defaultFilter(),
		IMAP: IMAPServer{MaxConnections: 20_000, MaxPerAddress: 200, MaxPerAccount: 200, Idle: Duration(30 * time.Minute), MaxMessage: 100 << 20},
		POP3: POP{MaxConnections: 10000, MaxPerAddress: 50, Idle: Duration(10 * time.Minute)},
		Queue: Queue{
			RetryFirst: Duration(5 * time.Minute), RetryMax: Duration(4 * time.Hour),
			Lifetime: Duration(5 * 24 * time.Hour), WarnAfter: Duration(4 * time.Hour),
			Concurrency: 200, PerDestination: 20, DigestEvery: Duration(24 * time.Hour),
		},
		DNS: DNS{Timeout: Duration(5 * time.Second)},
		Log: defaultLog(),
	}
}

// Has tells whether the node has a role.
func (c *Config) Has(r Role) bool {
	for _, have := range c.Roles {
		if have == r {
			return true
		}
	}
	return false
}
