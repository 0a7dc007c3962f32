package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemo runs the first command that a newcomer types, twice. Its ports are
// fixed, so that it runs before the tests that run side by side.
func TestDemo(t *testing.T) {
	for _, p := range []int{25, 110, 465, 587, 995, 2525, 9125} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p+10000))
		if err != nil {
			t.Skipf("the demo's port %d is taken on this machine", p+10000)
		}
		l.Close()
	}
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "demo")
	demo := func() (string, error) {
		out, err := exec.Command(bin, "demo", "--once", "--dir", dir).CombinedOutput()
		return string(out), err
	}
	for i := range 2 {
		out, err := demo()
		if err != nil {
			t.Fatalf("run %d: %v\n%s", i+1, err, out)
		}
		wantAll(t, out, "migiwa account add", "swaks", "curl", "550 5.1.1", "Subject: Dinner?", "Received: ",
			"203.0.113.66 asks for alice: 451 4.7.1 Try again later", "198.51.100.25 asks for alice: 250", "198.51.100.25 asks for nobody: 550")
		if strings.Contains(out, "level=ERROR") {
			t.Errorf("errors in\n%s", out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:10025")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if out, err := demo(); err == nil || !containsAll(out, "10025", "in use") {
		t.Errorf("with its port taken: %v\n%s", err, out)
	}
}
