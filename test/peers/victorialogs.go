package peers

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// VictoriaLogsServer is VictoriaLogs, a server for logs.
type VictoriaLogsServer struct {
	*process
	URL  string
	argv []string
}

// VictoriaLogs builds and starts VictoriaLogs for a test, with more flags of
// its command line.
func VictoriaLogs(t testing.TB, flags ...string) *VictoriaLogsServer {
	t.Helper()
	s, err := StartVictoriaLogs(flags...)
	return started(t, "VictoriaLogs", s, err)
}

// victoriaLogsBinary builds VictoriaLogs, which the go command keeps in its
// cache.
var victoriaLogsBinary = sync.OnceValues(func() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", "tool", "-n", "victoria-logs")
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "..", "tools")
	out, err := cmd.Output()
	if err != nil {
		return "", &MissingError{What: "VictoriaLogs (go tool victoria-logs: " + err.Error() + ")"}
	}
	return strings.TrimSpace(string(out)), nil
})

// StartVictoriaLogs starts VictoriaLogs. It answers on return.
func StartVictoriaLogs(flags ...string) (*VictoriaLogsServer, error) {
	bin, err := victoriaLogsBinary()
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	dir, err := newDir("victorialogs")
	if err != nil {
		return nil, err
	}
	s := &VictoriaLogsServer{URL: "http://" + loopback(port)}
	s.argv = append([]string{bin, "-httpListenAddr=" + loopback(port), "-storageDataPath=" + filepath.Join(dir, "data")}, flags...)
	if s.process, err = startProcess(dir, exec.Command(s.argv[0], s.argv[1:]...), syscall.SIGTERM, nil); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, s.waitReady(s.answers)
}

// Restart ends the server with SIGKILL and starts it again with its data.
func (s *VictoriaLogsServer) Restart() error {
	_ = s.process.cmd.Process.Kill() // it may have ended
	<-s.done
	p, err := startProcess(s.dir, exec.Command(s.argv[0], s.argv[1:]...), syscall.SIGTERM, nil)
	if err != nil {
		return err
	}
	s.process = p
	return s.waitReady(s.answers)
}

func (s *VictoriaLogsServer) answers() error {
	resp, err := http.Get(s.URL + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %s", resp.Status)
	}
	return nil
}
