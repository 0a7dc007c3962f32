package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// smallDisk mounts a file system of its own in memory.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount a small disk; run this test as root")
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "migiwa-test", dir).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: this place lets nobody mount a disk: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return dir
}

// filler sends mail to alice.
type filler struct {
	*ledger
	s *server
}

// fill sends from several clients until each has heard several times that
// there is no room.
func (f *filler) fill(ctx context.Context, name string, refusals int) {
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			refused := 0
			for n := 0; refused < refusals && ctx.Err() == nil; n++ {
				err := f.one(fmt.Sprintf("fill-%s-%d-%d", name, i, n))
				var reply *textproto.Error
				switch {
				case errors.As(err, &reply) && reply.Code == 452:
					refused++
				case errors.As(err, &reply):
					f.problem("on a full disk the client hears %v", err)
				}
			}
		})
	}
	group.Wait()
}

// one sends one message on a connection of its own.
func (f *filler) one(id string) error {
	c, err := dialSMTP(f.s.addr(25))
	if err != nil {
		return err
	}
	defer c.Close()
	err = c.send(&message{id: id, local: []string{"alice"}, text: fillText(id)}, false, func() { f.note(f.offered, id) })
	f.answer(id, err)
	return err
}

// check compares alice's mailbox with the ledger.
func (f *filler) check(t *testing.T) {
	t.Helper()
	there := found(t, f.s, "alice")
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.problems {
		t.Error(p)
	}
	f.problems = nil
	for id := range f.acked {
		want := 1
		if f.deleted[id] {
			want = 0
		}
		if there[id] != want {
			t.Errorf("message %s is there %d times, want %d", id, there[id], want)
		}
	}
	for id, n := range there {
		if !f.offered[id] || n > 1 {
			t.Errorf("message %s is there %d times", id, n)
		}
	}
}

// makeRoom deletes most of alice's mail and tells how long it takes until mail
// is accepted again.
func (f *filler) makeRoom(t *testing.T, name string) time.Duration {
	t.Helper()
	ids, _, err := deleteSome(f.s, "alice", func(n, _ int) bool { return n%5 != 0 })
	if err != nil {
		t.Fatalf("deleting mail on a full disk: %v", err)
	}
	f.note(f.deleted, ids...)
	start := time.Now()
	n := 0
	eventually(t, time.Minute, "mail is accepted again", func() bool {
		n++
		return f.one(fmt.Sprintf("fill-%s-%d", name, n)) == nil
	})
	return time.Since(start)
}

// TestFullDisk fills the disk by mail, kills, deletes and fills again.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, "24m")
	s := install(t, filepath.Join(disk, "node"), "[store]\nreserve = \"1 MiB\"\n", "alice")
	f := &filler{ledger: newLedger(), s: s}
	s.serve()
	for round := range 3 {
		name := fmt.Sprintf("%d", round)
		before := f.count()
		f.fill(t.Context(), name, 20)
		filled := f.count() - before
		f.check(t)
		s.run("", "mailbox", "check")

		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { f.fill(ctx, name+"-killed", 1<<30) })
		time.Sleep(300 * time.Millisecond)
		s.kill()
		cancel()
		group.Wait()
		s.serve()
		f.check(t)
		s.run("", "mailbox", "check")
		took := f.makeRoom(t, name+"-again")
		f.check(t)
		t.Logf("round %d: %d messages filled the disk; room again after %v", round, filled, took.Round(time.Millisecond))
		if filled < 50 {
			t.Errorf("only %d messages fit", filled)
		}
	}
	if _, _, err := deleteSome(s, "alice", func(int, int) bool { return true }); err != nil {
		t.Fatal(err)
	}
	s.stop()
	nothingLeft(t, s)
	t.Logf("%v; slowest start %v", f.ledger, s.slowest)
}

// TestDiskFilledByOthers leaves not one octet: mail is still served, also
// after a crash, and comes in again as soon as there is room.
func TestDiskFilledByOthers(t *testing.T) {
	disk := smallDisk(t, "24m")
	s := install(t, filepath.Join(disk, "node"), "[store]\nreserve = \"1 MiB\"\n", "alice")
	f := &filler{ledger: newLedger(), s: s}
	s.serve()
	for n := range 20 {
		if err := f.one(fmt.Sprintf("fill-%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { f.fill(ctx, "during", 1<<30) })
	time.Sleep(200 * time.Millisecond)
	other := filepath.Join(disk, "other")
	occupy(t, other)
	f.fill(t.Context(), "none", 5)
	f.check(t)
	s.kill()
	cancel()
	group.Wait()
	occupy(t, other)
	s.serve()
	f.check(t)
	f.fill(t.Context(), "neither", 5)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	n := 0
	eventually(t, 30*time.Second, "mail is accepted again", func() bool {
		n++
		return f.one(fmt.Sprintf("fill-last-%d", n)) == nil
	})
	t.Logf("%v; room again after %v", f.ledger, time.Since(start).Round(time.Millisecond))
	f.check(t)
	s.run("", "mailbox", "check")
	s.stop()
}

// occupy takes all the room that is left.
func occupy(t *testing.T, path string) {
	t.Helper()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, size := range []int{1 << 16, 1 << 12, 1} {
		for err == nil {
			_, err = out.Write(make([]byte, size))
		}
		err = nil
	}
}

// TestQuickstartOnFullDisk: it says what is wrong, and works once that is
// mended.
func TestQuickstartOnFullDisk(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []string{"4k", "8k", "32k", "100k", "200k", "300k", "500k"} {
		t.Run(size, func(t *testing.T) {
			disk := smallDisk(t, size)
			run := func() (string, error) {
				out, err := exec.Command(bin, "quickstart", "--dir", filepath.Join(disk, "node"), "--domain", domain).CombinedOutput()
				return string(out), err
			}
			out, err := run()
			if err == nil {
				t.Skip("it fits")
			}
			if !strings.Contains(out, "no space left") && !strings.Contains(out, "full") {
				t.Errorf("it says %q", out)
			}
			if out, err := exec.Command("mount", "-o", "remount,size=24m", disk).CombinedOutput(); err != nil {
				t.Fatalf("remount: %v %s", err, out)
			}
			if out, err := run(); err != nil {
				t.Errorf("with room it says: %s", out)
			}
		})
	}
}

// TestQuickstartKilled: one that was killed is gone on with by the next.
func TestQuickstartKilled(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	whole := 0
	for range 25 {
		dir := filepath.Join(t.TempDir(), "node")
		args := []string{"quickstart", "--dir", dir, "--domain", domain}
		cmd := exec.Command(bin, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(250 * time.Millisecond))
		cmd.Process.Kill()
		cmd.Wait()
		config := filepath.Join(dir, "migiwa.toml")
		if _, err := os.Stat(config); err == nil {
			whole++
		} else if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
			t.Errorf("the next says: %s", out)
			continue
		}
		if out, err := exec.Command(bin, "config", "check", "--config", config).CombinedOutput(); err != nil {
			t.Errorf("config check says: %s", out)
		}
		if out, err := exec.Command(bin, "mailbox", "check", "--config", config).CombinedOutput(); err != nil {
			t.Errorf("mailbox check says: %s", out)
		}
	}
	t.Logf("%d of 25 had ended before they were killed", whole)
}
