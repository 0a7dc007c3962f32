package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/node"
)

// drainTime is how long sessions may go on after SIGTERM.
const drainTime = 30 * time.Second

type quickstartCmd struct {
	Dir           string         `help:"Directory of the new installation." required:"" type:"path" placeholder:"DIR"`
	Domain        string         `help:"The first mail domain." required:"" placeholder:"DOMAIN"`
	Hostname      string         `help:"Name of this node; default mx.DOMAIN." placeholder:"NAME"`
	Listen        string         `help:"Address to listen on; default all." placeholder:"ADDR"`
	PortOffset    int            `help:"Added to every standard port." placeholder:"N"`
	DSN           string         `help:"Database: postgres://…; default SQLite in DIR." name:"dsn" placeholder:"URL"`
	MXProxyListen string         `help:"Another MX listener, which requires the PROXY protocol." name:"mx-proxy-listen" placeholder:"ADDR:PORT"`
	TrustProxy    []netip.Prefix `help:"Networks of the balancers in front of it." placeholder:"CIDR"`
}

func (q *quickstartCmd) plan() (node.Quickstart, error) {
	domain, err := mail.ParseDomain(q.Domain)
	if err != nil {
		return node.Quickstart{}, misuseError("--domain: " + err.Error())
	}
	if q.Hostname == "" {
		q.Hostname = "mx." + string(domain)
	}
	host, err := mail.ParseDomain(q.Hostname)
	if err != nil {
		return node.Quickstart{}, misuseError("--hostname: " + err.Error())
	}
	if (q.MXProxyListen == "") != (len(q.TrustProxy) == 0) {
		return node.Quickstart{}, misuseError("--mx-proxy-listen and --trust-proxy need each other")
	}
	return node.Quickstart{
		Dir: q.Dir, Domain: domain, Hostname: host, Listen: q.Listen, PortOffset: q.PortOffset, DSN: q.DSN,
		MXProxy: q.MXProxyListen, TrustProxy: q.TrustProxy,
	}, nil
}

func (q *quickstartCmd) Run(ctx context.Context, out *output) error {
	plan, err := q.plan()
	if err != nil {
		return err
	}
	s, err := plan.Run(ctx)
	if err != nil {
		return err
	}
	if out.json {
		return out.object(map[string]any{
			"config": s.ConfigFile, "admin": s.Admin.Wire, "password": s.Password, "records": s.Records,
		})
	}
	fmt.Fprintf(out.w, "Installed in %s for %s.\n\n", plan.Dir, plan.Domain)
	fmt.Fprintf(out.w, "Administrator   %s\nPassword        %s   (shown only now)\n\n", s.Admin, s.Password)
	fmt.Fprintf(out.w, "Records to publish in the DNS:\n\n")
	if err := printRecords(out, s.Records); err != nil {
		return err
	}
	fmt.Fprintf(out.w, "\nNext:\n\n    migiwa serve --config %s\n    migiwa account add you@%s --password-stdin --config %s\n", s.ConfigFile, plan.Domain, s.ConfigFile)
	return nil
}

func printRecords(out *output, records []admin.Record) error {
	for _, r := range records {
		if _, err := fmt.Fprintln(out.w, r); err != nil {
			return err
		}
	}
	return nil
}

type serveCmd struct{}

// Run serves until ctx ends by SIGTERM or SIGINT. SIGHUP reloads.
func (serveCmd) Run(ctx context.Context, c *cli, out *output) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	n, err := node.Start(ctx, cfg, os.Stderr, logstoreCommand())
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	fmt.Fprintln(out.w, "migiwa ready")
	notify(daemon.SdNotifyReady)
	for {
		select {
		case <-hup:
			notify(daemon.SdNotifyReloading)
			n.Reload()
			notify(daemon.SdNotifyReady)
		case err := <-n.Failed():
			n.Shutdown(context.Background())
			return err
		case <-ctx.Done():
			notify(daemon.SdNotifyStopping)
			end, cancel := context.WithTimeout(context.Background(), drainTime)
			defer cancel()
			return n.Shutdown(end)
		}
	}
}

// notify tells systemd, when it started us; elsewhere it does nothing.
func notify(state string) { daemon.SdNotify(false, state) }
