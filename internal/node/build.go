package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/cert"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/deliver"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/dns"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/imapd"
	"github.com/migiwa/migiwa/internal/serve/mx"
	"github.com/migiwa/migiwa/internal/serve/pop3d"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/serve/sasl"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
	"github.com/migiwa/migiwa/internal/serve/submission"
)

func newResolver(cfg *config.Config) (dns.Resolver, error) {
	if cfg.DNS.ZoneFile != "" {
		text, err := os.ReadFile(cfg.DNS.ZoneFile)
		if err != nil {
			return nil, fmt.Errorf("read zone: %w", err)
		}
		return dns.ParseZone(string(text))
	}
	return dns.NewClient(dns.Config{Servers: cfg.DNS.Servers, Timeout: cfg.DNS.Timeout.D()})
}

func newCertificates(cfg *config.Config, log *slog.Logger) (*cert.Manager, error) {
	c := cert.Config{Dir: certificateDir(cfg), Names: certificateNames(cfg), Log: log}
	for _, f := range cfg.TLS.Certificates {
		c.Files = append(c.Files, cert.CertFile{Cert: f.Cert, Key: f.Key})
	}
	if a := cfg.TLS.ACME; a.Directory != "" {
		c.ACME = &cert.ACME{Directory: a.Directory, Email: a.Email, CARoots: a.CAFile, AgreeTOS: a.Agree,
			ListenHost: a.Host, HTTPPort: a.HTTPPort, TLSALPNPort: a.ALPNPort}
	}
	return cert.New(c)
}

func certificateDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "tls") }

// certificateNames gives the names that ACME, or the self-signed certificate,
// is for.
func certificateNames(cfg *config.Config) []string {
	if a := cfg.TLS.ACME; a.Directory != "" && len(a.Names) > 0 {
		return a.Names
	}
	return []string{cfg.Hostname}
}

func newIntake(r *Rooms, routes *deliver.Table, m *deliver.Metrics) *deliver.Intake {
	return &deliver.Intake{
		DB: r.DB, Bodies: r.Bodies, Mailboxes: r.Mailboxes, Queue: r.Queue, Directory: r.Directory,
		Routes: routes, Events: r.Events, Metrics: m, Hostname: r.Config.Hostname, Lifetime: r.Config.Queue.Lifetime.D(),
	}
}

// routesOf turns the configured routes into those of the delivering room.
func routesOf(cfg *config.Config) ([]deliver.Route, error) {
	var routes []deliver.Route
	for _, r := range cfg.Routes {
		out := deliver.Route{Pattern: r.Domain, Address: r.To, LMTP: r.Protocol == "lmtp", User: r.User}
		if path, ok := strings.CutPrefix(r.To, "unix:"); ok {
			out.Network, out.Address = "unix", path
		}
		switch r.TLS {
		case "verify":
			out.TLS, out.Verify = deliver.Required, true
		case "implicit":
			out.TLS, out.Verify = deliver.Implicit, true
		default:
			out.TLS = deliver.Security(r.TLS)
		}
		if out.Network == "unix" {
			out.TLS = deliver.Plain
		}
		if r.Password != "" {
			text, err := os.ReadFile(r.Password)
			if err != nil {
				return nil, fmt.Errorf("route for %s: %w", r.Domain, err)
			}
			out.Password = strings.TrimRight(string(text), "\r\n")
		}
		routes = append(routes, out)
	}
	return routes, nil
}

// relayDomains gives the domains whose mailboxes are behind a route.
func relayDomains(cfg *config.Config) map[mail.Domain]directory.Route {
	domains := make(map[mail.Domain]directory.Route)
	for _, r := range cfg.Routes {
		if r.Relay {
			domains[mail.Domain(strings.ToLower(r.Domain))] = directory.Route{Listed: r.Recipients == "listed"}
		}
	}
	return domains
}

