package peers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// MilterServer is a running mail filter that speaks sendmail's filter protocol.
type MilterServer struct {
	*process
	// Address is where it listens, as sendmail writes it.
	Address string
}

// ClamavMilter starts clamav-milter for a test, in front of a clamd. It adds
// X-Virus-Scanned and X-Virus-Status, and wants infected mail quarantined.
func ClamavMilter(t testing.TB, clamd *ClamdServer) *MilterServer {
	t.Helper()
	p, err := startClamavMilter(clamd)
	return started(t, "clamav-milter", p, err)
}

func startClamavMilter(clamd *ClamdServer) (*MilterServer, error) {
	binary, err := findFile(filepath.Join(unpackedDir("clamav-milter"), "usr/sbin/clamav-milter"))
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	dir, err := newDir("clamilter")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "sock")
	config := fmt.Sprintf("Foreground yes\nMilterSocket unix:%s\nClamdSocket unix:%s\nUser root\nAddHeader Replace\nOnInfected Quarantine\nTemporaryDirectory %s\n",
		socket, clamd.Socket, dir)
	path := filepath.Join(dir, "conf")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return nil, err
	}
	s := &MilterServer{Address: "unix:" + socket}
	if s.process, err = startProcess(dir, exec.Command(binary, "-c", path), syscall.SIGTERM, nil); err != nil {
		return nil, err
	}
	return s, s.waitReady(func() error { return dial("unix", socket) })
}

// Rspamd starts rspamd's proxy for a test, which scans by its local rules alone:
// no DNS, no Redis. It adds X-Spamd-Result, and wants mail with a score of 15
// or more refused.
func Rspamd(t testing.TB) *MilterServer {
	t.Helper()
	p, err := startRspamd()
	return started(t, "rspamd", p, err)
}

// rspamdOff are the modules that ask somebody.
var rspamdOff = []string{"rbl", "surbl", "spf", "dkim", "arc", "dmarc", "asn", "fuzzy_check", "mid", "reputation", "neural", "ratelimit", "greylist", "phishing_feeds"}

func startRspamd() (*MilterServer, error) {
	root := unpackedDir("rspamd")
	binary, err := findFile(filepath.Join(root, "usr/bin/rspamd"))
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
	dir, err := newDir("rspamd")
	if err != nil {
		return nil, err
	}
	if err := rspamdSettings(dir, root, port); err != nil {
		return nil, err
	}
	share := filepath.Join(root, "usr/share/rspamd")
	cmd := exec.Command(binary, "-f", "-i", "-c", filepath.Join(dir, "etc/rspamd.conf"))
	for name, path := range map[string]string{"CONFDIR": dir + "/etc", "LOCAL_CONFDIR": dir + "/etc", "DBDIR": dir, "RUNDIR": dir, "LOGDIR": dir, "SHAREDIR": share,
		"RULESDIR": share + "/rules", "PLUGINSDIR": share + "/plugins", "LUALIBDIR": share + "/lualib", "WWWDIR": share + "/www"} {
		cmd.Args = append(cmd.Args, "--var="+name+"="+path)
	}
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(root, "usr/lib/rspamd"))
	s := &MilterServer{Address: fmt.Sprintf("inet:%d@127.0.0.1", port)}
	if s.process, err = startProcess(dir, cmd, syscall.SIGTERM, nil); err != nil {
		return nil, err
	}
	// It compiles its patterns first.
	return s, s.waitReadyFor(3*readyTimeout, func() error { return dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)) })
}

func rspamdSettings(dir, root string, port int) error {
	if err := os.CopyFS(filepath.Join(dir, "etc"), os.DirFS(filepath.Join(root, "etc/rspamd"))); err != nil {
		return err
	}
	files := map[string]string{
		"options.inc":           `dns { nameserver = ["127.0.0.1:1"]; timeout = 0.01s; retransmits = 1; } local_addrs = [];`,
		"worker-proxy.inc":      fmt.Sprintf(`bind_socket = "127.0.0.1:%d"; milter = yes; upstream "local" { default = yes; self_scan = yes; }`, port),
		"milter_headers.conf":   `use = ["x-spamd-result"]; extended_spam_headers = true; skip_local = false; skip_authenticated = false;`,
		"worker-normal.inc":     "enabled = false;",
		"worker-controller.inc": "enabled = false;",
		"worker-fuzzy.inc":      "enabled = false;",
	}
	for _, module := range rspamdOff {
		files[module+".conf"] = "enabled = false;"
	}
	return writeFiles(filepath.Join(dir, "etc", "override.d"), files)
}

func dial(network, address string) error {
	c, err := net.DialTimeout(network, address, time.Second)
	if err == nil {
		c.Close()
	}
	return err
}
