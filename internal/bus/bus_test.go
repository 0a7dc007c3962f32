package bus

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the other process.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BUS_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// child sends back what it hears on "to-child" as "from-child".
func child(dir string) {
	b, err := Open(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	b.Subscribe("to-child", func(p []byte) { b.Publish("from-child", p) })
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	b.Close()
}

func open(t *testing.T, dir string) *Bus {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func listen(b *Bus, topic string) <-chan string {
	ch := make(chan string, 10_000)
	b.Subscribe(topic, func(p []byte) { ch <- string(p) })
	return ch
}

func expect(t *testing.T, ch <-chan string, want string) {
	t.Helper()
	select {
	case got := <-ch:
		if got != want {
			t.Fatalf("heard %q, want %q", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("heard nothing, want %q", want)
	}
}

func quiet(t *testing.T, ch <-chan string) {
	t.Helper()
	select {
	case got := <-ch:
		t.Fatalf("heard %q", got)
	default:
	}
}

func TestInProcess(t *testing.T) {
	b := open(t, "")
	mine, other := listen(b, "a"), listen(b, "b")
	var calls int
	cancel := b.Subscribe("a", func([]byte) { calls++ })
	b.Publish("a", []byte("1"))
	expect(t, mine, "1")
	quiet(t, other)
	cancel()
	b.Publish("a", []byte("2"))
	if expect(t, mine, "2"); calls != 1 {
		t.Fatalf("%d calls, want 1", calls)
	}
}

func TestTwoInOneDirectory(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	atA, atB := listen(a, "x"), listen(b, "x")
	a.Publish("x", []byte("from a"))
	expect(t, atA, "from a")
	expect(t, atB, "from a")
	b.Publish("x", nil)
	expect(t, atA, "")
	expect(t, atB, "")

	big := strings.Repeat("x", MaxPayload)
	a.Publish("x", []byte(big))
	expect(t, atB, big)
	a.Publish("x", []byte(big+"x"))
	a.Publish("x", []byte("next"))
	expect(t, atB, "next")

	c := open(t, dir) // who comes later hears what is said then
	atC := listen(c, "x")
	a.Publish("x", []byte("to c"))
	expect(t, atC, "to c")
	expect(t, atB, "to c")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b.Publish("x", []byte("without c"))
	for _, want := range []string{"from a", "", big, big + "x", "next", "to c", "without c"} {
		if want != "from a" && want != "" {
			expect(t, atA, want)
		}
	}
}

// More than a socket holds must arrive all the same, and in order.
// TestPublishAndClose is what each command does that changes something.
func TestPublishAndClose(t *testing.T) {
	dir := t.TempDir()
	heard := listen(open(t, dir), "changed")
	for i := range 50 {
		b, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		b.Publish("changed", fmt.Append(nil, i))
		b.Close()
		expect(t, heard, fmt.Sprint(i))
	}
}

func TestBurst(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	at := listen(b, "x")
	const n = 3000
	for i := range n {
		a.Publish("x", fmt.Append(nil, i))
	}
	for i := range n {
		expect(t, at, fmt.Sprint(i))
	}
}

func TestLongDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	a, b := open(t, dir), open(t, dir)
	at := listen(b, "x")
	a.Publish("x", []byte("hello"))
	expect(t, at, "hello")
	a.Close()
	b.Close()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	buses := []*Bus{open(t, dir), open(t, dir), open(t, dir)}
	var heard atomic.Int64
	for _, b := range buses {
		b.Subscribe("x", func([]byte) { heard.Add(1) })
	}
	var wg sync.WaitGroup
	for _, b := range buses {
		for range 4 {
			wg.Go(func() {
				for range 100 {
					b.Publish("x", []byte("x"))
					b.Subscribe("y", func([]byte) {})()
				}
			})
		}
	}
	wg.Wait()
	for deadline := time.Now().Add(5 * time.Second); heard.Load() != 3*1200; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("heard %d, want %d", heard.Load(), 3*1200)
		}
	}
}

func TestOtherProcess(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	back := listen(b, "from-child")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BUS_TEST_CHILD="+dir)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child says %q", line)
	}
	var slowest time.Duration
	for i := range 50 {
		start := time.Now()
		b.Publish("to-child", fmt.Append(nil, i))
		expect(t, back, fmt.Sprint(i))
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("slowest round trip %v", slowest)
	if slowest > 100*time.Millisecond {
		t.Errorf("a round trip took %v", slowest)
	}

	// Killed, it leaves its socket; the next notice clears it away.
	cmd.Process.Kill()
	cmd.Wait()
	if n := sockets(t, dir); n != 2 {
		t.Fatalf("%d sockets before, want 2", n)
	}
	for deadline := time.Now().Add(5 * time.Second); sockets(t, dir) != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the socket of the dead process is still there")
		}
		b.Publish("to-child", nil)
	}
}

func sockets(t *testing.T, dir string) int {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(left)
}

// A process that is stopped must not hold up those who publish.
func TestDeafPeer(t *testing.T) {
	dir := t.TempDir()
	deaf, b, a := open(t, dir), open(t, dir), open(t, dir)
	wait := make(chan struct{})
	deaf.Subscribe("x", func([]byte) { <-wait })
	at := listen(b, "x")
	start := time.Now()
	for range 3 * peerQueue / 2 {
		a.Publish("x", []byte("x"))
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("publishing took %v", took)
	}
	expect(t, at, "x")
	close(wait)
}

func FuzzDatagram(f *testing.F) {
	f.Add([]byte("\x01xpayload"))
	f.Add([]byte("\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		topic, payload, ok := parseDatagram(in)
		if ok && string(datagram(topic, payload)) != string(in) {
			t.Fatalf("%q is not the same again", in)
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	for _, others := range []int{0, 1} {
		b.Run(fmt.Sprintf("%d others", others), func(b *testing.B) {
			dir := b.TempDir()
			bus, _ := Open(dir)
			defer bus.Close()
			for range others {
				o, _ := Open(dir)
				defer o.Close()
			}
			for b.Loop() {
				bus.Publish("x", []byte("0123456789"))
			}
		})
	}
}