// addServices opens the listeners of the node's roles and starts what works in
// the background.
func (n *Node) addServices(run context.Context, cfg *config.Config) error {
	logins, err := n.newSASL(run, cfg)
	if err != nil {
		return err
	}
	discipline, err := n.newDiscipline(run, cfg)
	if err != nil {
		return err
	}
	if err := n.addFilters(run, cfg); err != nil {
		return err
	}
	if cfg.Has(config.MX) {
		if err := n.addMX(run, cfg); err != nil {
			return err
		}
	}
	if cfg.Has(config.Submission) {
		if err := n.addSubmission(cfg, logins, discipline); err != nil {
			return err
		}
	}
	if cfg.Has(config.IMAP) {
		if err := n.addIMAP(run, cfg, logins); err != nil {
			return err
		}
	}
	if cfg.Has(config.POP3) {
		if err := n.addPOP3(cfg, logins); err != nil {
			return err
		}
	}
	if cfg.Has(config.EdgePolicy) || cfg.Has(config.EdgeMilter) {
		if err := n.addForeign(run, cfg); err != nil {
			return err
		}
	}
	if err := n.services.open("metrics", cfg.Listen.Metrics, n.newMetrics()); err != nil {
		return err
	}
	if cfg.Has(config.Delivery) {
		if err := n.addRunner(run, cfg, discipline); err != nil {
			return err
		}
	}
	n.background.Go(func() { n.keepHouse(run) })
	n.background.Go(func() { n.tendIndexes(run) })
	return nil
}

func (n *Node) reception(role string, cfg *config.Config) receive.Reception {
	return receive.Reception{
		Role: role, Hostname: cfg.Hostname, Directory: n.Directory, Bodies: n.Bodies, Intake: n.intake,
		Events: n.Events, DNS: n.resolver, MaxHops: cfg.SMTP.MaxHops, Filters: n.filters,
	}
}

// smtpServer gives a server with the limits of cfg.
func (n *Node) smtpServer(name string, h smtpd.Handler, cfg *config.Config) *smtpd.Server {
	s := &smtpd.Server{
		Handler: h, Hostname: cfg.Hostname, TLS: n.certs.TLSConfig(), Logger: n.Log,
		Limits: smtpd.Limits{
			Connections: cfg.SMTP.MaxConnections, PerAddress: cfg.SMTP.MaxPerAddress,
			Errors: cfg.SMTP.MaxErrors, Messages: cfg.SMTP.MaxMessages, Recipients: cfg.SMTP.MaxRecipients,
			MessageSize: int64(cfg.SMTP.MaxMessage), Idle: cfg.SMTP.Idle.D(), Total: cfg.SMTP.Total.D(),
			ByteRate: int(cfg.SMTP.MinRate),
		},
	}
	n.watchSMTP(name, s)
	return s
}

func (n *Node) addMX(run context.Context, cfg *config.Config) error {
	guard, err := n.newGuard(run, cfg)
	if err != nil {
		return err
	}
	h := &mx.Handler{Reception: n.reception("mx", cfg), Guard: guard}
	direct := n.smtpServer("mx", h, cfg)
	n.mx = append(n.mx, direct)
	if err := n.services.open("mx", cfg.Listen.MX, direct); err != nil {
		return err
	}
	if len(cfg.Listen.MXProxy) == 0 {
		return nil
	}
	behind := n.smtpServer("mx_proxy", h, cfg)
	n.mx = append(n.mx, behind)
	behind.Proxy = &smtpd.Proxy{Trust: cfg.Proxy.Trust, Required: true}
	return n.services.open("mx_proxy", cfg.Listen.MXProxy, behind)
}

func (n *Node) addSubmission(cfg *config.Config, logins *sasl.Server, discipline *deliver.Discipline) error {
	h := &submission.Handler{Reception: n.reception("submission", cfg), SASL: logins, Signer: n.signer, Discipline: discipline, Sent: n.sent}
	if err := n.services.open("submission", cfg.Listen.Submission, n.smtpServer("submission", h, cfg)); err != nil {
		return err
	}
	implicit := n.smtpServer("submissions", h, cfg)
	implicit.Implicit = true
	return n.services.open("submissions", cfg.Listen.Submissions, implicit)
}

