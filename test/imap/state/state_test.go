package state

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/migiwa/migiwa/test/imap/client"
	"github.com/migiwa/migiwa/test/peers"
	"github.com/migiwa/migiwa/test/site"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }

// duration gives a short time, or a long one with MIGIWA_LONG=1.
func duration(short, long time.Duration) time.Duration {
	if os.Getenv("MIGIWA_LONG") == "1" {
		return long
	}
	return short
}

const password = "one truth for all"

// newChecker gives a checker for the user ann of a site that is served.
func newChecker(t *testing.T, s *site.Site) *Checker {
	t.Helper()
	c := &Checker{
		Server:   client.Server{Addr: s.Addr(993), TLS: true},
		Account:  client.Account{User: "ann@" + site.Domain, Password: password},
		POP3:     s.Addr(995),
		Sessions: 9,
		Seed:     rand.Uint64(),
	}
	if err := c.Begin(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *Checker) report(t *testing.T) {
	t.Helper()
	t.Logf("seed %d: %d commands, %d QRESYNC compared, %d POP3 sessions", c.Seed, c.Commands.Load(), c.Resyncs.Load(), c.Retrieved.Load())
	if c.Commands.Load() < 200 {
		t.Error("hardly anything was done: the test tests nothing")
	}
}

func install(t *testing.T, dsn string) *site.Site {
	t.Helper()
	s := site.Install(t, "[imap]\nmax_per_address = 1000\n", dsn)
	s.Add("ann", password)
	s.Serve()
	return s
}

// TestState lets the sessions run and compares at the end.
func TestState(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := install(t, dsn)
		c := newChecker(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), duration(3*time.Second, 2*time.Minute))
		defer cancel()
		err := c.Run(ctx)
		if err == nil {
			err = c.End()
		}
		if err != nil {
			t.Error(err)
		}
		c.report(t)
		s.Stop()
	})
}

// TestStateKilled kills the server while the sessions run.
func TestStateKilled(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := install(t, dsn)
		c := newChecker(t, s)
		kills := 2
		if os.Getenv("MIGIWA_LONG") == "1" {
			kills = 40
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		for range kills {
			time.Sleep(500*time.Millisecond + rand.N(time.Second))
			c.Breaking.Store(true)
			s.Kill()
			s.Serve()
			time.Sleep(300 * time.Millisecond) // until all have seen it
			c.Breaking.Store(false)
		}
		time.Sleep(time.Second)
		cancel()
		err := <-ended
		if err == nil {
			err = c.End()
		}
		if err != nil {
			t.Error(err)
		}
		c.report(t)
		s.Run("", "mailbox", "check")
		s.Stop()
	})
}

func onBoth(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "") })
	t.Run("postgres", func(t *testing.T) { test(t, peers.Postgres(t)) })
}

// TestStateDovecot proves the checker: Dovecot must pass.
func TestStateDovecot(t *testing.T) {
	d := peers.Dovecot(t, peers.DovecotOptions{Mailboxes: []string{"ann@example.test"}})
	c := &Checker{
		Server:   client.Server{Addr: d.IMAP},
		Account:  client.Account{User: "ann@example.test", Password: peers.DovecotPassword},
		Sessions: 6,
		Seed:     rand.Uint64(),
	}
	if err := c.Begin(); err != nil {
		t.Fatal(err)
	}
	// One of its processes ends by itself at times, under NOTIFY. Sessions that
	// end are no lie about the state, which is all that is compared here.
	c.Breaking.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), duration(3*time.Second, time.Minute))
	defer cancel()
	err := c.Run(ctx)
	if err == nil {
		err = c.End()
	}
	if err != nil {
		t.Error(err)
	}
	c.report(t)
}
