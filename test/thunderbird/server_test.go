package thunderbird

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/smtp"
	"slices"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/test/imap/client"
	"github.com/migiwa/migiwa/test/site"
)

// witness is a second IMAP client, which sees what really happened.
type witness struct {
	t    testing.TB
	conn *client.Conn
}

// newWitness logs in. Passwords are the local parts.
func newWitness(t testing.TB, s *site.Site, user string) *witness {
	t.Helper()
	conn, err := client.Server{Addr: s.Addr(993), TLS: true}.Login(user+"@"+site.Domain, user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w := &witness{t: t, conn: conn}
	w.ok("ENABLE UTF8=ACCEPT")
	return w
}

func (w *witness) ok(command string) []*client.Response {
	w.t.Helper()
	all, err := w.conn.OK(command)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// message is what the server holds.
type message struct {
	flags []string // without \Recent
	text  string
}

// has tells whether the flags are exactly these.
func (m message) has(flags ...string) bool {
	slices.Sort(flags)
	return slices.Equal(m.flags, flags)
}

// mailbox gives the messages of a folder, and changes nothing.
func (w *witness) mailbox(name string) []message {
	w.t.Helper()
	w.ok("EXAMINE " + client.Quote(name))
	var all []message
	for _, r := range w.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])") {
		if r.Name() != "FETCH" {
			continue
		}
		var m message
		items := r.Values[2].List
		for i := 0; i+1 < len(items); i += 2 {
			switch {
			case items[i].Is("FLAGS"):
				for _, f := range items[i+1].List {
					if f.Text != `\Recent` {
						m.flags = append(m.flags, f.Text)
					}
				}
			case strings.HasPrefix(items[i].Text, "BODY["):
				m.text = items[i+1].Text
			}
		}
		slices.Sort(m.flags)
		all = append(all, m)
	}
	return all
}

// folders gives the names of all folders.
func (w *witness) folders() []string {
	w.t.Helper()
	var all []string
	for _, r := range w.ok(`LIST "" "*"`) {
		if r.Name() == "LIST" {
			all = append(all, r.Values[3].Text)
		}
	}
	return all
}

// deliver brings a message from outside, whose answer goes to hanako.
func deliver(t testing.TB, s *site.Site, subject, text string) {
	t.Helper()
	message := fmt.Sprintf("From: Hanako <hanako@far.test>\r\nReply-To: Hanako <hanako@%s>\r\nTo: Taro <taro@%[1]s>\r\nSubject: =?utf-8?B?%s?=\r\n"+
		"Message-ID: <%x@far.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s\r\n",
		site.Domain, base64.StdEncoding.EncodeToString([]byte(subject)), subject, text)
	c, err := smtp.Dial(s.Addr(25))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := errors.Join(c.Hello("far.test"), c.Mail("hanako@far.test"), c.Rcpt("taro@"+site.Domain)); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write([]byte(message))
	if err := errors.Join(err, w.Close(), c.Quit()); err != nil {
		t.Fatal(err)
	}
}