func (n *Node) addIMAP(run context.Context, cfg *config.Config, logins *sasl.Server) error {
	shelf := &imapd.Shelf{}
	server := func(implicit bool) *imapd.Server {
		return &imapd.Server{
			Hostname: cfg.Hostname, TLS: n.certs.TLSConfig(), Implicit: implicit, Mailboxes: n.Mailboxes, Fulltext: n.Fulltext,
			Shelf: shelf, SASL: logins, Events: n.Events, Logger: n.Log,
			Account: accountNumber, Owner: n.owner, Address: n.address, Contact: "mailto:postmaster@" + cfg.Domain,
			Limits: imapd.Limits{
				Connections: cfg.IMAP.MaxConnections, PerAddress: cfg.IMAP.MaxPerAddress, Idle: cfg.IMAP.Idle.D(),
				PerAccount: cfg.IMAP.MaxPerAccount, Append: int64(cfg.IMAP.MaxMessage),
			},
		}
	}
	n.background.Go(func() { n.reviewSessions(run, shelf) })
	if err := n.services.open("imap", cfg.Listen.IMAP, server(false)); err != nil {
		return err
	}
	return n.services.open("imaps", cfg.Listen.IMAPS, server(true))
}

// reviewSessions ends the sessions of accounts that are disabled or deleted,
// within a second.
func (n *Node) reviewSessions(ctx context.Context, shelf *imapd.Shelf) {
	changed := make(chan struct{}, 1)
	defer n.Bus.Subscribe(directory.Topic, func([]byte) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		shelf.Review(func(account int64) bool {
			a, err := n.Directory.AccountByID(ctx, account)
			return err == nil && a.State == directory.Active || err != nil && !errors.Is(err, directory.ErrNotFound)
		})
		select { // an import changes many accounts one after the other
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// accountNumber reads the name that newSASL gives an account.
func accountNumber(_ context.Context, number string) (int64, error) {
	return strconv.ParseInt(number, 10, 64)
}

// owner gives the number of the account with this address, 0 when there is
// none.
func (n *Node) owner(ctx context.Context, a mail.Address) (int64, error) {
	acct, err := n.Directory.Account(ctx, a)
	if errors.Is(err, directory.ErrNotFound) {
		return 0, nil
	}
	return acct.ID, err
}

// address gives the address of an account, "" when it is gone.
func (n *Node) address(ctx context.Context, account int64) (string, error) {
	acct, err := n.Directory.AccountByID(ctx, account)
	if errors.Is(err, directory.ErrNotFound) {
		return "", nil
	}
	return acct.Address.String(), err
}

func (n *Node) addPOP3(cfg *config.Config, logins *sasl.Server) error {
	locks, err := pop3d.OpenLocks(filepath.Join(cfg.DataDir, "pop3.lock"))
	if err != nil {
		return err
	}
	n.locks = locks
	server := func(implicit bool) *pop3d.Server {
		return &pop3d.Server{
			Hostname: cfg.Hostname, TLS: n.certs.TLSConfig(), Implicit: implicit, Mailboxes: n.Mailboxes,
			SASL: logins, Locks: locks, Events: n.Events, Logger: n.Log,
			Account: accountNumber, Address: n.address,
			Limits: pop3d.Limits{Connections: cfg.POP3.MaxConnections, PerAddress: cfg.POP3.MaxPerAddress, Idle: cfg.POP3.Idle.D()},
		}
	}
	if err := n.services.open("pop3", cfg.Listen.POP3, server(false)); err != nil {
		return err
	}
	return n.services.open("pop3s", cfg.Listen.POP3S, server(true))
}

// newSASL lets accounts log in; it names them by their number.
func (n *Node) newSASL(ctx context.Context, cfg *config.Config) (*sasl.Server, error) {
	secret, err := n.Directory.Secret(ctx, "sasl", 32)
	if err != nil {
		return nil, err
	}
	denied := func(err error) error {
		if errors.Is(err, directory.ErrLogin) {
			return fmt.Errorf("%w: %w", sasl.ErrDenied, err)
		}
		return err
	}
	if n.logins, err = n.newLogins(ctx, cfg); err != nil {
		return nil, err
	}
	return &sasl.Server{
		Secret: secret, Logins: n.logins,
		Verify: func(ctx context.Context, user, password string) (string, error) {
			a, err := n.Directory.Verify(ctx, user, password)
			return strconv.FormatInt(a.ID, 10), denied(err)
		},
		Scram: func(ctx context.Context, user string) (sasl.Keys, error) {
			a, k, err := n.Directory.Scram(ctx, user)
			return sasl.Keys{
				Account: strconv.FormatInt(a.ID, 10), Iterations: k.Iterations, Salt: k.Salt,
				StoredKey: k.StoredKey, ServerKey: k.ServerKey,
			}, denied(err)
		},
	}, nil
}

func (n *Node) addRunner(run context.Context, cfg *config.Config, discipline *deliver.Discipline) error {
	interfaces, err := interfaceAddresses()
	if err != nil {
		return err
	}
	q := cfg.Queue
	warn := q.WarnAfter.D()
	if warn == 0 {
		warn = -1
	}
	n.runner = &deliver.Runner{
		Queue: n.Queue, Intake: n.intake, Resolver: n.resolver, Routes: n.routes, Events: n.Events,
		Metrics: n.intake.Metrics, Log: n.Log, Hostname: cfg.Hostname, Own: ownAddresses(n.services.addresses("mx"), interfaces),
		Postmaster: mail.MakeAddress("postmaster", mail.Domain(cfg.Domain)), Discipline: discipline,
		Limits: deliver.Limits{
			Connections: q.Concurrency, PerDestination: q.PerDestination, Retry: q.RetryFirst.D(), RetryMax: q.RetryMax.D(),
			DelayWarning: warn, DigestEvery: q.DigestEvery.D(), Sweep: sweepTime(q),
		},
	}
	n.background.Go(func() {
		if err := n.runner.Run(run); err != nil {
			n.Log.Error("delivery ended", "err", err)
		}
	})
	return nil
}

// sweepTime gives how often the queue is looked through for mail that is late
// or too old: often enough for the shortest of its times.
func sweepTime(q config.Queue) time.Duration {
	shortest := q.Lifetime.D()
	for _, d := range []config.Duration{q.WarnAfter, q.DigestEvery} {
		if d > 0 {
			shortest = min(shortest, d.D())
		}
	}
	return min(max(shortest/10, time.Second), time.Minute)
}

const (
	houseTime = time.Minute     // between two rounds of housekeeping
	shortTime = 5 * time.Second // the same while room is short
)

// keepHouse gives back the room of bodies that nobody refers to any more. When
// room is short, mail is refused, and whoever deletes some expects it to come
// in again soon.
func (n *Node) keepHouse(ctx context.Context) {
	tick := time.NewTicker(shortTime)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !n.Bodies.Short() && time.Since(last) < houseTime {
			continue
		}
		last = time.Now()
		for more := true; more && ctx.Err() == nil; {
			c, err := n.Bodies.Collect(ctx)
			if err != nil && ctx.Err() == nil {
				n.Log.Error("collecting unused bodies", "err", err)
			}
			more = c.More && err == nil
		}
	}
}

// tendIndexes merges and cleans full-text indexes. It has a goroutine of its
// own: with large ones it may take a minute.
func (n *Node) tendIndexes(ctx context.Context) {
	tick := time.NewTicker(houseTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := n.Fulltext.Tend(ctx); err != nil && ctx.Err() == nil {
			n.Log.Error("tending full-text indexes", "err", err)
		}
	}
}
