// Package peers starts the real servers that migiwa is tested and measured
// against: Postfix, Exim, sendmail, Dovecot, smtp-sink and PostgreSQL, as Debian builds
// them (scripts/test-deps makes them available), and Pebble from the tools module.
//
// Each peer runs as ordinary processes with a configuration, a queue and
// mailboxes of its own below a temporary directory, listens on free ports of
// 127.0.0.1, and ends when it is closed or when the process that started it
// dies (its directory then stays, but not a running PostgreSQL's). Nothing of
// the machine's own mail system is read or changed.
//
//	p := peers.Postfix(t, peers.PostfixOptions{Mailboxes: []string{"ann@example.test"}})
//	smtp.SendMail(p.Addr, nil, "bob@client.test", []string{"ann@example.test"}, msg)
//	err := p.Mailbox("ann@example.test").Wait(ctx, 1)
//
// The functions named after a peer are for tests: they fail or skip the test
// themselves and close the peer with it. The Start functions are for programs
// such as the benchmarks.
//
// A test whose peer is not installed is skipped and says what to run; with
// MIGIWA_REQUIRE_PEERS=1 in the environment it fails. Postfix, Exim,
// sendmail and Dovecot change users and so need root; without root their tests are skipped.
package peers

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// ErrNotRoot is returned for a peer that only root can start.
var ErrNotRoot = errors.New("only root can start it, since it changes users")

// MissingError says that a program or an account of a peer is not there.
type MissingError struct {
	What string
}

func (e *MissingError) Error() string {
	return e.What + " is not installed; run scripts/test-deps"
}

// started is the end of every test helper: it closes the peer with the test, or
// tells why there is none.
func started[P io.Closer](t testing.TB, name string, peer P, err error) P {
	t.Helper()
	var missing *MissingError
	switch {
	case err == nil:
	case errors.Is(err, ErrNotRoot):
		t.Skipf("SKIPPED, NOT TESTED: %s: %v", name, err)
	case errors.As(err, &missing) && os.Getenv("MIGIWA_REQUIRE_PEERS") != "1":
		t.Skipf("SKIPPED, NOT TESTED: %s: %v", name, err)
	default:
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		if err := peer.Close(); err != nil {
			t.Errorf("closing %s: %v", name, err)
		}
	})
	return peer
}

// unpackedDir is where scripts/test-deps unpacks the package of that name.
func unpackedDir(pkg string) string {
	dir := os.Getenv("MIGIWA_PEERS")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = "/nonexistent"
		}
		dir = filepath.Join(cache, "migiwa", "peers")
	}
	return filepath.Join(dir, pkg)
}

// findFile returns the first file that one of the shell patterns names.
func findFile(patterns ...string) (string, error) {
	for _, p := range patterns {
		if found, _ := filepath.Glob(p); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", &MissingError{What: filepath.Base(patterns[0])}
}

// newDir makes the peer's directory. Its path is short, for the sake of Unix
// sockets, and open to the peer's unprivileged users.
func newDir(peer string) (string, error) {
	dir, err := os.MkdirTemp("", "migiwa-"+peer+"-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// writeFiles writes each name below dir with its text.
func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mkdirs makes directories below dir that belong to the account a.
func mkdirs(dir string, a account, names ...string) error {
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.Chown(path, a.uid, a.gid); err != nil {
			return fmt.Errorf("giving %s away: %w", path, err)
		}
	}
	return nil
}
