package imapd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
)

// pushLimit is when a push is given up. What is aimed at is pushAim; whether it
// is met depends on what else the machine does, so that it is only logged.
const (
	pushLimit = 5 * time.Second
	pushAim   = 100 * time.Millisecond
)

// houseIn is a house in a directory that another process opens, too.
func houseIn(t *testing.T, dir string) *house {
	t.Helper()
	d, err := db.Open(context.Background(), "sqlite:"+filepath.Join(dir, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	blobs, err := blob.OpenDisk(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	notices, err := bus.Open(filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notices.Close() })
	return newHouseOn(t, d, func(s *Server) { s.Mailboxes.Bus, s.Mailboxes.Bodies.Blobs = notices, blobs })
}

// TestPushLatency measures the time from the call that delivers a message, or
// from the STORE of another session, to the client's reading of what is told of
// it unasked.
func TestPushLatency(t *testing.T) {
	if dir := os.Getenv("MIGIWA_PUSH_DIR"); dir != "" {
		deliverFor(t, dir)
		return
	}
	dir, err := os.MkdirTemp("", "push") // short: a socket's name is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"blobs", "bus"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h := houseIn(t, dir)
	h.fill(t, 1)
	other := startDeliverer(t, dir)
	writer := h.login(t, "alice")
	writer.ok("SELECT INBOX")
	for _, way := range []struct {
		name     string
		commands []string
	}{
		{"IDLE", []string{"SELECT INBOX", "IDLE"}},
		{"NOTIFY SELECTED", []string{"SELECT INBOX", "NOTIFY SET (SELECTED (MessageNew (UID FLAGS) MessageExpunge FlagChange))"}},
		{"NOTIFY PERSONAL", []string{"NOTIFY SET (PERSONAL (MessageNew MessageExpunge FlagChange))"}},
	} {
		c := h.login(t, "alice")
		for _, command := range way.commands {
			c.send("x " + command + "\r\n")
			for line := ""; !strings.HasPrefix(line, "x ") && !strings.HasPrefix(line, "+ "); {
				line = c.line()
			}
		}
		for name, happen := range map[string]func(){
			"delivery in the process":  func() { h.deliver(t, 1, "INBOX", mailText) },
			"delivery by another":      other,
			"flags by another session": func() { writer.ok("STORE 1 FLAGS (k" + fmt.Sprint(time.Now().UnixNano()) + ")") },
		} {
			measurePush(t, way.name+", "+name, c, happen)
		}
		c.nc.Close()
	}
}

// measurePush lets something happen some times, and logs how long it takes c to
// hear of it.
func measurePush(t *testing.T, what string, c *client, happen func()) {
	t.Helper()
	const rounds = 15
	heard := make(chan time.Time, 100)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.r.ReadString('\n'); err != nil {
				return
			}
			heard <- time.Now()
		}
	})
	defer wg.Wait()
	c.nc.SetReadDeadline(time.Time{})
	var took []time.Duration
	for i := range rounds + 1 {
		time.Sleep(2 * pushPause) // what belongs to the last one has come
		for len(heard) > 0 {
			<-heard
		}
		if i == rounds {
			close(stop)
		}
		start := time.Now()
		happen()
		select {
		case at := <-heard:
			took = append(took, at.Sub(start))
		case <-time.After(pushLimit):
			t.Fatalf("%s: heard nothing", what)
		}
	}
	logPushes(t, what, took)
}

func logPushes(t *testing.T, what string, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	within := 0
	for _, d := range took {
		if d <= pushAim {
			within++
		}
	}
	t.Logf("%s: median %v, last %v, %d of %d within %v", what, took[len(took)/2].Round(10*time.Microsecond),
		took[len(took)-1].Round(10*time.Microsecond), within, len(took), pushAim)
}

// startDeliverer starts a process that shares dir. What it gives has that one
// deliver a message.
func startDeliverer(t *testing.T, dir string) (deliver func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPushLatency$", "-test.v")
	cmd.Env = append(os.Environ(), "MIGIWA_PUSH_DIR="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	r := bufio.NewReader(out)
	answerOf(t, r, "ready")
	return func() {
		fmt.Fprintln(in, "deliver")
		answerOf(t, r, "delivered")
	}
}

// deliverFor is the other process.
func deliverFor(t *testing.T, dir string) {
	d, err := db.Open(context.Background(), "sqlite:"+filepath.Join(dir, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	blobs, err := blob.OpenDisk(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	notices, err := bus.Open(filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer notices.Close()
	h := &house{Server: &Server{Mailboxes: &mailbox.Store{DB: d, Bodies: &body.Store{DB: d, Blobs: blobs}, Bus: notices}}}
	fmt.Print("\nready\n")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		h.deliver(t, 1, "INBOX", mailText)
		fmt.Print("\ndelivered\n")
	}
}

// TestPushNotify has many sessions watch one INBOX by NOTIFY, half with it
// selected, half without. (TestPushToMany has them idle.)
func TestPushNotify(t *testing.T) {
	n := 1000
	if raced {
		n = 200
	}
	h := newHouse(t)
	f := h.fill(t, 3)
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				conns[i] = h.watcher(t, i%2 == 0)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	messages := 3
	for _, burst := range []int{1, 50} {
		for range burst - 1 {
			h.deliver(t, 1, "INBOX", mailText)
		}
		messages += burst
		took, lines := make([]time.Duration, n), make([]int, n)
		start := time.Now()
		h.deliver(t, 1, "INBOX", mailText)
		for i, nc := range conns {
			last := fmt.Sprintf("* %d EXISTS", messages)
			if i%2 == 1 {
				last = fmt.Sprintf("* STATUS INBOX (MESSAGES %d UIDNEXT %d UIDVALIDITY %d)", messages, messages+1, f.UIDValidity)
			}
			wg.Go(func() { took[i], lines[i] = awaitLine(t, nc, start, pushLimit, last) })
		}
		wg.Wait()
		sum := 0
		for _, n := range lines {
			sum += n
		}
		logPushes(t, fmt.Sprintf("%d sessions, the last of %d deliveries, %.1f responses each", n, burst, float64(sum)/float64(n)), took)
	}
}

// watcher makes a session that watches alice's INBOX, and all her others.
func (h *house) watcher(t *testing.T, selects bool) net.Conn {
	nc, err := tls.Dial("tcp", h.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { nc.Close() })
	commands := "a LOGIN alice \"open sesame\"\r\n"
	if selects {
		commands += "b SELECT INBOX\r\nc NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MailboxName MessageNew MessageExpunge))\r\n"
	} else {
		commands += "c NOTIFY SET (PERSONAL (MailboxName MessageNew MessageExpunge))\r\n"
	}
	io.WriteString(nc, commands)
	awaitLine(t, nc, time.Now(), time.Minute, "c OK")
	return nc
}

// awaitLine reads up to a line that begins so, and gives when that was and how
// many lines came.
func awaitLine(t *testing.T, nc net.Conn, start time.Time, limit time.Duration, begins string) (took time.Duration, lines int) {
	nc.SetReadDeadline(start.Add(limit))
	var line []byte
	for buf := make([]byte, 512); ; {
		n, err := nc.Read(buf)
		if err != nil {
			t.Errorf("waiting for %q: %v", begins, err)
			return 0, 0
		}
		for _, b := range buf[:n] {
			if line = append(line, b); b != '\n' {
				continue
			}
			lines++
			if strings.HasPrefix(string(line), begins) {
				return time.Since(start), lines
			}
			line = line[:0]
		}
	}
}
