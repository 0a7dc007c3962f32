package peers

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// DovecotPassword is the password of every mailbox of a Dovecot peer.
const DovecotPassword = "read-it-back"

// DovecotOptions say what a Dovecot does beyond LMTP, POP3 and IMAP without TLS.
type DovecotOptions struct {
	// Mailboxes are the addresses that have a mailbox. Others are unknown to it.
	Mailboxes []string
	// Password is that of each; empty: DovecotPassword.
	Password string
	// CertFile and KeyFile, when set, make it listen for IMAP over TLS, too.
	CertFile, KeyFile string
	// Location is its mail_location; empty: a Maildir, which Mailbox reads.
	Location string
	// Fsync is its mail_fsync; empty: Dovecot's default, optimized.
	Fsync string
	// Extensions turns on what Debian's configuration leaves off: ACL with
	// other users' mailboxes, QUOTA, METADATA and COMPRESS.
	Extensions bool
}

// DovecotServer is a running Dovecot that takes mail by LMTP and lets it be
// read back by POP3 and IMAP.
type DovecotServer struct {
	*process
	mailboxes
	// LMTP, POP3, IMAP and IMAPS are the host:port of its listeners; IMAPS is
	// empty without a certificate.
	LMTP, POP3, IMAP, IMAPS string
}

// DovecotLMTP starts Dovecot for a test. Its mailboxes are the addresses, each
// with the password DovecotPassword; others are unknown to it.
func DovecotLMTP(t testing.TB, addresses ...string) *DovecotServer {
	t.Helper()
	return Dovecot(t, DovecotOptions{Mailboxes: addresses})
}

// Dovecot starts Dovecot for a test.
func Dovecot(t testing.TB, o DovecotOptions) *DovecotServer {
	t.Helper()
	p, err := StartDovecot(o)
	return started(t, "Dovecot", p, err)
}

// StartDovecot is Dovecot for programs. It is ready on return.
func StartDovecot(o DovecotOptions) (*DovecotServer, error) {
	binary, err := findDovecot()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	nobody, err := lookupAccount("nobody")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	dir, err := newDir("dovecot")
	if err != nil {
		return nil, err
	}
	if err := mkdirs(dir, nobody, "mail"); err != nil {
		return nil, err
	}
	if err := configureDovecot(dir, ports, nobody, o); err != nil {
		return nil, err
	}
	s := &DovecotServer{
		LMTP:      loopback(ports[0]),
		POP3:      loopback(ports[1]),
		IMAP:      loopback(ports[2]),
		mailboxes: mailboxes{root: filepath.Join(dir, "mail"), addresses: o.Mailboxes},
	}
	if o.CertFile != "" {
		s.IMAPS = loopback(ports[3])
	}
	return s, s.start(binary, dir)
}

func (s *DovecotServer) start(binary, dir string) (err error) {
	cmd := exec.Command(binary, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	if s.process, err = startProcess(dir, cmd, syscall.SIGTERM, nil); err != nil {
		return err
	}
	return s.waitReady(func() error {
		return errors.Join(greets(s.LMTP, "220 ")(), greets(s.POP3, "+OK ")(), greets(s.IMAP, "* OK ")())
	})
}

// Restart ends it and starts it again on the same mailboxes.
func (s *DovecotServer) Restart() error {
	if err := s.end(); err != nil {
		return err
	}
	return s.start(s.cmd.Path, s.dir)
}

// Forget removes all that the addresses have: mail, mailboxes and settings.
func (s *DovecotServer) Forget(addresses ...string) error {
	for _, a := range addresses {
		if err := removeAll(filepath.Join(s.root, mailboxPath(a))); err != nil {
			return err
		}
	}
	return nil
}

// configureDovecot writes the configuration and the users.
func configureDovecot(dir string, ports []int, nobody account, o DovecotOptions) error {
	var users strings.Builder
	for _, a := range o.Mailboxes {
		fmt.Fprintf(&users, "%s:{PLAIN}%s:%d:%d::%s\n", a, cmp.Or(o.Password, DovecotPassword), nobody.uid, nobody.gid, filepath.Join(dir, "mail", mailboxPath(a)))
	}
	conf, tls := dovecotConf, "ssl = no"
	if o.Extensions {
		conf += dovecotExtensions
	}
	imaps := 0
	if o.CertFile != "" {
		imaps = ports[3]
		tls = "ssl = yes\nssl_cert = <" + o.CertFile + "\nssl_key = <" + o.KeyFile
	}
	conf = strings.NewReplacer(
		"DIR", dir,
		"LMTP_PORT", fmt.Sprint(ports[0]),
		"POP3_PORT", fmt.Sprint(ports[1]),
		"IMAP_PORT", fmt.Sprint(ports[2]),
		"IMAPS_PORT", fmt.Sprint(imaps),
		"TLS_LINES", tls,
		"LOCATION", cmp.Or(o.Location, "maildir:~"),
		"FSYNC", cmp.Or(o.Fsync, "optimized"),
	).Replace(conf)
	return writeFiles(dir, map[string]string{"dovecot.conf": conf, "users": users.String()})
}

// findDovecot wants the protocols too, which are packages of their own.
func findDovecot() (string, error) {
	for _, protocol := range []string{"lmtp", "pop3", "imap"} {
		if _, err := findFile("/usr/lib/dovecot/" + protocol); err != nil {
			return "", &MissingError{What: "dovecot with " + protocol}
		}
	}
	return findFile("/usr/sbin/dovecot")
}

// dovecotConf is the whole configuration, but for the words in capitals.
const dovecotConf = `
base_dir = DIR/run
state_dir = DIR/run
log_path = DIR/output
protocols = lmtp pop3 imap
listen = 127.0.0.1
TLS_LINES
disable_plaintext_auth = no
hostname = dovecot.test
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
mail_location = LOCATION
mail_fsync = FSYNC
first_valid_uid = 1
mail_max_userip_connections = 10000
default_client_limit = 4000
default_process_limit = 4000
login_trusted_networks = 127.0.0.0/8
auth_default_realm = example.test
passdb {
  driver = passwd-file
  args = username_format=%u DIR/users
}
userdb {
  driver = passwd-file
  args = username_format=%u DIR/users
}
service lmtp {
  inet_listener lmtp {
    port = LMTP_PORT
  }
}
service pop3-login {
  inet_listener pop3 {
    port = POP3_PORT
  }
  inet_listener pop3s {
    port = 0
  }
}
service imap-login {
  inet_listener imap {
    port = IMAP_PORT
  }
  inet_listener imaps {
    port = IMAPS_PORT
  }
}
`

// dovecotExtensions is added for what Debian's configuration leaves off.
const dovecotExtensions = `
mail_plugins = acl quota zlib
imap_metadata = yes
mail_attribute_dict = file:%h/attributes
namespace inbox {
  inbox = yes
  separator = /
}
namespace users {
  type = shared
  separator = /
  prefix = users/%%u/
  location = maildir:DIR/mail/%%d/%%n:INDEX=~/shared/%%u
  subscriptions = no
  list = children
}
protocol imap {
  mail_plugins = $mail_plugins imap_acl imap_quota imap_zlib
}
plugin {
  acl = vfile
  acl_shared_dict = file:DIR/mail/acls
  quota = count:user
  quota_rule = *:storage=1G
  quota_vsizes = yes
}
`
