package imap

import (
	"fmt"
	"testing"

	"github.com/migiwa/migiwa/test/imap/client"
	"github.com/migiwa/migiwa/test/imap/script"
	"github.com/migiwa/migiwa/test/peers"
)

func TestScriptsDovecot(t *testing.T) {
	scripts, err := script.Load(material(t, "04-imap/imaptest-scripts/tests"))
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for i := range scripts {
		addresses = append(addresses, fmt.Sprintf("u%d@example.test", i), fmt.Sprintf("v%d@example.test", i))
	}
	d := peers.Dovecot(t, peers.DovecotOptions{Mailboxes: addresses, Extensions: true})
	var results []result
	for i, s := range scripts {
		target := script.Target{
			Server: client.Server{Addr: d.IMAP},
			First:  script.Account{User: addresses[2*i], Password: peers.DovecotPassword},
			Second: script.Account{User: addresses[2*i+1], Password: peers.DovecotPassword},
		}
		results = append(results, result{s.Name, s.Run(target)})
	}
	judge(t, "imaptest scripts at Dovecot", results, nil)
}
