package thunderbird

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	start   = 3 * time.Minute // until a program with windows is up, on a busy machine
	shortly = time.Minute     // for what happens at once
)

// eventually waits until ok gives true, and fails after the time.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("after %v still not: %s", within, what)
}

// background starts a program in a process group of its own, which ends with
// the test, and shows what it wrote when the test fails. The channel is closed
// when it ends.
func background(t testing.TB, cmd *exec.Cmd) <-chan struct{} {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = out
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		<-ended
		timer.Stop()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its children, if there are any left
		out.Close()
		if text, _ := os.ReadFile(out.Name()); t.Failed() {
			t.Logf("%s wrote:\n%.4000s", filepath.Base(cmd.Path), text)
		}
	})
	return ended
}

// desk is a screen that nobody sees, with a window manager, and the hands that
// use its mouse and keyboard.
type desk struct {
	t       testing.TB
	display string
	shots   string // the directory of screenshots
	taken   int
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{t: t, shots: os.Getenv("MIGIWA_SCREENSHOTS")}
	if d.shots == "" {
		d.shots = t.TempDir()
	} else if err := os.MkdirAll(d.shots, 0o755); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	screen := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "1280x960x24", "-nolisten", "tcp")
	screen.ExtraFiles = []*os.File{w}
	background(t, screen)
	w.Close()
	r.SetReadDeadline(time.Now().Add(start))
	number, err := io.ReadAll(io.LimitReader(r, 16))
	if number := strings.TrimSpace(string(number)); number != "" {
		d.display = ":" + number
	} else {
		t.Fatalf("Xvfb tells no display: %v", err)
	}
	background(t, d.command("openbox"))
	return d
}

// command is a program on this screen.
func (d *desk) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DISPLAY="+d.display)
	return cmd
}

func (d *desk) hand(args ...string) {
	d.t.Helper()
	if out, err := d.command("xdotool", args...).CombinedOutput(); err != nil {
		d.t.Fatalf("xdotool %q: %v\n%s", args, err, out)
	}
}

// key presses keys, by the names of X.
func (d *desk) key(names ...string) {
	d.t.Helper()
	d.hand(append([]string{"key"}, names...)...)
}

// write types text in any language. A letter that no keyboard has borrows a key
// for as long as it is pressed; a program that looks at it late reads nothing.
func (d *desk) write(text string, delay time.Duration) {
	d.t.Helper()
	d.hand("type", "--delay", fmt.Sprint(delay.Milliseconds()), text)
}

func (d *desk) move(x, y int) {
	d.t.Helper()
	d.hand("mousemove", fmt.Sprint(x), fmt.Sprint(y))
}

// shot takes a picture of the screen.
func (d *desk) shot(name string) {
	d.t.Helper()
	time.Sleep(time.Second) // what is known to be there may still have to be painted
	d.taken++
	path := filepath.Join(d.shots, fmt.Sprintf("%02d-%s.png", d.taken, name))
	if out, err := d.command("import", "-window", "root", path).CombinedOutput(); err != nil {
		d.t.Fatalf("import: %v\n%s", err, out)
	}
}
