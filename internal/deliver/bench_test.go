package deliver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/deliver/smtpc/peertest"
	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

var kilobytes4 = "Subject: bench\r\n\r\n" + strings.Repeat("This line is part of a message of four kilobytes.\r\n", 80)

// BenchmarkOutbound empties a queue of b.N messages with bodies of their own
// to one SMTP peer on loopback.
func BenchmarkOutbound(b *testing.B) {
	s := newSite(b, dbtest.SQLite(b))
	p := (&peertest.Peer{Ext: []string{"PIPELINING", "SIZE", "8BITMIME"}}).Start(b)
	s.route(p.Addr())
	s.fill(b.N, func(i int, a *Accepted) {
		a.Recipients = []AcceptedRecipient{{Recipient: mail.Recipient{Address: address(b, fmt.Sprintf("u%d@there.test", i))}}}
	})
	b.ResetTimer()
	stop := s.run()
	for p.Count() < b.N {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(p.MaxOpen), "conns")
}

// BenchmarkAcceptLocal makes messages for one of three mailboxes durable, from
// 20 sessions.
func BenchmarkAcceptLocal(b *testing.B) {
	s := newSite(b, dbtest.SQLite(b))
	b.ResetTimer()
	s.fill(b.N, func(i int, a *Accepted) {
		a.Origin = queue.MX
		a.Recipients = []AcceptedRecipient{{Recipient: mail.Recipient{Address: address(b, "bob@here.test")},
			Targets: []directory.Target{{Account: int64(i%3 + 1)}}}}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// fill accepts n messages from 20 goroutines.
func (s *site) fill(n int, edit func(i int, a *Accepted)) {
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for i := g; i < n; i += 20 {
				a := &Accepted{Trace: mail.NewTraceID(), Origin: queue.Submission, Account: 2, From: address(s.t, "alice@here.test"),
					Prefix: []byte("Received: from here\r\n"), Body: s.body(kilobytes4)}
				edit(i, a)
				if err := s.intake.Accept(context.Background(), a); err != nil {
					s.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
