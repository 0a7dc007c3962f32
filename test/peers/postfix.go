package peers

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// PostfixOptions say what a Postfix does. The zero value accepts nothing.
type PostfixOptions struct {
	// Hostname is what it greets with; postfix.test when empty.
	Hostname string
	// Mailboxes are the addresses that have a Maildir. Their domains are its
	// virtual mailbox domains; any other address in them is refused.
	Mailboxes []string
	// Relay maps domains that it accepts mail for to the host:port that it
	// passes that mail on to.
	Relay map[string]string
	// CertFile and KeyFile, when set, make it offer STARTTLS.
	CertFile, KeyFile string
	// Quiet leaves the log to syslog, as the package does. Otherwise it goes
	// into a file and Log returns it.
	Quiet bool
	// Screen puts postscreen in front of smtpd, as the comments in Debian's
	// master.cf say, and a balancer in front of it: each connection must begin
	// with a PROXY header.
	Screen bool
	// Parameters are lines of main.cf that override all others.
	Parameters map[string]string
	// Services are further lines of master.cf.
	Services string
}

// PostfixServer is a running Postfix.
type PostfixServer struct {
	*process
	mailboxes
	// Addr is the host:port of its SMTP listener.
	Addr string

	tree postfixTree
}

// Postfix starts Postfix for a test.
func Postfix(t testing.TB, o PostfixOptions) *PostfixServer {
	t.Helper()
	p, err := StartPostfix(o)
	return started(t, "Postfix", p, err)
}

// StartPostfix starts Postfix with main.cf and master.cf as Debian ships them
// and as few changes as its place and task ask for. It is ready on return.
func StartPostfix(o PostfixOptions) (*PostfixServer, error) {
	tree, err := findPostfix()
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
	dir, err := newDir("postfix")
	if err != nil {
		return nil, err
	}
	if err := tree.configure(dir, port, o); err != nil {
		return nil, fmt.Errorf("configuring: %w", err)
	}
	s := &PostfixServer{
		Addr:      loopback(port),
		mailboxes: mailboxes{root: filepath.Join(dir, "mail"), addresses: o.Mailboxes},
		tree:      tree,
	}
	// Not by postfix(1): its start-up script checks and mends shared files.
	// -s keeps master(8) in the foreground; it wants to lead its session.
	cmd := tree.command("lib/postfix/sbin/master", "-s", "-c", filepath.Join(dir, "etc"))
	if s.process, err = startProcess(dir, cmd, syscall.SIGTERM, nil); err != nil {
		return nil, err
	}
	ready := greets(s.Addr, "220 ")
	if o.Screen {
		ready = greetsAfter("PROXY TCP4 127.0.0.1 127.0.0.1 40000 25\r\n", s.Addr, "220") // 220- while it still tests
	}
	return s, s.waitReady(ready)
}

// Command returns a command of Postfix, such as postqueue or postsuper, that
// works on this instance.
func (s *PostfixServer) Command(name string, args ...string) *exec.Cmd {
	cmd := s.tree.command("sbin/"+name, args...)
	cmd.Env = append(cmd.Env, "MAIL_CONFIG="+filepath.Join(s.dir, "etc"))
	return cmd
}

// postfixTree is the directory that holds Postfix's sbin and lib: /usr, or the
// usr of the unpacked package.
type postfixTree string

func findPostfix() (postfixTree, error) {
	master, err := findFile(
		filepath.Join(unpackedDir("postfix"), "usr/lib/postfix/sbin/master"),
		"/usr/lib/postfix/sbin/master")
	if err != nil {
		return "", &MissingError{What: "postfix"}
	}
	return postfixTree(strings.TrimSuffix(master, "/lib/postfix/sbin/master")), nil
}

// PostfixTool returns a command of the Postfix package that needs no running
// Postfix: smtp-source or smtp-sink.
func PostfixTool(name string, args ...string) (*exec.Cmd, error) {
	tree, err := findPostfix()
	if err != nil {
		return nil, err
	}
	return tree.command("sbin/"+name, args...), nil
}

func (tree postfixTree) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(string(tree), name), args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH=" + tree.libraries()}
	return cmd
}

func (tree postfixTree) libraries() string { return filepath.Join(string(tree), "lib/postfix") }

// configure makes the directories and files of an instance.
func (tree postfixTree) configure(dir string, port int, o PostfixOptions) error {
	if err := makePostfixQueue(dir); err != nil {
		return err
	}
	mainCf, err := os.ReadFile(filepath.Join(string(tree), "share/postfix/main.cf.debian"))
	if err != nil {
		return err
	}
	masterCf, err := os.ReadFile(filepath.Join(string(tree), "share/postfix/master.cf.dist"))
	if err != nil {
		return err
	}
	nobody, err := lookupAccount("nobody")
	if err != nil {
		return err
	}
	if err := mkdirs(dir, nobody, "mail"); err != nil {
		return err
	}
	return writeFiles(dir, map[string]string{
		"etc/main.cf":        string(mainCf) + tree.parameters(dir, nobody, o),
		"etc/master.cf":      postfixServices(string(masterCf), port, o.Screen) + o.Services,
		"etc/dynamicmaps.cf": "",
		"etc/mailboxes":      postfixMailboxes(o.Mailboxes),
		"etc/transport":      postfixTransport(o.Relay),
		"log/main":           "",
	})
}

