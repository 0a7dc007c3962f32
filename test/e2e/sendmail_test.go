package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/test/peers"
)

// TestSendmailIsDefended: the socket map asks, the milter tells.
func TestSendmailIsDefended(t *testing.T) {
	t.Parallel()
	d := defend(t, "edge-policy", "edge-milter")
	p := peers.Sendmail(t, peers.SendmailOptions{Mailboxes: foreignUsers, Milter: d.milter, Rules: d.page("LOCAL_CONFIG")})
	d.configure(fmt.Sprintf("edge.recipients = %q\n", "smtp:"+p.Inner))
	d.serve()
	c := bySource(t, p.Addr)
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
		t.Errorf("without migiwa sendmail says %q", reply)
	}
}

// TestMilterAloneHoldsSendmail: sendmail refuses recipients before the milter
// is asked, so whole transactions are held.
func TestMilterAloneHoldsSendmail(t *testing.T) {
	t.Parallel()
	d := defend(t, "edge-milter")
	p := peers.Sendmail(t, peers.SendmailOptions{Mailboxes: foreignUsers, Milter: d.milter})
	d.serve()
	c := bySource(t, p.Addr)
	c.hears(t, p.Mailbox(foreignUsers[0]))
	t.Logf("held after %d guesses", c.guess(t))
	c.blind(t)
	d.stop()
	c.hears(t, p.Mailbox(foreignUsers[0]))
}
