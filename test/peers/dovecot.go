package peers

import (
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

// DovecotServer is a running Dovecot that takes mail by LMTP and lets it be
// read back by POP3 and IMAP, without TLS.
type DovecotServer struct {
	*process
	mailboxes
	// LMTP, POP3 and IMAP are the host:port of its listeners.
	LMTP, POP3, IMAP string
}

// DovecotLMTP starts Dovecot for a test. Its mailboxes are the addresses, each
// with the password DovecotPassword; others are unknown to it.
func DovecotLMTP(t testing.TB, addresses ...string) *DovecotServer {
	t.Helper()
	p, err := StartDovecotLMTP(addresses...)
	return started(t, "Dovecot", p, err)
}

// StartDovecotLMTP is DovecotLMTP for programs. It is ready on return.
func StartDovecotLMTP(addresses ...string) (*DovecotServer, error) {
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
	ports, err := freePorts(3)
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
	var users strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&users, "%s:{PLAIN}%s:%d:%d::%s\n", a, DovecotPassword, nobody.uid, nobody.gid, filepath.Join(dir, "mail", mailboxPath(a)))
	}
	conf := strings.NewReplacer(
		"DIR", dir,
		"LMTP_PORT", fmt.Sprint(ports[0]),
		"POP3_PORT", fmt.Sprint(ports[1]),
		"IMAP_PORT", fmt.Sprint(ports[2]),
	).Replace(dovecotConf)
	if err := writeFiles(dir, map[string]string{"dovecot.conf": conf, "users": users.String()}); err != nil {
		return nil, err
	}
	s := &DovecotServer{
		LMTP:      loopback(ports[0]),
		POP3:      loopback(ports[1]),
		IMAP:      loopback(ports[2]),
		mailboxes: mailboxes{root: filepath.Join(dir, "mail"), addresses: addresses},
	}
	cmd := exec.Command(binary, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	if s.process, err = startProcess(dir, cmd, syscall.SIGTERM, nil); err != nil {
		return nil, err
	}
	return s, s.waitReady(func() error {
		return errors.Join(greets(s.LMTP, "220 ")(), greets(s.POP3, "+OK ")(), greets(s.IMAP, "* OK ")())
	})
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
ssl = no
disable_plaintext_auth = no
hostname = dovecot.test
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
mail_location = maildir:~
first_valid_uid = 1
login_trusted_networks = 127.0.0.0/8
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
    port = 0
  }
}
`
