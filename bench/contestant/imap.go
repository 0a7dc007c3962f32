package contestant

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/migiwa/migiwa/test/imap/client"
	"github.com/migiwa/migiwa/test/peers"
)

// MailboxServer is a contestant whose mailbox is read by IMAP.
type MailboxServer interface {
	// Name is its name in the tables.
	Name() string
	// IMAP is its listener, with TLS from the first octet.
	IMAP() client.Server
	// Account is the owner of the mailbox.
	Account() client.Account
	// Pid is the process ID of its first process.
	Pid() int
	// StartAgain ends it and starts it again on the same data: what it had in
	// memory is gone.
	StartAgain() error
	// Close ends it and removes all it wrote.
	Close() error
}

// MigiwaForIMAP starts a migiwa that lets one address have many connections.
func MigiwaForIMAP(path string) (MailboxServer, error) {
	m, err := startMigiwa(path, setUp{extra: "[imap]\nmax_per_address = 20000\n"})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// IMAP implements MailboxServer.
func (m *MigiwaServer) IMAP() client.Server { return client.Server{Addr: m.port(993), TLS: true} }

// Account implements MailboxServer.
func (m *MigiwaServer) Account() client.Account {
	return client.Account{User: Recipient, Password: password}
}

// StartAgain implements MailboxServer.
func (m *MigiwaServer) StartAgain() error {
	if err := m.stop(); err != nil {
		return err
	}
	return m.startServing()
}

// dovecot is Dovecot with Debian's defaults but for the task.
type dovecot struct {
	*peers.DovecotServer
	certificate string // directory
}

// Dovecot starts one with that mail_location ("maildir:~/Maildir",
// "sdbox:~/sdbox") and mail_fsync.
func Dovecot(location, fsync string) (_ MailboxServer, err error) {
	dir, err := os.MkdirTemp("", "migiwa-bench-cert-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
		"-nodes", "-days", "2", "-subj", "/CN=dovecot.test", "-keyout", key, "-out", cert).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("openssl: %w: %s", err, out)
	}
	d, err := peers.StartDovecot(peers.DovecotOptions{
		Mailboxes: []string{Recipient},
		Location:  location,
		Fsync:     cmp.Or(fsync, "optimized"),
		CertFile:  cert,
		KeyFile:   key,
	})
	if err != nil {
		return nil, err
	}
	return &dovecot{DovecotServer: d, certificate: dir}, nil
}

func (d *dovecot) Name() string        { return "dovecot" }
func (d *dovecot) IMAP() client.Server { return client.Server{Addr: d.IMAPS, TLS: true} }
func (d *dovecot) Account() client.Account {
	return client.Account{User: Recipient, Password: peers.DovecotPassword}
}
func (d *dovecot) Close() error {
	return errors.Join(d.DovecotServer.Close(), os.RemoveAll(d.certificate))
}

func (d *dovecot) StartAgain() error { return d.Restart() }
