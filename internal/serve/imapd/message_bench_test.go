package imapd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/store/db"
)

// stock puts n messages into alice's INBOX, each with a body of its own.
func (h *house) stock(t testing.TB, n int, text string) {
	t.Helper()
	ctx := context.Background()
	for done := 0; done < n; {
		piece := min(n-done, 1000)
		err := h.Mailboxes.DB.Write(ctx, func(tx *db.Tx) error {
			for i := range piece {
				w, err := h.Mailboxes.Bodies.Create(ctx)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "Message-ID: <%d@example.test>\r\n%s", done+i, text)
				b, err := w.Commit(ctx)
				if err != nil {
					return err
				}
				id, err := h.Mailboxes.Bodies.Add(tx, b, 1)
				if err == nil {
					_, err = h.Mailboxes.Deliver(tx, 1, "", mailbox.NewMessage{Body: id, BodySize: b.Size, Counted: true, Received: time.Now()})
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		done += piece
	}
}

// BenchmarkFetch measures what clients ask for at their first sight of a
// mailbox; each round is one command.
func BenchmarkFetch(b *testing.B) {
	text := simple + strings.Repeat("Some text of a message that somebody wrote.\r\n", 90)
	for _, x := range []struct {
		name     string
		messages int
		command  string
	}{
		{"flags", 100_000, "FETCH 1:* (FLAGS)"},
		{"sync", 100_000, "UID FETCH 1:* (UID FLAGS)"},
		{"fields", 10_000, "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])"},
		{"list", 10_000, "UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"},
		{"bodies", 10_000, "UID FETCH 1:* (BODY.PEEK[])"},
	} {
		b.Run(x.name, func(b *testing.B) {
			h := newHouse(b)
			h.stock(b, x.messages, text)
			c := h.login(b, "alice")
			c.ok("SELECT INBOX")
			c.r = bufio.NewReaderSize(c.nc, 256<<10)
			c.drain(x.command) // outlines are made once
			b.ResetTimer()
			for range b.N {
				b.SetBytes(c.drain(x.command))
			}
			b.ReportMetric(float64(x.messages)*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// drain gives a command and reads over what comes, up to the tagged response.
func (c *client) drain(command string) (octets int64) {
	c.nc.SetReadDeadline(time.Now().Add(5 * time.Minute))
	c.send("drain " + command + "\r\n")
	for {
		line, err := c.r.ReadSlice('\n')
		octets += int64(len(line))
		if err != nil && err != bufio.ErrBufferFull {
			c.t.Fatal(err)
		}
		if strings.HasPrefix(string(line), "drain ") {
			if !strings.HasPrefix(string(line), "drain OK") {
				c.t.Fatal(string(line))
			}
			return octets
		}
	}
}

// BenchmarkAppend measures sessions that append side by side: each message is
// on disk before its OK.
func BenchmarkAppend(b *testing.B) {
	text := simple + strings.Repeat("Some text of a message that somebody wrote.\r\n", 90)
	for _, sessions := range []int{1, 16} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			h := newHouse(b)
			clients := make(chan *client, sessions)
			for range sessions {
				clients <- h.login(b, "alice")
			}
			b.SetParallelism(sessions)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c := <-clients
					io.WriteString(c.nc, fmt.Sprintf("a APPEND INBOX {%d+}\r\n%s\r\n", len(text), text))
					if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "a OK") {
						b.Error(line, err)
					}
					clients <- c
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
