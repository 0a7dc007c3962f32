package imap

import (
	"fmt"
	"path"
	"testing"

	"github.com/migiwa/migiwa/test/imap/client"
	"github.com/migiwa/migiwa/test/imap/dialogue"
	"github.com/migiwa/migiwa/test/imap/script"
	"github.com/migiwa/migiwa/test/peers"
)

func TestScriptsDovecot(t *testing.T) {
	scripts, err := script.Load(material(t, scriptsDir))
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
			First:  client.Account{User: addresses[2*i], Password: peers.DovecotPassword},
			Second: client.Account{User: addresses[2*i+1], Password: peers.DovecotPassword},
		}
		results = append(results, result{s.Name, s.Run(target)})
	}
	judge(t, "imaptest scripts at Dovecot", results, nil)
}

func TestDialoguesDovecot(t *testing.T) {
	all, err := dialogue.Load(material(t, dialoguesDir))
	if err != nil {
		t.Fatal(err)
	}
	users := []string{dialogue.User + "@example.test", "boby@example.test"}
	d := peers.Dovecot(t, peers.DovecotOptions{Mailboxes: users, Password: dialogue.Password, Extensions: true})
	var results []result
	for _, one := range all {
		if err := d.Forget(users...); err != nil {
			t.Fatal(err)
		}
		results = append(results, result{path.Base(one.Name), one.Run(client.Server{Addr: d.IMAP}, `\* OK \[HIGHESTMODSEQ `)})
	}
	judge(t, "MPT dialogues at Dovecot", results, dovecotDialogues)
}
