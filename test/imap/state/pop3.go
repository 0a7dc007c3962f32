package state

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/migiwa/migiwa/test/imap/client"
)

// pop3 reads and deletes INBOX by POP3 until ctx ends.
func (c *Checker) pop3(ctx context.Context) error {
	random := rand.New(rand.NewPCG(c.Seed, 1<<32))
	for ctx.Err() == nil {
		err := c.pop3Session(random)
		if err != nil && ctx.Err() == nil && !c.Breaking.Load() {
			time.Sleep(time.Second) // the word that it was killed may come late
			if !c.Breaking.Load() {
				return fmt.Errorf("POP3: %w", err)
			}
		}
		time.Sleep(time.Duration(50+random.IntN(200)) * time.Millisecond)
	}
	return nil
}

// pop3Session deletes one message, and leaves without QUIT now and then.
func (c *Checker) pop3Session(random *rand.Rand) error {
	d := net.Dialer{Timeout: client.Timeout}
	conn, err := tls.DialWithDialer(&d, "tcp", c.POP3, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(client.Timeout)); err != nil {
		return err
	}
	p := dialogue{conn: conn, in: bufio.NewReader(conn)}
	p.line()
	p.say("USER " + c.Account.User)
	if answer := p.say("PASS " + c.Account.Password); p.err == nil && strings.Contains(answer, "[IN-USE]") {
		return nil
	}
	var n, size int
	if _, err := fmt.Sscanf(p.say("STAT"), "+OK %d %d", &n, &size); err != nil && p.err == nil {
		return fmt.Errorf("STAT: %w", err)
	}
	if n > 0 {
		which := 1 + random.IntN(n)
		token := p.subject(fmt.Sprintf("TOP %d 0", which))
		if p.err == nil && token != "" && random.IntN(2) == 0 {
			c.ledger.doomToken(token)
			p.say(fmt.Sprintf("DELE %d", which))
		}
	}
	if random.IntN(4) > 0 {
		p.say("QUIT")
		c.Retrieved.Add(1)
	}
	return p.err
}

// dialogue keeps the first error.
type dialogue struct {
	conn net.Conn
	in   *bufio.Reader
	err  error
}

func (d *dialogue) line() string {
	if d.err != nil {
		return ""
	}
	var line string
	line, d.err = d.in.ReadString('\n')
	return strings.TrimSpace(line)
}

func (d *dialogue) say(command string) string {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.conn, "%s\r\n", command)
	}
	return d.line()
}

// subject reads a message's header for its token.
func (d *dialogue) subject(command string) (token string) {
	if !strings.HasPrefix(d.say(command), "+OK") {
		return "" // an IMAP session has just deleted it
	}
	for d.err == nil {
		line := d.line()
		if line == "." {
			break
		}
		if t, ok := strings.CutPrefix(line, "Subject: "); ok {
			token = t
		}
	}
	return token
}
