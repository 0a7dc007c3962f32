package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/admin"
	"github.com/migiwa/migiwa/internal/cert"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
)

// ConfigName is the configuration file's name inside a node's directory.
const ConfigName = "migiwa.toml"

// actor is who acts in the events of an installation.
const actor = "quickstart"

// Quickstart says what a first installation is to be.
type Quickstart struct {
	Dir        string
	Domain     mail.Domain
	Hostname   mail.Domain
	Listen     string         // address the services listen on; empty: all
	PortOffset int            // added to every standard port
	DSN        string         // database; empty: SQLite in Dir
	MXProxy    string         // address:port of an MX listener behind a balancer; empty: none
	TrustProxy []netip.Prefix // networks of its balancers
}

// Started is what a first installation has to tell.
type Started struct {
	ConfigFile string
	Admin      mail.Address
	Password   string
	Records    []admin.Record // to publish
}

// Run makes the directory of a node: configuration, certificate, database, the
// domain with its keys and role addresses, and the administrator's account. It
// overwrites nothing: where a configuration exists, it fails. A run that was
// cut short, by a full disk or a crash, has left none; the next one goes on.
func (q Quickstart) Run(ctx context.Context) (*Started, error) {
	file := filepath.Join(q.Dir, ConfigName)
	if _, err := os.Stat(file); err == nil {
		return nil, fmt.Errorf("%s exists already: quickstart overwrites nothing", file)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("quickstart: %w", err)
	}
	text := q.configText()
	cfg, err := config.Parse(file, []byte(text))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("quickstart: %w", err)
	}
	pair := cfg.TLS.Certificates[0]
	if _, err := cert.SelfSigned(filepath.Dir(pair.Cert), []string{string(q.Hostname)}); err != nil {
		return nil, fmt.Errorf("quickstart: %w", err)
	}
	started, err := q.firstAccounts(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("quickstart: %w", err)
	}
	// The file comes last: with it the installation is whole.
	if err := writeWhole(file, []byte(text)); err != nil {
		return nil, fmt.Errorf("quickstart: %w", err)
	}
	started.ConfigFile = file
	return started, nil
}

func (q Quickstart) firstAccounts(ctx context.Context, cfg *config.Config) (*Started, error) {
	rooms, err := OpenRooms(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer rooms.Close()
	s := &Started{Admin: mail.MakeAddress("admin", q.Domain), Password: rand.Text()[:20]}
	// In a directory without a configuration, what exists is of a run that was
	// cut short. Another database may be somebody's whose password must stay.
	ours := func(err error) bool { return cfg.Store.DSN == "" && errors.Is(err, directory.ErrExists) }
	if _, err := rooms.Admin.CreateDomain(ctx, actor, string(q.Domain)); err != nil && !ours(err) {
		return nil, err
	}
	_, err = rooms.Admin.AddAccount(ctx, actor, s.Admin.Wire, s.Password, []string{"name=Administrator", "admin=yes", "log=yes"})
	if ours(err) { // nobody has seen the password of that run
		err = rooms.Admin.SetAccount(ctx, actor, s.Admin.Wire, []string{"password=" + s.Password})
	}
	if err != nil {
		return nil, err
	}
	s.Records, err = rooms.Admin.Records(ctx, string(q.Domain), cfg.Hostname, Ports(cfg))
	return s, err
}

// writeWhole makes a file durable in one step: whatever happens, it is there
// with all of text or not at all.
func writeWhole(path string, text []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when all went well
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close()) // its mode is 0600
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Ports gives the ports that clients of cfg's node find its services at.
func Ports(cfg *config.Config) admin.Ports {
	port := func(list []string) int {
		if len(list) == 0 {
			return 0
		}
		_, p, err := net.SplitHostPort(list[0])
		if err != nil {
			return 0
		}
		n, err := strconv.Atoi(p)
		if err != nil {
			return 0
		}
		return n
	}
	return admin.Ports{Submission: port(cfg.Listen.Submission), Submissions: port(cfg.Listen.Submissions), IMAPS: port(cfg.Listen.IMAPS), POP3S: port(cfg.Listen.POP3S)}
}

// configText writes what differs from the defaults, and says where the rest
// is described.
func (q Quickstart) configText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# migiwa's configuration. `migiwa config doc` describes every key and its default,\n")
	fmt.Fprintf(&b, "# `migiwa config check` tells what is wrong with it.\n\n")
	fmt.Fprintf(&b, "hostname = %q\ndomain   = %q\n\n[listen]\n", q.Hostname, q.Domain)
	d := config.Default().Listen
	for _, l := range []struct {
		key  string
		list []string
	}{
		{"mx", d.MX}, {"submission", d.Submission}, {"submissions", d.Submissions},
		{"imap", d.IMAP}, {"imaps", d.IMAPS},
		{"pop3", d.POP3}, {"pop3s", d.POP3S}, {"metrics", d.Metrics},
	} {
		fmt.Fprintf(&b, "%-11s = [%q]\n", l.key, q.address(l.list[0]))
	}
	if q.MXProxy != "" {
		fmt.Fprintf(&b, "mx_proxy    = [%q]\n\n[proxy]\ntrust = [", q.MXProxy)
		for i, p := range q.TrustProxy {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%q", p)
		}
		b.WriteString("]\n")
	}
	if q.DSN != "" {
		fmt.Fprintf(&b, "\n[store]\ndsn = %q\n", q.DSN)
	}
	fmt.Fprintf(&b, "\n[[tls.certificate]] # self-signed by quickstart, until you set tls.acme or give files of your own\n")
	fmt.Fprintf(&b, "cert = \"tls/cert.pem\"\nkey  = \"tls/key.pem\"\n")
	return b.String()
}

// address moves a default address by the offset and to the host asked for.
func (q Quickstart) address(def string) string {
	host, port, err := net.SplitHostPort(def)
	if err != nil {
		return def
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return def
	}
	if host == "" {
		host = q.Listen
	}
	return net.JoinHostPort(host, strconv.Itoa(n+q.PortOffset))
}