// parameters returns what follows Debian's main.cf. A later line wins.
func (tree postfixTree) parameters(dir string, owner account, o PostfixOptions) string {
	hostname := o.Hostname
	if hostname == "" {
		hostname = "postfix.test"
	}
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s = %s\n", key, value) }
	b.WriteString("\n# Place\n")
	set("queue_directory", filepath.Join(dir, "spool"))
	set("data_directory", filepath.Join(dir, "data"))
	set("daemon_directory", filepath.Join(string(tree), "lib/postfix/sbin"))
	set("command_directory", filepath.Join(string(tree), "sbin"))
	set("shlib_directory", tree.libraries())
	set("meta_directory", filepath.Join(dir, "etc"))
	set("import_environment", "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH="+tree.libraries())
	if !o.Quiet {
		set("maillog_file", filepath.Join(dir, "log/main"))
		set("maillog_file_prefixes", dir)
	}
	b.WriteString("# Task\n")
	set("myhostname", hostname)
	set("myorigin", hostname)
	set("mydestination", "")
	set("inet_interfaces", "127.0.0.1")
	set("inet_protocols", "ipv4")
	set("alias_maps", "")
	set("alias_database", "")
	set("smtpd_relay_restrictions", "reject_unauth_destination") // a test's mail must not leave
	set("recipient_delimiter", "+")
	set("virtual_mailbox_domains", strings.Join(domainsOf(o.Mailboxes), " "))
	set("virtual_mailbox_base", filepath.Join(dir, "mail"))
	set("virtual_mailbox_maps", "texthash:"+filepath.Join(dir, "etc/mailboxes"))
	set("virtual_uid_maps", fmt.Sprintf("static:%d", owner.uid))
	set("virtual_gid_maps", fmt.Sprintf("static:%d", owner.gid))
	set("relay_domains", strings.Join(slices.Sorted(maps.Keys(o.Relay)), " "))
	set("transport_maps", "texthash:"+filepath.Join(dir, "etc/transport"))
	if o.CertFile != "" {
		set("smtpd_tls_security_level", "may")
		set("smtpd_tls_cert_file", o.CertFile)
		set("smtpd_tls_key_file", o.KeyFile)
	}
	if o.Screen {
		set("postscreen_upstream_proxy_protocol", "haproxy")
	}
	for _, key := range slices.Sorted(maps.Keys(o.Parameters)) {
		set(key, o.Parameters[key])
	}
	return b.String()
}

// postfixServices takes Debian's master.cf, puts the SMTP listener on our port
// and leaves out the chroot, whose files the package's scripts would copy. With
// screen, postscreen has the listener.
func postfixServices(masterCf string, port int, screen bool) string {
	var b strings.Builder
	for line := range strings.Lines(masterCf) {
		if screen {
			line = screened(line)
		}
		f := strings.Fields(line)
		if len(f) == 8 && !strings.HasPrefix(line, "#") && line[0] != ' ' {
			if f[0] == "smtp" && f[1] == "inet" {
				f[0] = loopback(port)
			}
			f[4] = "n"
			line = strings.Join(f, " ") + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// screened turns a line of Debian's master.cf on or off for postscreen.
func screened(line string) string {
	on, off := strings.CutPrefix(line, "#")
	f := strings.Fields(on)
	if len(f) != 8 {
		return line
	}
	switch {
	case off && f[7] == "postscreen", off && f[0] == "smtpd" && f[1] == "pass", off && f[7] == "dnsblog", off && f[7] == "tlsproxy":
		return on
	case !off && f[0] == "smtp" && f[1] == "inet":
		return "#" + line
	}
	return line
}

// makePostfixQueue makes what post-install would, from postfix-files.
func makePostfixQueue(dir string) error {
	owner, err := lookupAccount("postfix")
	if err != nil {
		return err
	}
	postdrop, err := lookupGroup("postdrop")
	if err != nil {
		return err
	}
	for _, name := range []string{"etc", "log", "spool", "spool/pid"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	private := []string{"data"}
	for _, q := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		private = append(private, "spool/"+q)
	}
	if err := mkdirs(dir, owner, private...); err != nil {
		return err
	}
	for _, name := range private {
		if err := os.Chmod(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	shared := owner
	shared.gid = postdrop
	if err := mkdirs(dir, shared, "spool/public", "spool/maildrop"); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(dir, "spool/public"), 0o710); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(dir, "spool/maildrop"), 0o730|os.ModeSticky)
}

func postfixMailboxes(addresses []string) string {
	var b strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&b, "%s %s/\n", a, mailboxPath(a))
	}
	return b.String()
}

func postfixTransport(relay map[string]string) string {
	var b strings.Builder
	for _, domain := range slices.Sorted(maps.Keys(relay)) {
		host, port := splitHostPort(relay[domain])
		fmt.Fprintf(&b, "%s relay:[%s]:%s\n", domain, host, port)
	}
	return b.String()
}

// domainsOf returns the domains of the addresses, each once.
func domainsOf(addresses []string) []string {
	var domains []string
	for _, a := range addresses {
		_, d := splitAddress(a)
		domains = append(domains, d)
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}
