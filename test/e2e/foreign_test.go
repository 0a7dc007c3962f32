package e2e

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/event/eventtest"
	"github.com/migiwa/migiwa/test/peers"
)

// The mail server that migiwa defends in these tests has these mailboxes. A
// held client asks for the long one and for strangers of the same length.
var foreignUsers = []string{"ann@" + domain, "somebody@" + domain}

// defender is a node that defends another mail server.
type defender struct {
	*server
	milter, policy string // host:port
}

// defend makes a node with the roles, on free ports. It does not serve yet.
func defend(t *testing.T, roles ...string) *defender {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d := &defender{server: &server{t: t, bin: bin, Dir: dir, Config: filepath.Join(dir, "migiwa.toml")}}
	d.milter, d.policy = d.free(), d.free()
	if err := os.WriteFile(d.Config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	zone := filepath.Join(dir, "zone")
	if err := os.WriteFile(zone, []byte("$ORIGIN test.\n@ 60 IN SOA ns. h. 1 1 1 1 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.configure(fmt.Sprintf(`hostname = "defender.%s"
domain = %q
roles = ["%s"]
listen.edge_milter = [%q]
listen.edge_policy = [%q]
listen.metrics = []
dns.zone_file = %q
`, domain, domain, strings.Join(roles, `", "`), d.milter, d.policy, zone))
	return d
}

// free gives a free port of 127.0.0.1.
func (d *defender) free() string {
	d.t.Helper()
	port, err := peers.FreePort()
	if err != nil {
		d.t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// page gives the block of docs/edge-postfix-sendmail.md that has the words, with
// the ports of this test.
func (d *defender) page(words ...string) string {
	d.t.Helper()
	text, err := os.ReadFile("../../docs/edge-postfix-sendmail.md")
	if err != nil {
		d.t.Fatal(err)
	}
	_, policy, _ := net.SplitHostPort(d.policy)
	_, milter, _ := net.SplitHostPort(d.milter)
	blocks := strings.Split(string(text), "```")
	for i := 1; i < len(blocks); i += 2 { // between the fences
		_, block, _ := strings.Cut(blocks[i], "\n") // behind the name of a language
		if containsAll(block, words...) {
			return strings.NewReplacer("8826", policy, "8825", milter).Replace(block)
		}
	}
	d.t.Fatalf("the page has no block with %q", words)
	return ""
}

// mainCf gives the parameters of a block of main.cf.
func (d *defender) mainCf(words ...string) map[string]string {
	d.t.Helper()
	parameters, name := map[string]string{}, ""
	for line := range strings.Lines(d.page(words...)) {
		if !strings.HasPrefix(line, " ") {
			name, line, _ = strings.Cut(line, " =")
		}
		parameters[name] = strings.TrimSpace(parameters[name] + " " + strings.TrimSpace(line))
	}
	return parameters
}

// postfix starts a Postfix that takes a client's address from XCLIENT and
// trusts nobody. services are further lines of master.cf.
func (d *defender) postfix(parameters map[string]string, services string) *peers.PostfixServer {
	all := map[string]string{
		"smtpd_authorized_xclient_hosts": "127.0.0.1", "mynetworks": "192.0.2.254/32", "disable_vrfy_command": "yes",
	}
	for k, v := range parameters {
		all[k] = v
	}
	return peers.Postfix(d.t, peers.PostfixOptions{Mailboxes: foreignUsers, Parameters: all, Services: services})
}

// caller opens dialogues with the defended server as a client with some
// address, up to EHLO.
type caller func(from string) *talk

// byXCLIENT presents client addresses to Postfix.
func byXCLIENT(t *testing.T, addr string) caller {
	return func(from string) *talk {
		k := dialTo(t, addr)
		k.want("220 ")
		k.say("250", "EHLO proxy.test")
		k.say("220", "XCLIENT NAME=[UNAVAILABLE] ADDR=%s PORT=%d", from, 1024+rand.IntN(60000))
		k.say("250", "EHLO far.test")
		return k
	}
}

// bySource binds the client's socket to an address of 127.0.0.0/8.
func bySource(t *testing.T, addr string) caller {
	return func(from string) *talk {
		dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := dialer.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(60 * time.Second))
		k := &talk{t: t, c: c, r: bufio.NewReader(c)}
		k.want("220 ")
		k.say("250", "EHLO far.test")
		return k
	}
}

// ask asks for one recipient in a connection of its own and gives the reply,
// to MAIL if that was not taken.
func (c caller) ask(from, rcpt string) string {
	k := c(from)
	k.write("MAIL FROM:<x@far.test>\r\n")
	reply := k.reply()
	if strings.HasPrefix(reply, "250") {
		k.write("RCPT TO:<" + rcpt + ">\r\n")
		reply = k.reply()
	}
	k.say("221", "QUIT")
	return reply
}

const honest, guesser = "127.20.1.1", "127.66.6.6"

// sends brings a message from an honest client, and it comes.
func (c caller) sends(t *testing.T, box peers.Maildir) {
	t.Helper()
	subject := fmt.Sprintf("through the defender %d", rand.Uint64())
	k := c(honest)
	k.send("friend@far.test", foreignUsers[:1], message("friend@far.test", foreignUsers[0], subject))
	k.say("221", "QUIT")
	comes(t, box, subject)
}

// hears is what an honest client with some history hears: its mail comes, and a
// wrong address is told at once.
func (c caller) hears(t *testing.T, box peers.Maildir) {
	t.Helper()
	c.sends(t, box)
	c.sends(t, box)
	if reply := c.ask(honest, fmt.Sprintf("nobody-%d@%s", rand.Uint64(), domain)); !strings.HasPrefix(reply, "550 5.1.1") {
		t.Fatalf("an honest client hears %q", reply)
	}
	c.sends(t, box)
}

// guess guesses until the client is held, and gives how often that took. Each
// guess comes in a connection of its own, as slow harvesters do it.
func (c caller) guess(t *testing.T) int {
	t.Helper()
	for n := range 50 {
		switch reply := c.ask(guesser, fmt.Sprintf("guess%04d@%s", n, domain)); {
		case strings.HasPrefix(reply, "451 4.7.1"):
			return n
		case !strings.HasPrefix(reply, "550 5.1.1"):
			t.Fatalf("a guess is answered with %q", reply)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("nobody holds a client that guesses")
	return 0
}

var refWord = regexp.MustCompile(`\(ref [0-9a-z]{6}\)`)

// blind wants the same reply for a recipient that exists and one that does
// not, but for the address itself and the reference.
func (c caller) blind(t *testing.T) {
	t.Helper()
	heard := map[string]string{}
	for range 3 {
		for _, rcpt := range []string{foreignUsers[1], "stranger@" + domain} {
			reply := c.ask(guesser, rcpt)
			if !strings.HasPrefix(reply, "451 4.7.1") || !refWord.MatchString(reply) {
				t.Fatalf("a held client hears %q for %s", reply, rcpt)
			}
			heard[strings.ReplaceAll(refWord.ReplaceAllString(reply, "(ref)"), rcpt, "RCPT")] = rcpt
		}
	}
	if len(heard) != 1 {
		t.Errorf("a held client hears different things: %v", heard)
	}
}

// events waits until an event of the journal has all the words.
func (d *defender) events(words ...string) {
	d.t.Helper()
	eventually(d.t, shortly, fmt.Sprintf("an event with %q", words), func() bool {
		for line := range strings.Lines(eventtest.Text(d.t, filepath.Join(d.Dir, "data", "journal"))) {
			if containsAll(line, words...) {
				return true
			}
		}
		return false
	})
}

// TestPolicyServiceDefendsPostfix: three lines in main.cf, and held clients hear
// nothing of who exists.
func TestPolicyServiceDefendsPostfix(t *testing.T) {
	t.Parallel()
	d := defend(t, "edge-policy")
	inner := d.free()
	p := d.postfix(d.mainCf("smtpd_recipient_restrictions", "smtpd_end_of_data_restrictions"), strings.ReplaceAll(d.page("127.0.0.1:10026 inet"), "127.0.0.1:10026", inner))
	d.configure(fmt.Sprintf("edge.recipients = %q\n", "smtp:"+inner))
	d.serve()
	c := byXCLIENT(t, p.Addr)
	c.hears(t, p.Mailbox(foreignUsers[0]))
	d.events(`"rcpt"`, honest, "nobody-", `"verdict":"answer"`, `"truth":"unknown"`)
	t.Logf("held after %d guesses", c.guess(t))
	c.blind(t)
	d.events(`"verdict":"defer"`, "somebody@", `"truth":"exists"`)
	d.events(`"verdict":"defer"`, "stranger@", `"truth":"unknown"`)
	c.hears(t, p.Mailbox(foreignUsers[0]))

	d.stop()
	c.hears(t, p.Mailbox(foreignUsers[0]))
	if reply := c.ask(guesser, foreignUsers[1]); !strings.HasPrefix(reply, "250") {
		t.Errorf("without migiwa Postfix says %q", reply)
	}
}

// TestPolicyServiceHearsSilence: without a look-up of its own the service takes
// it that Postfix does not come to the second stage with recipients that do
// not exist.
func TestPolicyServiceHearsSilence(t *testing.T) {
	t.Parallel()
	d := defend(t, "edge-policy")
	p := d.postfix(d.mainCf("smtpd_recipient_restrictions", "smtpd_end_of_data_restrictions"), "")
	d.serve()
	c := byXCLIENT(t, p.Addr)
	c.hears(t, p.Mailbox(foreignUsers[0]))
	k := c(guesser)
	k.say("250", "MAIL FROM:<x@far.test>")
	for n := 0; ; n++ {
		k.write(fmt.Sprintf("RCPT TO:<guess%04d@%s>\r\n", n, domain))
		if reply := k.reply(); strings.HasPrefix(reply, "451 4.7.1") {
			break
		} else if n == 10 {
			t.Fatalf("the tenth guess is answered with %q", reply)
		}
	}
	c.blind(t)
	c.hears(t, p.Mailbox(foreignUsers[0]))
}

// TestMilterTellsPostfixOutcomes: with the milter beside it the policy service
// needs one line, and no silence is guessed at.
func TestMilterTellsPostfixOutcomes(t *testing.T) {
	t.Parallel()
	d := defend(t, "edge-policy", "edge-milter")
	p := d.postfix(d.mainCf("smtpd_recipient_restrictions", "smtpd_milters"), "")
	d.serve()
	c := byXCLIENT(t, p.Addr)
	c.hears(t, p.Mailbox(foreignUsers[0]))
	t.Logf("held after %d guesses", c.guess(t))
	c.blind(t)
	d.stop()
	c.hears(t, p.Mailbox(foreignUsers[0]))
}

// TestMilterAloneDefendsPostfix: Postfix refuses no recipient by itself, the
// milter does. Without it Postfix defers.
func TestMilterAloneDefendsPostfix(t *testing.T) {
	t.Parallel()
	d := defend(t, "edge-milter")
	inner := peers.Postfix(t, peers.PostfixOptions{Mailboxes: foreignUsers})
	p := d.postfix(map[string]string{
		"smtpd_reject_unlisted_recipient": "no", "smtpd_milters": "inet:" + d.milter, "milter_default_action": "tempfail",
	}, "")
	d.configure(fmt.Sprintf("edge.recipients = %q\n", "smtp:"+inner.Addr))
	d.serve()
	c := byXCLIENT(t, p.Addr)
	c.hears(t, p.Mailbox(foreignUsers[0]))
	t.Logf("held after %d guesses", c.guess(t))
	c.blind(t)
	d.events(`"verdict":"defer"`, "stranger@", `"truth":"unknown"`)
	d.stop()
	if reply := c.ask(honest, foreignUsers[0]); !strings.HasPrefix(reply, "4") {
		t.Errorf("without migiwa Postfix says %q", reply)
	}
}

// TestMilterHoldsTransactions: where Postfix refuses recipients by itself and
// nothing asks before it, the milter holds whole transactions.
func TestMilterHoldsTransactions(t *testing.T) {
	t.Parallel()
	d := defend(t, "edge-milter")
	p := d.postfix(map[string]string{"smtpd_milters": "inet:" + d.milter, "milter_default_action": "accept"}, "")
	d.serve()
	c := byXCLIENT(t, p.Addr)
	c.hears(t, p.Mailbox(foreignUsers[0]))
	t.Logf("held after %d guesses", c.guess(t))
	c.blind(t)
	d.stop()
	c.hears(t, p.Mailbox(foreignUsers[0]))
}
