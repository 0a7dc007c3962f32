package pop3d

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// FuzzPOP3 plays a whole connection, logged in or not. It must end when its
// client does, answer in whole lines that begin as they may, and leave the
// mailbox sound (newHouse checks).
func FuzzPOP3(f *testing.F) {
	f.Add("CAPA\r\nUTF8\r\nQUIT\r\n", false)
	f.Add("AUTH PLAIN\r\nAGFsaWNlAG9wZW4gc2VzYW1l\r\nSTAT\r\n", false)
	f.Add("AUTH LOGIN YWxpY2U=\r\n*\r\nAUTH PLAIN =\r\nSTLS\r\n", false)
	f.Add("USER alice\nPASS wrong\nUSER \nPASS\n", false)
	f.Add("LIST\r\nUIDL\r\nUIDL 1\r\nRETR 1\r\nTOP 1 1\r\nDELE 1\r\nRSET\r\nNOOP\r\n", true)
	f.Add("DELE 1\r\nDELE 2\r\nDELE 3\r\nSTAT\r\nLIST\r\nQUIT\r\n", true)
	f.Add("TOP 1 -1\r\nTOP 18446744073709551616 1\r\nLIST  1\r\n\x00\r\n"+strings.Repeat("x", 2000), true)
	h := newHouse(f)
	h.Limits = Limits{FailDelay: 1}
	h.init()
	next := len(inboxOf)
	f.Fuzz(func(t *testing.T, in string, in2 bool) {
		for ; strings.Count(h.messages(t)+" ", " ") < len(inboxOf) || h.messages(t) == ""; next++ {
			h.deliver(t, inboxOf[next%len(inboxOf)])
		}
		client, server := pipe()
		c := newConn(h.Server, server)
		c.state = &tls.ConnectionState{Version: tls.VersionTLS13}
		if in2 {
			in = "USER alice\r\nPASS open sesame\r\n" + in
		}
		client.Write([]byte(in))
		client.CloseWrite()
		done := make(chan struct{})
		go func() { defer close(done); c.Run(context.Background()) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the connection does not end")
		}
		out, _ := io.ReadAll(client)
		if err := wellFormed(string(out)); err != nil {
			t.Fatalf("%v\nin  %q\nout %q", err, in, out)
		}
	})
}

func wellFormed(out string) error {
	if !strings.HasPrefix(out, "+OK ") || !strings.HasSuffix(out, "\r\n") {
		return fmt.Errorf("begins or ends wrongly")
	}
	if strings.Contains(strings.ReplaceAll(out, "\r\n", ""), "\n") {
		return fmt.Errorf("bare LF")
	}
	list := false
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\r\n"), "\r\n") {
		switch {
		case list:
			list = line != "."
			if len(line) > 1 && line[0] == '.' && line[1] != '.' {
				return fmt.Errorf("dot not doubled: %q", line)
			}
		case strings.HasPrefix(line, "+OK"):
			// RETR and lists say +OK alone, "octets" or "follow"; so does RSET,
			// after which a list must not be awaited.
			list = strings.HasSuffix(line, " octets") || strings.HasSuffix(line, " follow") || strings.HasSuffix(line, " follows")
		case line == "." || strings.HasPrefix(line, "-ERR ") || strings.HasPrefix(line, "+ "):
		case line[:min(1, len(line))] == "+" || line[:min(1, len(line))] == "-":
			return fmt.Errorf("reply %q", line)
		}
	}
	return nil
}

func BenchmarkRETR(b *testing.B) {
	h := newHouse(b)
	text := "Subject: large\r\n\r\n" + strings.Repeat(strings.Repeat("x", 74)+"\r\n", 1<<20/76)
	h.deliver(b, text)
	c := h.login(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		c.cmd("RETR 4", "+OK *")
		for c.line() != "." {
		}
	}
}

func BenchmarkWriteText(b *testing.B) {
	text := strings.Repeat(strings.Repeat("x", 74)+"\r\n", 1<<20/76)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if err := writeText(io.Discard, strings.NewReader(text), -1); err != nil {
			b.Fatal(err)
		}
	}
}
