package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/test/peers"
)

// gtube is the text that spam filters take for spam (GTUBE), put together at
// run time.
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// ClamAV's and rspamd's own milters in a row, for users who have them on, off
// or acting, in one message by swaks.
func TestMilters(t *testing.T) {
	scanner := peers.ClamavMilter(t, peers.Clamd(t, nil))
	spam := peers.Rspamd(t)
	s := start(t, fmt.Sprintf("[[filter.milter]]\naddress = %q\nrequired = true\n[[filter.milter]]\naddress = %q\n", scanner.Address, spam.Address), "mlabel", "moff", "mquar")
	s.run("", "filter", "set", "moff@"+domain, "milter=off")
	s.run("", "filter", "set", "mquar@"+domain, "milter=quarantine")
	for _, c := range []struct{ body, finding, folder string }{
		{"Good morning", "", "INBOX"},
		{peers.Eicar(), "MILTER_QUARANTINE", "Junk"}, // it wants 8 points
		{gtube, "MILTER_REJECT", "Quarantine"},
	} {
		to := "mlabel@" + domain + ",moff@" + domain + ",mquar@" + domain
		out, err := tool(t, "", "swaks", "--server", "127.0.0.1", "--port", s.port(25), "--from", "a@far.test", "--to", to, "--body", c.body)
		if err != nil {
			t.Fatalf("swaks: %v\n%s", err, out)
		}
		for user, folder := range map[string]string{"mlabel": "INBOX", "moff": "INBOX", "mquar": c.folder} {
			text := s.copyIn(user, folder)
			if text == "" {
				t.Errorf("%q: %s has no message in %s", c.body, user, folder)
				continue
			}
			on := user != "moff"
			for _, field := range []string{"X-Virus-Status: ", "X-Spamd-Result: "} {
				if got := strings.Contains(text, field); got && !on || on && !got && c.finding == "" {
					t.Errorf("%q: %s: %s is there %v\n%s", c.body, user, field, got, text)
				}
			}
			if c.finding != "" && strings.Contains(text, "X-Migiwa-Finding: "+c.finding) != on {
				t.Errorf("%q: %s: %s is there %v\n%s", c.body, user, c.finding, !on, text)
			}
			s.emptied(user, folder)
		}
	}
}

// emptied removes the only message of a folder by curl.
func (s *server) emptied(user, folder string) {
	s.t.Helper()
	url := fmt.Sprintf("imaps://localhost.%s:%s/%s", domain, s.port(993), folder)
	for _, command := range []string{`STORE 1 +FLAGS (\Deleted)`, "EXPUNGE"} {
		out, err := tool(s.t, "", "curl", "-sS", "--cacert", s.cert(), "--connect-to", "::127.0.0.1:", "-u", user+"@"+domain+":"+user, url, "-X", command)
		if err != nil {
			s.t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}
