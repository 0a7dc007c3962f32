package peers

import (
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// EximOptions say what an Exim does. The zero value accepts nothing.
type EximOptions struct {
	// Mailboxes are the addresses that have a Maildir. Any other address in
	// their domains is refused.
	Mailboxes []string
	// Relay maps domains that it accepts mail for to the host:port that it
	// passes that mail on to.
	Relay map[string]string
	// CertFile and KeyFile, when set, make it offer STARTTLS.
	CertFile, KeyFile string
}

// EximServer is a running Exim.
type EximServer struct {
	*process
	mailboxes
	// Addr is the host:port of its SMTP listener.
	Addr string
}

// Exim starts Exim for a test.
func Exim(t testing.TB, o EximOptions) *EximServer {
	t.Helper()
	p, err := StartExim(o)
	return started(t, "Exim", p, err)
}

// StartExim starts Exim as its own unprivileged user with a configuration
// written for it. It is ready on return.
func StartExim(o EximOptions) (*EximServer, error) {
	binary, err := findFile(
		filepath.Join(unpackedDir("exim4-daemon-light"), "usr/sbin/exim4"),
		"/usr/sbin/exim4")
	if err != nil {
		return nil, err
	}
	user, err := lookupAccount("Debian-exim")
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	dir, err := newDir("exim")
	if err != nil {
		return nil, err
	}
	if err := configureExim(dir, binary, port, user, o); err != nil {
		return nil, fmt.Errorf("configuring: %w", err)
	}
	s := &EximServer{
		Addr:      loopback(port),
		mailboxes: mailboxes{root: filepath.Join(dir, "mail"), addresses: o.Mailboxes},
	}
	// -q: what could not be passed on is tried again each second.
	cmd := exec.Command(filepath.Join(dir, "exim4"), "-bdf", "-q1s", "-C", filepath.Join(dir, "exim.conf"))
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if s.process, err = startProcess(dir, cmd, syscall.SIGTERM, &user); err != nil {
		return nil, err
	}
	return s, s.waitReady(greets(s.Addr, "220 "))
}

// configureExim makes the directories and files of an instance.
func configureExim(dir, binary string, port int, user account, o EximOptions) error {
	if err := mkdirs(dir, user, ".", "spool", "log", "mail"); err != nil {
		return err
	}
	// Exim runs itself again for each delivery, as a user who may not be able
	// to reach the place where it was unpacked.
	if err := copyProgram(filepath.Join(dir, "exim4"), binary); err != nil {
		return err
	}
	var known, routes strings.Builder
	for _, a := range o.Mailboxes {
		fmt.Fprintf(&known, "%s: %s\n", a, mailboxPath(a))
	}
	for _, d := range slices.Sorted(maps.Keys(o.Relay)) {
		host, port := splitHostPort(o.Relay[d])
		fmt.Fprintf(&routes, "%s: %s::%s byname\n", d, host, port)
	}
	tls := "tls_advertise_hosts =" // it would make up a certificate
	if o.CertFile != "" {
		tls = "tls_advertise_hosts = *\ntls_certificate = " + o.CertFile + "\ntls_privatekey = " + o.KeyFile
	}
	conf := strings.NewReplacer(
		"DIR", dir,
		"PORT", fmt.Sprint(port),
		"LOCAL_DOMAINS", strings.Join(domainsOf(o.Mailboxes), " : "),
		"RELAY_DOMAINS", strings.Join(slices.Sorted(maps.Keys(o.Relay)), " : "),
		"TLS_LINES", tls,
	).Replace(eximConf)
	return writeFiles(dir, map[string]string{
		"exim.conf": conf,
		"mailboxes": known.String(),
		"routes":    routes.String(),
	})
}

// eximConf is the whole configuration, but for the words in capitals.
const eximConf = `
primary_hostname = exim.test
exim_path = DIR/exim4
spool_directory = DIR/spool
log_file_path = DIR/log/%s
pid_file_path = DIR/spool/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = PORT
domainlist local_domains = LOCAL_DOMAINS
domainlist relay_domains = RELAY_DOMAINS
acl_smtp_rcpt = check_rcpt
acl_smtp_data = accept
host_lookup =
rfc1413_hosts =
keep_environment =
deliver_drop_privilege
TLS_LINES

begin acl
check_rcpt:
  accept  domains = +relay_domains
  require message = relay not permitted
          domains = +local_domains
  require message = no such mailbox
          verify  = recipient
  accept

begin routers
relay:
  driver = manualroute
  domains = +relay_domains
  route_data = ${lookup{$domain}lsearch{DIR/routes}}
  self = send
  transport = remote
  no_more
local:
  driver = accept
  domains = +local_domains
  local_part_suffix = +*
  local_part_suffix_optional
  address_data = ${lookup{$local_part@$domain}lsearch{DIR/mailboxes}{$value}fail}
  transport = maildir

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = DIR/mail/$address_data
  create_directory
  delivery_date_add
  envelope_to_add
  return_path_add
remote:
  driver = smtp
  hosts_try_fastopen =

begin retry
* * F,1h,1s
`

// copyProgram copies an executable file.
func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// splitHostPort is net.SplitHostPort for the constant addresses of tests.
func splitHostPort(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic("peers: a relay wants host:port, not " + addr)
	}
	return host, port
}
