package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

// mailers send mail to alice and note what was acknowledged.
type mailers struct {
	s *server

	mu      sync.Mutex
	acked   map[string]time.Time
	refused []string
}

// send sends from some clients until ctx ends.
func (m *mailers) send(ctx context.Context, name string) (wait func()) {
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("%s.%d.%d@load.test", name, i, n)
				err := m.one(id)
				m.mu.Lock()
				var reply *textproto.Error
				switch {
				case err == nil:
					m.acked[id] = time.Now()
				case errors.As(err, &reply):
					m.refused = append(m.refused, err.Error())
				}
				m.mu.Unlock()
				pause(ctx, 50*time.Millisecond)
			}
		})
	}
	return group.Wait
}

func (m *mailers) one(id string) error {
	c, err := textproto.Dial("tcp", m.s.addr(25))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, _, err := c.ReadResponse(220); err != nil {
		return err
	}
	for _, step := range []struct {
		say  string
		want int
	}{{"EHLO load.test", 250}, {"MAIL FROM:<load@load.test>", 250}, {"RCPT TO:<alice@" + domain + ">", 250}, {"DATA", 354},
		{"From: load@load.test\r\nMessage-ID: <" + id + ">\r\n\r\nx\r\n.", 250}} {
		if err := c.PrintfLine("%s", step.say); err != nil {
			return err
		}
		if _, _, err := c.ReadResponse(step.want); err != nil {
			return err
		}
	}
	return nil
}

// stores gives the processes of the installation's log store.
func (s *server) stores() (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err == nil && bytes.Contains(text, []byte("logstore\x00--socket\x00"+s.Dir)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// killStore kills the log store and waits for another one.
func (s *server) killStore(sig syscall.Signal) {
	s.t.Helper()
	var old []int
	eventually(s.t, 2*time.Minute, "a log store is there", func() bool {
		old = s.stores()
		return len(old) > 0
	})
	for _, pid := range old {
		syscall.Kill(pid, sig)
	}
	eventually(s.t, 2*time.Minute, "another log store is there", func() bool {
		now := s.stores()
		return len(now) > 0 && now[0] != old[0]
	})
}

// recorded asks for the accept events and counts them by Message-ID. It tells
// whether the log store answered.
func (s *server) recorded() (times map[string]int, fromStore bool) {
	s.t.Helper()
	out, status := s.try("", "log", "search", "kind:accept", "--since", "1h", "--limit", "1000000", "--json")
	times = map[string]int{}
	for line := range strings.Lines(out) {
		var e event.Event
		if json.Unmarshal([]byte(line), &e) == nil && e.Kind == event.Accept {
			times[e.MessageID]++
		}
	}
	return times, status == 0 && !strings.Contains(out, "only this node's journal")
}

// check waits until the log store has all events of what was acknowledged, but
// for lost of them, each once.
func (m *mailers) check(t *testing.T, lost int) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.refused {
		t.Errorf("a client heard %s", r)
	}
	missing, twice := 0, 0
	eventually(t, 3*time.Minute, "the events of all acknowledged messages are found", func() bool {
		times, fromStore := m.s.recorded()
		if missing > 0 || !fromStore {
			t.Logf("%d acknowledged, %d missing, by the store: %t", len(m.acked), missing, fromStore)
			time.Sleep(3 * time.Second)
		}
		missing, twice = 0, 0
		for id := range m.acked {
			switch n := times[id]; {
			case n == 0:
				missing++
			case n > 1:
				twice++
			}
		}
		return fromStore && missing <= lost
	})
	t.Logf("%d messages acknowledged; accept events missing %d, found twice %d", len(m.acked), missing, twice)
	if twice > 0 {
		t.Errorf("%d events are found twice", twice)
	}
}

// TestEventsOutliveTheirStore kills the log store and then the node while mail
// comes in; in the long run it damages the store's data, too.
func TestEventsOutliveTheirStore(t *testing.T) {
	s := install(t, filepath.Join(t.TempDir(), "n"), "", "alice")
	m := &mailers{s: s, acked: map[string]time.Time{}}
	s.serve()
	ctx, stop := context.WithCancel(t.Context())
	wait := m.send(ctx, "first")
	for range map[bool]int{false: 2, true: 10}[long()] {
		time.Sleep(2 * time.Second)
		s.killStore(syscall.SIGKILL)
	}
	if long() {
		s.killStore(syscall.SIGSTOP) // the supervisor finds that it hangs
	}
	if long() { // it takes minutes: the supervisor does not give up data easily
		time.Sleep(2 * time.Second)
		s.damage()
	}
	time.Sleep(2 * time.Second)
	stop()
	wait()
	m.check(t, 0)

	ctx, stop = context.WithCancel(t.Context())
	wait = m.send(ctx, "second")
	time.Sleep(2 * time.Second)
	s.kill()
	died := time.Now()
	stop()
	wait()
	s.serve()
	last := 0
	for _, at := range m.acked {
		if died.Sub(at) < 100*time.Millisecond {
			last++
		}
	}
	m.check(t, last) // what was acknowledged just before may not be written yet
	s.stop()
}

// damage overwrites the data of the log store, again until the supervisor has
// given it up.
func (s *server) damage() {
	s.t.Helper()
	eventually(s.t, 3*time.Minute, "the data is given up", func() bool {
		for _, pid := range s.stores() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		for range 40 { // while it is down, or opens what it has
			if _, err := os.Stat(filepath.Join(s.Dir, "data", "logstore.broken")); err == nil {
				return true
			}
			filepath.WalkDir(filepath.Join(s.Dir, "data", "logstore"), func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".bin") || d.Name() == "metadata.json") {
					os.WriteFile(path, []byte("damaged"), 0o600)
				}
				return nil
			})
			time.Sleep(500 * time.Millisecond)
		}
		return false
	})
}

// TestEventsWaitForRoom fills the disk of the log store.
func TestEventsWaitForRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a small disk; run this test as root")
	}
	s := install(t, filepath.Join(t.TempDir(), "n"), "[log.store]\nmin_free = \"8 MiB\"\n", "alice")
	disk := filepath.Join(s.Dir, "data", "logstore")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=32m", "migiwa-test", disk).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: this place lets nobody mount a disk: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	m := &mailers{s: s, acked: map[string]time.Time{}}
	s.serve()
	ctx, stop := context.WithCancel(t.Context())
	wait := m.send(ctx, "before")
	time.Sleep(2 * time.Second)
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 27<<20), 0o600); err != nil {
		t.Logf("the disk is full: %v", err)
	}
	eventually(t, 2*time.Minute, "status tells that the store takes no more", func() bool {
		out, _ := s.try("", "log", "status")
		return strings.Contains(out, "takes no more") || strings.Contains(out, "cannot be asked")
	})
	time.Sleep(3 * time.Second)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	stop()
	wait()
	m.check(t, 0)
	s.stop()
}
