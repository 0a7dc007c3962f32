package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// SendmailOptions say what a sendmail does. The zero value accepts nothing.
type SendmailOptions struct {
	// Mailboxes are the addresses that have a Maildir. They have one domain; any
	// other address in it is refused.
	Mailboxes []string
	// Milter is the host:port of a milter that it asks, none when empty.
	Milter string
	// Config are lines of m4 before the mailers, Rules lines of sendmail.cf
	// behind them, such as rule sets.
	Config, Rules string
}

// SendmailServer is a running sendmail.
type SendmailServer struct {
	*process
	mailboxes
	// Addr is the host:port of its SMTP listener, which listens on all of
	// 127.0.0.0/8: clients of 127.x.y.z are strangers to it.
	Addr string
	// Inner is another listener, which asks no milter.
	Inner string
}

// Sendmail starts sendmail for a test.
func Sendmail(t testing.TB, o SendmailOptions) *SendmailServer {
	t.Helper()
	p, err := StartSendmail(o)
	return started(t, "sendmail", p, err)
}

// StartSendmail starts sendmail with a configuration that Debian's macros make
// for it. It is ready on return.
func StartSendmail(o SendmailOptions) (*SendmailServer, error) {
	binary, err := findFile(filepath.Join(unpackedDir("sendmail-bin"), "usr/libexec/sendmail/sendmail"))
	if err != nil {
		return nil, err
	}
	macros, err := findFile(filepath.Join(unpackedDir("sendmail-cf"), "usr/share/sendmail/cf/m4/cf.m4"))
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("m4"); err != nil {
		return nil, &MissingError{What: "m4"}
	}
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	dir, err := newDir("sendmail")
	if err != nil {
		return nil, err
	}
	if err := configureSendmail(dir, binary, macros, ports, o); err != nil {
		return nil, fmt.Errorf("configuring: %w", err)
	}
	s := &SendmailServer{
		Addr: loopback(ports[0]), Inner: loopback(ports[1]),
		mailboxes: mailboxes{root: filepath.Join(dir, "mail"), addresses: o.Mailboxes},
	}
	if s.process, err = startProcess(dir, sendmailCommand(dir, binary, "-bD"), syscall.SIGTERM, nil); err != nil {
		return nil, err
	}
	return s, s.waitReady(greets(s.Addr, "220 "))
}

