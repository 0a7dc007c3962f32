package peers

import (
	"crypto/tls"
	"net/textproto"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// insecure trusts any certificate: the peers' are self-signed.
func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// selfSigned makes a certificate and its key as PEM files.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		started(t, "openssl", &process{}, &MissingError{What: "openssl"})
	}
	dir, err := newDir("cert") // t.TempDir is not every user's to read
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = removeAll(dir) })
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
		"-nodes", "-days", "2", "-subj", "/CN=peer.test", "-keyout", key, "-out", cert).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	// Exim reads its key as its own user.
	if out, err := exec.Command("chmod", "644", key).CombinedOutput(); err != nil {
		t.Fatalf("chmod: %v: %s", err, out)
	}
	return cert, key
}

// dialogue is one line-by-line conversation.
type dialogue struct {
	t *testing.T
	c *textproto.Conn
}

func newDialogue(t *testing.T, addr string) dialogue {
	t.Helper()
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return dialogue{t: t, c: c}
}

type lmtp struct{ dialogue }

func lmtpDialogue(t *testing.T, addr string) lmtp {
	d := newDialogue(t, addr)
	if _, _, err := d.c.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	return lmtp{d}
}

// say sends a line and wants a reply of that code.
func (d lmtp) say(code int, format string, args ...any) {
	d.t.Helper()
	if err := d.c.PrintfLine(format, args...); err != nil {
		d.t.Fatal(err)
	}
	if _, _, err := d.c.ReadResponse(code); err != nil {
		d.t.Fatalf(format+": %v", append(args, err)...)
	}
}

type pop3 struct{ dialogue }

func pop3Dialogue(t *testing.T, addr string) pop3 {
	p := pop3{newDialogue(t, addr)}
	if line, err := p.c.ReadLine(); err != nil || !strings.HasPrefix(line, "+OK") {
		t.Fatalf("greeting %q, %v", line, err)
	}
	return p
}

// say sends a line and returns the +OK line that answers it.
func (p pop3) say(format string, args ...any) string {
	p.t.Helper()
	if err := p.c.PrintfLine(format, args...); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.c.ReadLine()
	if err != nil || !strings.HasPrefix(line, "+OK") {
		p.t.Fatalf(format+": %q, %v", append(args, line, err)...)
	}
	return line
}
