package imapd

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// idleLimit is how much an idle connection may take of the server's heap and
// stacks, in octets.
const idleLimit = 20 << 10

// TestIdleMemory measures connections in IDLE after a SELECT, over TLS. The
// server is a process of its own. MIGIWA_IDLE says how many; 10,000 need
// `ulimit -n 11000`.
func TestIdleMemory(t *testing.T) {
	if os.Getenv("MIGIWA_IDLE_SERVER") != "" {
		serveIdle(t)
		return
	}
	n := 200
	if s := os.Getenv("MIGIWA_IDLE"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestIdleMemory$", "-test.v")
	cmd.Env = append(os.Environ(), "MIGIWA_IDLE_SERVER=1")
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
	defer func() {
		in.Close()
		cmd.Wait()
	}()
	r := bufio.NewReader(out)
	addr := answerOf(t, r, "address ")
	first := openIdle(t, addr, 20) // what is made once
	before := takeStock(t, in, r)
	conns := openIdle(t, addr, n)
	time.Sleep(200 * time.Millisecond)
	after := takeStock(t, in, r)
	t.Logf("%d connections; each: heap %d, stacks %d, resident %d octets", n,
		(after.heap-before.heap)/n, (after.stack-before.stack)/n, (after.resident-before.resident)/n)
	if each := (after.heap + after.stack - before.heap - before.stack) / n; each > idleLimit && !raced {
		t.Errorf("%d octets a connection, more than %d", each, idleLimit)
	}
	for _, c := range append(first, conns...) {
		c.Close()
	}
}

// answerOf reads up to a line that begins so, and gives its rest.
func answerOf(t *testing.T, r *bufio.Reader, begin string) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), begin); ok {
			return rest
		}
	}
}

type memory struct{ heap, stack, resident int }

func takeStock(t *testing.T, in io.Writer, r *bufio.Reader) (m memory) {
	t.Helper()
	fmt.Fprintln(in, "stock")
	if _, err := fmt.Sscan(answerOf(t, r, "memory "), &m.heap, &m.stack, &m.resident); err != nil {
		t.Fatal(err)
	}
	return m
}

// serveIdle is the server's process.
func serveIdle(t *testing.T) {
	if os.Getenv("MIGIWA_IDLE_PROFILE") != "" {
		runtime.MemProfileRate = 64
	}
	h := newHouseWith(t, func(s *Server) { s.Limits.PerAddress = -1 })
	h.fill(t, 3)
	fmt.Printf("\naddress %s\n", h.addr)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		for range 6 { // stacks shrink by half at each
			debug.FreeOSMemory()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		status, _ := os.ReadFile("/proc/self/status")
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		kb, _ := strconv.Atoi(strings.TrimSpace(rest[:strings.Index(rest, "kB")]))
		fmt.Printf("\nmemory %d %d %d\n", m.HeapAlloc, m.StackInuse, kb<<10)
		if path := os.Getenv("MIGIWA_IDLE_PROFILE"); path != "" {
			profile(t, path)
		}
	}
}

// openIdle makes connections that idle.
func openIdle(t *testing.T, addr string, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				nc, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					t.Error(err)
					return
				}
				conns[i] = nc
				io.WriteString(nc, "a LOGIN alice \"open sesame\"\r\nb SELECT INBOX\r\nc IDLE\r\n")
				r := bufio.NewReaderSize(nc, 512)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						t.Error(err)
						return
					}
					if strings.HasPrefix(line, "+ ") {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// profile writes where the heap comes from.
func profile(t *testing.T, path string) {
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pprof.Lookup("heap").WriteTo(f, 0)
}
