package peers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/smtp"
	"net/textproto"
	"os"
	"strings"
	"testing"
	"time"
)

const (
	sender    = "bob@client.test"
	recipient = "ann@example.test"
	stranger  = "nobody-at-all@example.test"
)

func TestPostfixDeliversToMaildir(t *testing.T) {
	p := Postfix(t, PostfixOptions{Mailboxes: []string{recipient}})
	sendOne(t, p.Addr, recipient, "to Postfix")
	mustHold(t, p.Mailbox(recipient), "to Postfix", p.Log)
	mustRefuse(t, p.Addr, stranger)
	mustRefuse(t, p.Addr, "someone@elsewhere.test")
}

func TestPostfixRelays(t *testing.T) {
	sink := SMTPSink(t, SMTPSinkOptions{Keep: true})
	p := Postfix(t, PostfixOptions{Relay: map[string]string{"away.test": sink.Addr}})
	sendOne(t, p.Addr, "someone@away.test", "through Postfix")
	if err := sink.Wait(soon(t), 1); err != nil {
		t.Fatalf("%v\n%s", err, p.Log())
	}
}

func TestPostfixQueueTools(t *testing.T) {
	p := Postfix(t, PostfixOptions{Mailboxes: []string{recipient}})
	out, err := p.Command("postqueue", "-p").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Mail queue is empty") {
		t.Errorf("postqueue -p: %v: %s", err, out)
	}
}

func TestPostfixOffersTLS(t *testing.T) {
	cert, key := selfSigned(t)
	p := Postfix(t, PostfixOptions{Mailboxes: []string{recipient}, CertFile: cert, KeyFile: key})
	mustStartTLS(t, p.Addr)
}

func TestEximDeliversToMaildir(t *testing.T) {
	p := Exim(t, EximOptions{Mailboxes: []string{recipient}})
	sendOne(t, p.Addr, recipient, "to Exim")
	mustHold(t, p.Mailbox(recipient), "to Exim", p.Log)
	mustRefuse(t, p.Addr, stranger)
	mustRefuse(t, p.Addr, "someone@elsewhere.test")
}

func TestEximRelays(t *testing.T) {
	sink := SMTPSink(t, SMTPSinkOptions{Keep: true})
	p := Exim(t, EximOptions{Relay: map[string]string{"away.test": sink.Addr}})
	sendOne(t, p.Addr, "someone@away.test", "through Exim")
	if err := sink.Wait(soon(t), 1); err != nil {
		t.Fatalf("%v\n%s", err, p.Log())
	}
}

func TestEximOffersTLS(t *testing.T) {
	cert, key := selfSigned(t)
	p := Exim(t, EximOptions{Mailboxes: []string{recipient}, CertFile: cert, KeyFile: key})
	mustStartTLS(t, p.Addr)
}

func TestSendmailDelivers(t *testing.T) {
	p := Sendmail(t, SendmailOptions{Mailboxes: []string{recipient}})
	sendOne(t, p.Addr, recipient, "to sendmail")
	mustHold(t, p.Mailbox(recipient), "to sendmail", p.Log)
	mustRefuse(t, p.Addr, stranger)
	mustRefuse(t, p.Inner, stranger)
}

func TestDovecotTakesLMTP(t *testing.T) {
	p := DovecotLMTP(t, recipient)
	c := lmtpDialogue(t, p.LMTP)
	c.say(250, "LHLO client.test")
	c.say(250, "MAIL FROM:<%s>", sender)
	c.say(550, "RCPT TO:<%s>", stranger)
	c.say(250, "RCPT TO:<%s>", recipient)
	c.say(354, "DATA")
	c.say(250, "Subject: to Dovecot\r\n\r\nHello.\r\n.")
	mustHold(t, p.Mailbox(recipient), "to Dovecot", p.Log)

	pop := pop3Dialogue(t, p.POP3)
	pop.say("USER %s", recipient)
	pop.say("PASS %s", DovecotPassword)
	if got := pop.say("STAT"); !strings.HasPrefix(got, "+OK 1 ") {
		t.Errorf("STAT = %q, want one message", got)
	}
}

