package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/migiwa/migiwa/bench/contestant"
	"github.com/migiwa/migiwa/test/imap/client"
)

const (
	crowd   = 20      // connections, where there are many
	needle  = "heron" // is in the body of one message of a hundred
	bodyLen = 4096
)

// job is the work with one server.
type job struct {
	server contestant.MailboxServer
	sizes  sizes
	all    *results
}

func measure(server contestant.MailboxServer, z sizes, all *results) error {
	j := &job{server: server, sizes: z, all: all}
	for _, step := range []func() error{j.appends, j.fetches, j.stores, j.searches, j.sync, j.large, j.idle} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) add(name, unit string, less bool, value float64) {
	j.all.add(measureOf{name, unit, less}, j.server.Name(), value)
}

func (j *job) login() (*client.Conn, error) {
	a := j.server.Account()
	return j.server.IMAP().Login(a.User, a.Password)
}

// open logs in and does commands.
func (j *job) open(commands ...string) (*client.Conn, error) {
	c, err := j.login()
	if err != nil {
		return nil, err
	}
	for _, command := range commands {
		if _, err := c.OK(command); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// words are what bodies are made of.
var words = strings.Fields("water edge reed stone light morning boat harbour letter paper answer question street window garden market")

// text gives message n.
func text(n, size int) string {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	var b strings.Builder
	fmt.Fprintf(&b, "From: Sender %d <s%d@example.test>\r\nTo: <%s>\r\nSubject: About %s and %s\r\nDate: Thu, 26 Nov 2026 01:%02d:%02d +0000\r\nMessage-ID: <%d@bench.test>\r\n\r\n",
		n, n%97, contestant.Recipient, words[n%len(words)], words[n/7%len(words)], n/60%60, n%60, n)
	if n%100 == 0 {
		b.WriteString(needle + "\r\n")
	}
	for b.Len() < size {
		for range 9 {
			b.WriteString(words[r.IntN(len(words))] + " ")
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

// fill appends messages over so many connections and gives the rate.
func (j *job) fill(box string, count, size, connections int) (float64, error) {
	var conns []*client.Conn
	for range connections {
		c, err := j.open()
		if err != nil {
			return 0, err
		}
		defer c.Close()
		conns = append(conns, c)
	}
	begin := time.Now()
	err := each(conns, func(i int, c *client.Conn) error {
		for n := i; n < count; n += connections {
			m := text(n, size)
			if _, err := c.OK(fmt.Sprintf("APPEND %s {%d+}\r\n%s", box, len(m), m)); err != nil {
				return err
			}
		}
		return nil
	})
	return float64(count) / time.Since(begin).Seconds(), err
}

// each works on all connections at once.
func each(conns []*client.Conn, work func(i int, c *client.Conn) error) error {
	all := make([]error, len(conns))
	var group sync.WaitGroup
	for i, c := range conns {
		group.Go(func() { all[i] = work(i, c) })
	}
	group.Wait()
	return errors.Join(all...)
}

func (j *job) appends() error {
	c, err := j.open("CREATE one", "CREATE large")
	if err != nil {
		return err
	}
	c.Close()
	rate, err := j.fill("one", j.sizes.Append, bodyLen, 1)
	if err != nil {
		return err
	}
	j.add("APPEND, 1 connection", "/s", false, rate)
	if rate, err = j.fill("INBOX", j.sizes.Messages, bodyLen, crowd); err != nil {
		return err
	}
	j.add("APPEND, 20 connections", "/s", false, rate)
	return nil
}

// drain does a command and throws the answer away, which may be large.
func drain(c *client.Conn, command string) error {
	tag := c.NextTag()
	if err := c.Send([]byte(tag + " " + command + "\r\n")); err != nil {
		return err
	}
	for {
		raw, err := c.ReadRaw()
		if err != nil {
			return err
		}
		if rest, ok := bytes.CutPrefix(raw, []byte(tag+" ")); ok {
			if !bytes.HasPrefix(rest, []byte("OK")) {
				return fmt.Errorf("%s: %s", command, raw)
			}
			return nil
		}
	}
}

// timed gives the seconds that a command takes.
func timed(c *client.Conn, command string) (float64, error) {
	begin := time.Now()
	err := drain(c, command)
	return time.Since(begin).Seconds(), err
}

func (j *job) fetches() error {
	if err := j.server.StartAgain(); err != nil {
		return err
	}
	c, err := j.open("SELECT INBOX")
	if err != nil {
		return err
	}
	defer c.Close()
	c.Timeout = 10 * time.Minute
	for _, m := range []struct{ name, items string }{
		{"FETCH ENVELOPE, first time", "(UID FLAGS ENVELOPE)"},
		{"FETCH ENVELOPE, again", "(UID FLAGS ENVELOPE)"},
		{"FETCH HEADER.FIELDS", "(UID BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)])"},
		{"FETCH BODYSTRUCTURE", "(UID BODYSTRUCTURE)"},
		{"FETCH bodies", "(UID BODY.PEEK[])"},
	} {
		s, err := timed(c, "FETCH 1:* "+m.items)
		if err != nil {
			return err
		}
		j.add(m.name, "/s", false, float64(j.sizes.Messages)/s)
	}
	return nil
}

func (j *job) stores() error {
	for _, n := range []int{1, crowd} {
		var conns []*client.Conn
		for range n {
			c, err := j.open("SELECT INBOX")
			if err != nil {
				return err
			}
			defer c.Close()
			conns = append(conns, c)
		}
		count := j.sizes.Store
		if n > 1 {
			count *= 5
		}
		flag := map[int]string{1: `\Flagged`, crowd: `\Answered`}[n]
		begin := time.Now()
		err := each(conns, func(i int, c *client.Conn) error {
			for k := i; k < count; k += n {
				if err := drain(c, fmt.Sprintf("STORE %d +FLAGS (%s)", 1+k%j.sizes.Messages, flag)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		j.add(fmt.Sprintf("STORE of one message, %d connections", n), "/s", false, float64(count)/time.Since(begin).Seconds())
	}
	return nil
}

func (j *job) searches() error {
	if err := j.server.StartAgain(); err != nil {
		return err
	}
	c, err := j.open("SELECT INBOX")
	if err != nil {
		return err
	}
	defer c.Close()
	c.Timeout = 10 * time.Minute
	for _, when := range []string{"first time", "again"} {
		begin := time.Now()
		all, err := c.OK("SEARCH BODY " + needle)
		if err != nil {
			return err
		}
		seconds := time.Since(begin).Seconds()
		if want := (j.sizes.Messages + 99) / 100; len(all) < 1 || len(all[0].Values) != 1+want {
			return fmt.Errorf("SEARCH BODY found %d messages, not %d", len(all[0].Values)-1, want)
		}
		j.add("SEARCH BODY, "+when, "s", true, seconds)
	}
	return nil
}

func (j *job) large() error {
	if j.sizes.Large == 0 {
		return nil
	}
	if err := j.stock("large", j.sizes.Large); err != nil {
		return err
	}
	if err := j.server.StartAgain(); err != nil {
		return err
	}
	for _, when := range []string{"first time", "again"} {
		c, err := j.open()
		if err != nil {
			return err
		}
		s, err := timed(c, "SELECT large")
		c.Close()
		if err != nil {
			return err
		}
		j.add(fmt.Sprintf("SELECT of %d messages, %s", j.sizes.Large, when), "s", true, s)
	}
	return nil
}

// stock fills a mailbox by copies of its own messages: nobody measures that, and
// to append so many takes Dovecot an fsync each.
func (j *job) stock(box string, count int) error {
	there := min(count, 1000)
	if _, err := j.fill(box, there, 300, crowd); err != nil {
		return err
	}
	c, err := j.open("SELECT " + box)
	if err != nil {
		return err
	}
	defer c.Close()
	for there < count {
		more := min(there, count-there)
		if _, err := c.OK(fmt.Sprintf("COPY 1:%d %s", more, box)); err != nil {
			return err
		}
		there += more
	}
	return nil
}

// sync lets mbsync fetch a mailbox for the first time.
func (j *job) sync() error {
	if j.sizes.Sync == 0 {
		return nil
	}
	path, err := exec.LookPath("mbsync")
	if err != nil {
		return fmt.Errorf("mbsync is not installed; run scripts/test-deps: %w", err)
	}
	c, err := j.open("CREATE sync")
	if err != nil {
		return err
	}
	c.Close()
	if _, err := j.fill("sync", j.sizes.Sync, bodyLen, crowd); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "migiwa-bench-mbsync-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	config, err := j.mbsyncrc(dir)
	if err != nil {
		return err
	}
	begin := time.Now()
	if out, err := exec.Command(path, "-q", "-c", config, "bench").CombinedOutput(); err != nil {
		return fmt.Errorf("mbsync: %w: %s", err, out)
	}
	seconds := time.Since(begin).Seconds()
	got, err := filepath.Glob(filepath.Join(dir, "mail", "sync", "[cn]*", "*"))
	if err != nil || len(got) != j.sizes.Sync {
		return fmt.Errorf("mbsync fetched %d messages, not %d (%v)", len(got), j.sizes.Sync, err)
	}
	j.add(fmt.Sprintf("mbsync, first sync of %d messages", j.sizes.Sync), "s", true, seconds)
	return nil
}

// mbsyncrc writes mbsync's configuration. TLS is openssl's for both servers, as
// mbsync takes no certificate for an address.
func (j *job) mbsyncrc(dir string) (string, error) {
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
		return "", err
	}
	a := j.server.Account()
	path := filepath.Join(dir, "mbsyncrc")
	text := fmt.Sprintf("IMAPAccount a\nTunnel \"openssl s_client -quiet -connect %s 2>/dev/null\"\nUser %s\nPass %s\nSSLType None\nAuthMechs LOGIN\n\n"+
		"IMAPStore far\nAccount a\n\nMaildirStore near\nPath %s/mail/\nInbox %s/mail/INBOX\n\n"+
		"Channel bench\nFar :far:\nNear :near:\nPatterns sync\nCreate Near\nSync Pull\nSyncState *\n",
		j.server.IMAP().Addr, a.User, a.Password, dir, dir)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// idle opens connections in IDLE and reads the memory.
func (j *job) idle() error {
	if err := j.server.StartAgain(); err != nil {
		return err
	}
	first, err := j.open("SELECT INBOX") // what one needs, all have
	if err != nil {
		return err
	}
	defer first.Close()
	before, err := contestant.Proportional(j.server.Pid())
	if err != nil {
		return err
	}
	for range j.sizes.Idle {
		c, err := j.open("SELECT INBOX")
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Send([]byte("I IDLE\r\n")); err != nil {
			return err
		}
		if r, err := c.Read(); err != nil || r.Tag != "+" {
			return fmt.Errorf("IDLE: %v, %w", r, err)
		}
	}
	time.Sleep(2 * time.Second)
	after, err := contestant.Proportional(j.server.Pid())
	if err != nil {
		return err
	}
	j.add("memory of a connection in IDLE", "KB", true, float64(after-before)/1e3/float64(j.sizes.Idle))
	return nil
}
