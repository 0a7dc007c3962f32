// Idle measures what a connection costs a server that has nothing to do: it
// opens many SMTP connections, says EHLO on each, and compares the resident
// memory of the server's processes before and after.
//
//	go run ./bench/idle -connections 10000 -migiwa bin/migiwa
//	go run ./bench/idle -connections 10000 -addr 127.0.0.1:2525 -pid 4711
//
// The clients come from many addresses of 127.0.0.0/8, as no server likes ten
// thousand connections from one. The server must be allowed as many open files.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/migiwa/migiwa/bench/contestant"
)

const (
	dialers    = 50               // connections being opened at a time
	perAddress = 100              // connections from one source address
	patience   = 30 * time.Second // for one greeting and one reply to EHLO
)

func main() {
	binary := flag.String("migiwa", "", "a migiwa binary, to be started for this")
	addr := flag.String("addr", "", "otherwise, host:port of an SMTP listener")
	pid := flag.Int("pid", 0, "and process ID of its server; its children are counted too")
	metrics := flag.String("metrics", "", "and URL of its Prometheus metrics, to read go_goroutines; may be empty")
	n := flag.Int("connections", 10000, "connections to open")
	rest := flag.Duration("rest", 10*time.Second, "idle time before memory is read again")
	flag.Parse()
	var err error
	if *binary != "" {
		err = runMigiwa(*binary, *n, *rest)
	} else {
		err = run(*addr, *pid, *n, *rest, *metrics)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

// runMigiwa starts a migiwa, which inherits the limit of open files.
func runMigiwa(binary string, n int, rest time.Duration) (err error) {
	if err := allowFiles(uint64(n) + 200); err != nil {
		return err
	}
	m, err := contestant.StartMigiwa(binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	return run(m.Addr(), m.Pid(), n, rest, m.Metrics())
}

func run(addr string, pid, n int, rest time.Duration, metrics string) error {
	if err := allowFiles(uint64(n) + 200); err != nil {
		return err
	}
	before, err := contestant.Resident(pid)
	if err != nil {
		return err
	}
	if err := tellGoroutines("before", metrics); err != nil {
		return err
	}
	begin := time.Now()
	conns, err := openAll(addr, n)
	defer closeAll(conns)
	if err != nil {
		return fmt.Errorf("after %d connections: %w", len(conns), err)
	}
	opened := time.Since(begin)
	time.Sleep(rest)
	after, err := contestant.Resident(pid)
	if err != nil {
		return err
	}
	if err := tellGoroutines("after", metrics); err != nil {
		return err
	}
	alive := countAlive(conns)
	fmt.Printf("%d connections opened in %.1f s, %d alive after %v idle\n", len(conns), opened.Seconds(), alive, rest)
	fmt.Printf("resident memory: before %.1f MB, after %.1f MB, %.2f KB a connection\n",
		float64(before)/1e6, float64(after)/1e6, float64(after-before)/1e3/float64(n))
	if alive < n {
		return fmt.Errorf("%d connections were closed by the server", n-alive)
	}
	return nil
}

// allowFiles raises this process's limit of open files to n if it is less.
func allowFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	if limit.Cur >= n {
		return nil
	}
	limit.Cur, limit.Max = n, max(limit.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raising the limit of open files to %d: %w", n, err)
	}
	return nil
}

// openAll opens n connections and returns those that are open, all or not.
func openAll(addr string, n int) ([]net.Conn, error) {
	var (
		mu    sync.Mutex
		conns []net.Conn
		first error
		wg    sync.WaitGroup
	)
	next := make(chan int)
	for range dialers {
		wg.Go(func() {
			for i := range next {
				c, err := openOne(addr, i)
				mu.Lock()
				if err == nil {
					conns = append(conns, c)
				} else if first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		mu.Lock()
		failed := first != nil
		mu.Unlock()
		if failed {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return conns, first
}

// openOne opens connection i, reads the greeting and says EHLO.
func openOne(addr string, i int) (net.Conn, error) {
	source := i / perAddress
	d := net.Dialer{
		Timeout:   patience,
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(source>>8), byte(source))},
	}
	c, err := d.Dial("tcp4", addr)
	if err != nil {
		return nil, err
	}
	if err := hello(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func hello(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	in := bufio.NewReader(c)
	if err := readReply(in, "220"); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "EHLO idle.test\r\n"); err != nil {
		return err
	}
	return readReply(in, "250")
}

// readReply reads one reply of one or more lines.
func readReply(in *bufio.Reader, code string) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, code) {
			return fmt.Errorf("the server says %q", line)
		}
		if !strings.HasPrefix(line, code+"-") {
			return nil
		}
	}
}

// countAlive says how many connections the server has not closed. A server
// that says something (421) is about to.
func countAlive(conns []net.Conn) int {
	alive := 0
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Microsecond)) // a closed one fails below
		_, err := c.Read(make([]byte, 1))
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			alive++
		}
	}
	return alive
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		c.Close()
	}
}

// tellGoroutines prints the server's go_goroutines if it has metrics.
func tellGoroutines(when, url string) error {
	if url == "" {
		return nil
	}
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if n, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			fmt.Printf("goroutines %s: %s\n", when, n)
			return nil
		}
	}
	return fmt.Errorf("%s has no go_goroutines", url)
}
