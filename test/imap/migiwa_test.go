package imap

import (
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/test/imap/client"
	"github.com/migiwa/migiwa/test/imap/dialogue"
	"github.com/migiwa/migiwa/test/imap/script"
	"github.com/migiwa/migiwa/test/site"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }

const (
	scriptsDir   = "04-imap/imaptest-scripts/tests"
	dialoguesDir = "04-imap/james-mpt-imap-a/mpt/impl/imap-mailbox/core/src/main/resources"
)

// manyConnections is configuration for tests with more than a few.
const manyConnections = "[imap]\nmax_per_address = 1000\n"

// TestScripts runs the scripts of imaptest.
func TestScripts(t *testing.T) {
	scripts, err := script.Load(material(t, scriptsDir))
	if err != nil {
		t.Fatal(err)
	}
	const password = "read it back"
	s := site.Install(t, manyConnections, "")
	var users []string
	for i := range scripts {
		users = append(users, fmt.Sprint("u", i), fmt.Sprint("v", i))
	}
	s.Import(password, users...)
	s.Serve()
	var results []result
	for i, one := range scripts {
		target := script.Target{
			Server: client.Server{Addr: s.Addr(993), TLS: true},
			First:  client.Account{User: users[2*i] + "@" + site.Domain, Password: password},
			Second: client.Account{User: users[2*i+1] + "@" + site.Domain, Password: password},
		}
		results = append(results, result{one.Name, one.Run(target)})
	}
	s.Stop()
	judge(t, "imaptest scripts", results, knownScripts)
}

// TestDialogues runs the dialogues of James's MPT.
func TestDialogues(t *testing.T) {
	all, err := dialogue.Load(material(t, dialoguesDir))
	if err != nil {
		t.Fatal(err)
	}
	s := site.Install(t, manyConnections, "")
	s.Serve()
	var results []result
	for i, one := range all {
		for _, user := range []string{dialogue.User, "boby"} {
			if i > 0 {
				s.Run("", "account", "delete", user+"@"+site.Domain)
			}
			s.Add(user, dialogue.Password)
		}
		results = append(results, result{path.Base(one.Name), one.Run(client.Server{Addr: s.Addr(993), TLS: true})})
	}
	s.Stop()
	judge(t, "MPT dialogues", results, knownDialogues)
}

// TestServer runs both against any server:
//
//	MIGIWA_IMAP=host:143 MIGIWA_IMAP_USERS=user:password,second:password go test ./test/imap -run TestServer -v
//
// with "tls:" before the host for TLS from the first octet. All mailboxes of
// the users whose names begin with "imaptest" are deleted. The dialogues want
// a user of their own, imapuser, who owns nothing; they are left out here.
func TestServer(t *testing.T) {
	addr := os.Getenv("MIGIWA_IMAP")
	if addr == "" {
		t.Skip("MIGIWA_IMAP names no server")
	}
	scripts, err := script.Load(material(t, scriptsDir))
	if err != nil {
		t.Fatal(err)
	}
	host, tls := strings.CutPrefix(addr, "tls:")
	target := script.Target{Server: client.Server{Addr: host, TLS: tls}}
	for i, u := range strings.Split(os.Getenv("MIGIWA_IMAP_USERS"), ",") {
		user, password, _ := strings.Cut(u, ":")
		*[]*client.Account{&target.First, &target.Second}[i%2] = client.Account{User: user, Password: password}
	}
	var results []result
	for _, one := range scripts {
		results = append(results, result{one.Name, one.Run(target)})
	}
	judge(t, "imaptest scripts at "+addr, results, nil)
}
