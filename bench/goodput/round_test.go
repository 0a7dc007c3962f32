package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/migiwa/migiwa/bench/stranger"
)

// deferring serves a server that defers every second message at RCPT.
func deferring(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var seen atomic.Int64
	answer := map[string]string{"EHLO": "250 hi", "MAIL": "250 ok", "DATA": "354 go", ".\r\n": "250 taken", "QUIT": "221 bye"}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprint(c, "220 hi\r\n")
				for lines := bufio.NewReader(c); ; {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					verb := line[:min(4, len(line))]
					switch {
					case verb == "RCPT" && seen.Add(1)%2 == 0:
						fmt.Fprint(c, "451 4.7.1 later\r\n")
					case verb == "RCPT":
						fmt.Fprint(c, "250 ok\r\n")
					case answer[verb] != "":
						fmt.Fprintf(c, "%s\r\n", answer[verb])
					}
					if verb == "QUIT" {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestSend(t *testing.T) {
	g := &game{load: load{Clients: 2, Honest: 4, Users: 10}, dialer: stranger.Dialer{Server: deferring(t), Way: stranger.Plain}}
	begin := time.Now()
	g.send(begin.Add(time.Second))
	r := g.result(time.Since(begin))
	if r.Retries < 5 || r.PerSecond < 5 || r.P99 < 100 || r.Unfinished > 2 {
		t.Errorf("%s", r)
	}
}

func TestMedians(t *testing.T) {
	r := medians([]result{{Name: "x", PerSecond: 3, P99: 1}, {PerSecond: 1, P99: 9}, {PerSecond: 2, P99: 4}})
	if r.Name != "x" || r.PerSecond != 2 || r.P99 != 4 {
		t.Errorf("%+v", r)
	}
}

func TestHostsDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for i := range 500 {
		seen[honest(i, stranger.Bind).Addr.String()] = true
	}
	for i := range 20000 {
		seen[bot(i, stranger.Bind).Addr.String()] = true
	}
	if len(seen) != 20500 {
		t.Errorf("%d addresses", len(seen))
	}
	for a := range seen {
		if !strings.HasPrefix(a, "127.") {
			t.Fatal(a)
		}
	}
}
