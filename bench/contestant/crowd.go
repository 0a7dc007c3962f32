package contestant

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/migiwa/migiwa/bench/stranger"
	"github.com/migiwa/migiwa/test/peers"
)

// Crowd says what a contestant needs to be shown thousands of clients. It has
// the mailboxes u0, u1, … of Domain; nothing trusts the loopback interface.
type Crowd struct {
	Users int
	Zone  string // all that DNS knows, as the text of a zone file; Postfix is told names by XCLIENT
	Edge  string // lines of migiwa's [edge]
}

// User is the address of the i-th mailbox of a Crowd.
func User(i int) string { return fmt.Sprintf("u%d@%s", i, Domain) }

// MigiwaForCrowd starts a migiwa. Its door is ProxyAddr.
func MigiwaForCrowd(path string, c Crowd) (*MigiwaServer, error) {
	return startMigiwa(path, setUp{crowd: &c})
}

// ProxyAddr is the host:port that wants the PROXY protocol; only with a Crowd.
func (m *MigiwaServer) ProxyAddr() string { return m.port(proxyPort) }

// invite configures what c asks for and makes the accounts.
func (m *MigiwaServer) invite(c *Crowd) error {
	zone := filepath.Join(m.dir, "zone")
	if err := os.WriteFile(zone, []byte(c.Zone), 0o600); err != nil {
		return err
	}
	if err := m.configure(fmt.Sprintf("[dns]\nzone_file = %q\n\n[edge]\n%s\n", zone, c.Edge)); err != nil {
		return err
	}
	var csv strings.Builder
	csv.WriteString("address,name,password,quota_mb,forward_to,state\n")
	for i := range c.Users {
		csv.WriteString(User(i) + ",,,,,\n")
	}
	return m.run(csv.String(), "account", "import", "-", "--config", m.config())
}

// Restart stops it and starts it again with other lines of [edge]. What the
// edge knows stays; its clock goes on where it stopped.
func (m *MigiwaServer) Restart(edge string) error {
	if err := m.stop(); err != nil {
		return err
	}
	text, err := os.ReadFile(m.config())
	if err != nil {
		return err
	}
	before, _, _ := strings.Cut(string(text), "\n[edge]\n") // by invite, at the end
	if err := os.WriteFile(m.config(), []byte(before+"\n[edge]\n"+edge+"\n"), 0o600); err != nil {
		return err
	}
	return m.startServing()
}

// PostfixForCrowd starts a Postfix that believes clients of the way: XClient
// with smtpd itself, or Proxy1 and Proxy2 with postscreen in front of it, which
// is the only one to understand them. parameters go over all others.
func PostfixForCrowd(users int, way stranger.Way, parameters map[string]string) (*peers.PostfixServer, error) {
	o := peers.PostfixOptions{Quiet: true, Parameters: map[string]string{"mynetworks": "192.0.2.254/32"}}
	for i := range users {
		o.Mailboxes = append(o.Mailboxes, User(i))
	}
	switch way {
	case stranger.XClient:
		o.Parameters["smtpd_authorized_xclient_hosts"] = "127.0.0.0/8"
	case stranger.Proxy1, stranger.Proxy2:
		o.Screen = true
	case stranger.Bind, stranger.Plain:
	default:
		return nil, errors.New("Postfix does not know the way " + string(way))
	}
	for key, value := range parameters {
		o.Parameters[key] = value
	}
	return peers.StartPostfix(o)
}
