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

// ClamdServer is a running clamd with signatures of our own.
type ClamdServer struct {
	*process
	// Socket is the path of its socket.
	Socket   string
	database string
}

// Eicar is the text that all virus scanners find (eicar.org). It is put
// together at run time, so that none finds it in this file.
func Eicar() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-` + `STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
}

// Clamd starts clamd for a test. signatures are texts and the names they are
// found by; Eicar is found anyway.
func Clamd(t testing.TB, signatures map[string]string) *ClamdServer {
	t.Helper()
	p, err := StartClamd(signatures)
	return started(t, "clamd", p, err)
}

// StartClamd starts clamd. It is ready on return.
func StartClamd(signatures map[string]string) (*ClamdServer, error) {
	binary, err := findFile(filepath.Join(unpackedDir("clamav-daemon"), "usr/sbin/clamd"))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "migiwa-clamd")
	if err != nil {
		return nil, err
	}
	s := &ClamdServer{Socket: filepath.Join(dir, "clamd.ctl"), database: filepath.Join(dir, "db")}
	if err := os.Mkdir(s.database, 0o755); err != nil {
		return nil, err
	}
	if err := s.SetSignatures(signatures); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("Foreground yes\nLocalSocket %s\nDatabaseDirectory %s\nStreamMaxLength 30M\nTemporaryDirectory %s\nUser root\nSelfCheck 2\nMaxThreads 4\nFixStaleSocket yes\n",
		s.Socket, s.database, dir)
	path := filepath.Join(dir, "clamd.conf")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	if s.process, err = startProcess(dir, exec.Command(binary, "-c", path), syscall.SIGTERM, nil); err != nil {
		return nil, err
	}
	return s, s.waitReady(func() error { return dial("unix", s.Socket) })
}

// SetSignatures writes others. clamd notices within some seconds.
func (s *ClamdServer) SetSignatures(signatures map[string]string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Eicar-Test:0:*:%x\n", Eicar())
	for name, text := range signatures {
		fmt.Fprintf(&b, "%s:0:*:%x\n", name, text)
	}
	return os.WriteFile(filepath.Join(s.database, "own.ndb"), []byte(b.String()), 0o644)
}