func TestSMTPSinkCountsAndKeeps(t *testing.T) {
	p := SMTPSink(t, SMTPSinkOptions{Keep: true})
	for i := range 20 {
		sendOne(t, p.Addr, recipient, fmt.Sprintf("to the sink %d", i))
		if err := p.Wait(soon(t), i+1); err != nil {
			t.Fatal(err)
		}
		messages, err := p.Messages()
		if err != nil || len(messages) != i+1 {
			t.Fatalf("after %d messages it keeps %d (%v)", i+1, len(messages), err)
		}
		for _, m := range messages {
			if !strings.Contains(m, "Hello.") {
				t.Fatalf("a message is not whole: %q", m)
			}
		}
	}
}

func TestSinkCounterReadsPieces(t *testing.T) {
	for _, c := range []struct {
		writes []string
		want   int
	}{
		{nil, 0},
		{[]string{"sess=1 quit=0 mesg=1\r"}, 1},
		{[]string{"sess=1 quit=0 mesg=1\rsess=1 quit=0 me", "sg=2", "5\r"}, 25},
		{[]string{"sess=1 quit=0 mesg=7\rsess=1 quit=1 mesg=8"}, 7},
		{[]string{"smtp-sink: warning\r"}, 0},
	} {
		s := &SMTPSinkServer{counter: new(sinkCounter)}
		for _, w := range c.writes {
			if n, err := s.counter.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("Write(%q) = %d, %v", w, n, err)
			}
		}
		if got, _ := s.Count(); got != c.want {
			t.Errorf("after %q the count is %d, want %d", c.writes, got, c.want)
		}
	}
}

func TestPostgresGivesFreshDatabases(t *testing.T) {
	one, two := Postgres(t), Postgres(t)
	if one == two {
		t.Fatalf("both databases are %s", one)
	}
	pool, err := sql.Open("pgx", one)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var fsync string
	if err := pool.QueryRow("SELECT current_setting('fsync')").Scan(&fsync); err != nil || fsync != "on" {
		t.Errorf("fsync is %q, %v", fsync, err)
	}
}

// A peer that cannot start must say why, and leave nothing.
func TestStartFailureTellsWhy(t *testing.T) {
	_, err := StartPostfix(PostfixOptions{Parameters: map[string]string{"mail_owner": "no-such-account"}})
	var missing *MissingError
	if errors.As(err, &missing) || errors.Is(err, ErrNotRoot) {
		started(t, "Postfix", &PostfixServer{}, err)
	}
	if err == nil || !strings.Contains(err.Error(), "it ended") {
		t.Errorf("error %v, want one that says that it ended", err)
	}
}

func TestMissingPeerSkipsOrFails(t *testing.T) {
	t.Setenv("MIGIWA_PEERS", t.TempDir())
	if _, err := os.Stat("/usr/sbin/exim4"); err == nil {
		t.Skip("Exim is installed as a package here")
	}
	_, err := StartExim(EximOptions{})
	var missing *MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "scripts/test-deps") {
		t.Errorf("error %v, want one that names scripts/test-deps", err)
	}
}

// soon is a context in which a loopback delivery must be over.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func sendOne(t *testing.T, addr, to, subject string) {
	t.Helper()
	body := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\nHello.\r\n", sender, to, subject)
	if err := smtp.SendMail(addr, nil, sender, []string{to}, []byte(body)); err != nil {
		t.Fatalf("sending to %s: %v", to, err)
	}
}

func mustHold(t *testing.T, m Maildir, subject string, log func() string) {
	t.Helper()
	if err := m.Wait(soon(t), 1); err != nil {
		t.Fatalf("%v\n%s", err, log())
	}
	messages, err := m.Messages()
	if err != nil || len(messages) != 1 || !strings.Contains(messages[0], "Subject: "+subject) {
		t.Errorf("the mailbox holds %q (%v), want one message about %q", messages, err, subject)
	}
}

// mustRefuse sends nothing: it asks for the recipient and wants a refusal.
func mustRefuse(t *testing.T, addr, to string) {
	t.Helper()
	err := smtp.SendMail(addr, nil, sender, []string{to}, []byte("Subject: no\r\n\r\n"))
	var reply *textproto.Error
	if !errors.As(err, &reply) || reply.Code/100 != 5 && reply.Code/100 != 4 {
		t.Errorf("sending to %s: %v, want a refusal", to, err)
	}
}

func mustStartTLS(t *testing.T, addr string) {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.StartTLS(insecure()); err != nil {
		t.Errorf("STARTTLS: %v", err)
	}
	if _, on := c.TLSConnectionState(); !on {
		t.Error("the connection is not encrypted")
	}
}
