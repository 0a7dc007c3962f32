package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/test/peers"
)

// socketMap gives the rules by which sendmail asks before it looks a recipient
// up, as docs/edge-postfix-sendmail.md has them.
func (d *defender) socketMap() string {
	_, port, err := net.SplitHostPort(d.policy)
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.ReplaceAll(sendmailRules, "8826", port)
}

const sendmailRules = `LOCAL_CONFIG
Kmigiwa socket -f -T<TEMP> inet:8826@127.0.0.1
LOCAL_RULESETS
SLocal_check_rcpt
R$*			$: $&{auth_type} $| $1
R$+ $| $*		$@ OK
R$| $*			$: $(migiwa addr=$&{client_addr} port=$&{client_port} id=$&i resolve=$&{client_resolve} name=$&{client_name} <$&f> $1 $: GO $)
RDEFER $+		$#error $@ 4.7.1 $: $1
`

// TestSendmailIsDefended: the socket map asks, the milter tells.
func TestSendmailIsDefended(t *testing.T) {
	t.Parallel()
	d := defend(t, "edge-policy", "edge-milter")
	p := peers.Sendmail(t, peers.SendmailOptions{Mailboxes: foreignUsers, Milter: d.milter, Rules: d.socketMap()})
	d.configure(fmt.Sprintf("edge.recipients = %q\n", "smtp:"+p.Inner))
	d.serve()
	c := bySource(t, p.Addr)
	c.hears(t, p.Mailbox(foreignUsers[0]))
	d.events(`"rcpt"`, honest, "nobody-1", `"verdict":"answer"`, `"truth":"unknown"`)
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
