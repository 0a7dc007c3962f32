package milter

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
)

// opendkim gives the program, which scripts/test-deps unpacks, or skips.
func opendkim(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("MIGIWA_PEERS")
	if cache, err := os.UserCacheDir(); dir == "" && err == nil {
		dir = filepath.Join(cache, "migiwa", "peers")
	}
	for _, path := range []string{filepath.Join(dir, "opendkim", "usr", "sbin", "opendkim"), "/usr/sbin/opendkim"} {
		if exec.Command(path, "-V").Run() == nil {
			return path
		}
	}
	t.Skip("SKIPPED, NOT TESTED: opendkim is not installed; run scripts/test-deps")
	return ""
}

// signer runs it to sign for example.com; it gives its address and the record of
// its key.
func signer(t *testing.T) (address, record string) {
	t.Helper()
	program := opendkim(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "migiwa-opendkim-") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, private := filepath.Join(dir, "sock"), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, content := range map[string]string{"key": string(private), "hosts": "192.0.2.1\n", "conf": strings.ReplaceAll(settings, "DIR", dir)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-f", "-x", filepath.Join(dir, "conf"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return "unix:" + socket, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("opendkim does not listen")
	return "", ""
}

const settings = `Mode s
Domain example.com
Selector sel
KeyFile DIR/key
Canonicalization simple/simple
RequireSafeKeys no
InternalHosts DIR/hosts
Socket local:DIR/sock
PidFile DIR/pid
`

// TestOpenDKIM has the real program sign messages with everything that is easily
// lost on the way to it: folds, tabs, dots, missing spaces, empty lines at the end.
func TestOpenDKIM(t *testing.T) {
	address, record := signer(t)
	f := &Filter{Servers: []Server{{Name: "opendkim", Address: address}}}
	for _, raw := range []string{
		"From: A <a@example.com>\r\nSubject: one\r\nDate: Fri, 27 Nov 2026 12:00:00 +0000\r\nTo: x@example.jp\r\n\r\nHello\r\n",
		"From:a@example.com\r\nSubject:  two\r\n spaces \r\n\tand folds\r\nTo:\tx@example.jp,\r\n y@example.jp\r\nDate: Fri, 27 Nov 2026 12:00:00 +0000\r\n\r\n.\r\n..\r\n\r\n日本\r\n\r\n\r\n",
	} {
		o, err := f.Run(t.Context(), message(t, raw), recipients(t))
		if err != nil || len(o.Findings) > 0 || !o.Header().Has("DKIM-Signature") {
			t.Fatalf("%v %s\n%q", err, text(o.Findings), whole(t, o))
		}
		verified, err := dkim.VerifyWithOptions(strings.NewReader(whole(t, o)), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
			if name != "sel._domainkey.example.com" {
				return nil, fmt.Errorf("asked for %s", name)
			}
			return []string{record}, nil
		}})
		if err != nil || len(verified) != 1 || verified[0].Err != nil {
			t.Errorf("%v %+v\n%q", err, verified, whole(t, o))
		}
	}
}