// sendmailCommand runs sendmail. Where the machine's name has no domain it would
// wait for a minute, and gets a name of its own.
func sendmailCommand(dir, binary, mode string) *exec.Cmd {
	args := []string{binary, "-C", filepath.Join(dir, "sendmail.cf"), mode}
	if host, err := os.Hostname(); err != nil || !strings.Contains(host, ".") {
		args = append([]string{"unshare", "--uts", "sh", "-c", `hostname sendmail.test && exec "$0" "$@"`}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return cmd
}

// configureSendmail makes the directories and files of an instance.
func configureSendmail(dir, binary, macros string, ports []int, o SendmailOptions) error {
	aliases, err := sendmailMailboxes(dir, o.Mailboxes)
	if err != nil {
		return err
	}
	for _, name := range []string{"queue", "log"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	filter := ""
	if o.Milter != "" {
		host, port := splitHostPort(o.Milter)
		filter = fmt.Sprintf("INPUT_MAIL_FILTER(`migiwa', `S=inet:%s@%s, T=C:10s;S:20s;R:20s;E:30s')dnl\n", port, host)
	}
	mc := strings.NewReplacer(
		"@DIR@", dir, "@OUTER@", fmt.Sprint(ports[0]), "@INNER@", fmt.Sprint(ports[1]),
		"@DOMAINS@", strings.Join(domainsOf(o.Mailboxes), " "), "@FILTER@", filter, "@CONFIG@", o.Config, "@RULES@", o.Rules,
	).Replace(sendmailConf)
	if err := writeFiles(dir, map[string]string{"sendmail.mc": mc, "aliases": aliases, "log/main": ""}); err != nil {
		return err
	}
	cf, err := exec.Command("m4", "-D_CF_DIR_="+filepath.Dir(filepath.Dir(macros))+"/", macros, filepath.Join(dir, "sendmail.mc")).Output()
	if err != nil {
		return fmt.Errorf("m4: %w", err)
	}
	if err := writeFiles(dir, map[string]string{"sendmail.cf": string(cf)}); err != nil {
		return err
	}
	if out, err := sendmailCommand(dir, binary, "-bi").CombinedOutput(); err != nil {
		return fmt.Errorf("newaliases: %w: %s", err, out)
	}
	return nil
}

// sendmailMailboxes makes the Maildirs and gives the aliases that deliver to
// them, by a script that runs as nobody.
func sendmailMailboxes(dir string, addresses []string) (aliases string, err error) {
	nobody, err := lookupAccount("nobody")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	owned := []string{"mail"}
	for _, a := range addresses {
		local, _ := splitAddress(a)
		path := filepath.Join("mail", mailboxPath(a))
		owned = append(owned, path, filepath.Join(path, "new"), filepath.Join(path, "cur"), filepath.Join(path, "tmp"))
		fmt.Fprintf(&b, "%s: \"|sh %s/deliver %s/%s\"\n", local, dir, dir, path)
	}
	if err := writeFiles(dir, map[string]string{"deliver": "cd \"$1\" && cat >tmp/$$ && mv tmp/$$ new/$$\n"}); err != nil {
		return "", err
	}
	return b.String(), mkdirs(dir, nobody, owned...)
}

// sendmailConf is the whole configuration, but for the words between @.
const sendmailConf = "OSTYPE(`linux')dnl\n" +
	"define(`QUEUE_DIR', `@DIR@/queue')dnl\n" +
	"define(`ALIAS_FILE', `@DIR@/aliases')dnl\n" +
	"define(`STATUS_FILE', `@DIR@/status')dnl\n" +
	"define(`HELP_FILE', `@DIR@/help')dnl\n" +
	"define(`confPID_FILE', `@DIR@/pid')dnl\n" +
	"define(`confDOMAIN_NAME', `sendmail.test')dnl\n" +
	"define(`confDEF_USER_ID', `nobody:nogroup')dnl\n" +
	"define(`confTRUSTED_USER', `root')dnl\n" +
	"define(`confDONT_PROBE_INTERFACES', `true')dnl\n" +
	"define(`confTO_IDENT', `0')dnl\n" +
	"define(`confPRIVACY_FLAGS', `goaway')dnl\n" +
	"define(`confQUEUE_LA', `10000')dnl\n" + // the tests' machine is busy
	"define(`confREFUSE_LA', `10000')dnl\n" +
	"define(`confDELAY_LA', `10000')dnl\n" +
	// The temporary directory is everybody's, but sticky.
	"define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit,MapInUnsafeDirPath,GroupWritableDirPathSafe')dnl\n" +
	"FEATURE(`no_default_msa')dnl\n" +
	"FEATURE(`nocanonify')dnl\n" +
	"FEATURE(`accept_unresolvable_domains')dnl\n" +
	"define(`ESMTP_MAILER_ARGS', `TCP [127.0.0.1] 9')dnl\n" + // a test's mail must not leave
	"LOCAL_DOMAIN(`@DOMAINS@')dnl\n" +
	"DAEMON_OPTIONS(`Name=MTA, Family=inet, Addr=127.0.0.1, Port=@OUTER@')dnl\n" +
	"DAEMON_OPTIONS(`Name=Inner, Family=inet, Addr=127.0.0.1, Port=@INNER@, InputMailFilters=')dnl\n" +
	"@FILTER@" +
	"@CONFIG@" +
	"MAILER(`local')dnl\n" +
	"MAILER(`smtp')dnl\n" +
	"@RULES@"
