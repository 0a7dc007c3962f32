package mx_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/d--j/go-milter"

	"github.com/migiwa/migiwa/internal/filter"
	filtermilter "github.com/migiwa/migiwa/internal/filter/milter"
	"github.com/migiwa/migiwa/internal/mail"
)

// editor is a mail filter that changes all that the protocol lets it change.
type editor struct{ milter.NoOpMilter }

func (editor) EndOfMessage(m milter.Modifier) (*milter.Response, error) {
	return milter.RespAccept, errors.Join(m.InsertHeader(0, "Authentication-Results", "mx.here.test; x=pass"), m.AddHeader("X-Last", "1"),
		m.ChangeHeader(1, "Subject", "changed"), m.ReplaceBody(strings.NewReader("another body\r\n")), m.ChangeFrom("b@sender.test", ""),
		m.AddRecipient("<also@here.test>", ""), m.AddRecipient("<off@here.test>", ""), m.AddRecipient("<nobody@here.test>", ""), m.DeleteRecipient("<removed@here.test>"))
}

// milterServer runs editor and gives its filter.
func milterServer(t *testing.T) *filtermilter.Filter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := milter.NewServer(milter.WithMilter(func() milter.Milter { return editor{} }), milter.WithActions(milter.AllClientSupportedActionMasks))
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-ended })
	host, port, _ := net.SplitHostPort(l.Addr().String())
	return &filtermilter.Filter{Servers: []filtermilter.Server{{Name: "editor", Address: "inet:" + port + "@" + host}}}
}

// copies counts the messages of an account.
func (s *site) copies(name string) (n int) {
	s.t.Helper()
	a, err := s.handler.Directory.Account(s.t.Context(), mail.MakeAddress(name, "here.test"))
	if err != nil {
		s.t.Fatal(err)
	}
	folders, err := s.handler.Intake.Mailboxes.Folders(s.t.Context(), a.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range folders {
		n += int(f.Messages)
	}
	return n
}

// What a milter changes is changed for those who have it on, in one DATA with
// those who have not; a recipient it removes has his copy still.
func TestMilterChanges(t *testing.T) {
	s := filteredBy(t, map[string]map[string]filter.Mode{
		"on": nil, "off": {"milter": filter.Off}, "nothing": {"milter": filter.Nothing},
		"removed": {"milter": filter.Quarantine}, "also": {"milter": filter.Off},
	}, milterServer(t))
	if got := s.send("From: a@sender.test\nAuthentication-Results: mx.here.test; forged=pass\nSubject: as it was\n\nthe body\n", "on", "off", "nothing", "removed"); !strings.HasPrefix(got, "250") {
		t.Fatal(got)
	}
	for name, want := range map[string]struct {
		changed bool
		folder  string
	}{"on": {true, "INBOX"}, "off": {false, "INBOX"}, "nothing": {false, "INBOX"}, "removed": {true, "Junk"}, "also": {true, "INBOX"}} {
		folder, text := s.copyOf(name)
		if n := s.copies(name); n != 1 {
			t.Errorf("%s: %d copies", name, n)
		}
		if folder != want.folder {
			t.Errorf("%s: in %q", name, folder)
		}
		for part, changed := range map[string]bool{"mx.here.test; x=pass": true, "X-Last: 1": true, "Subject: changed": true, "\r\n\r\nanother body\r\n": true,
			"Return-Path: <b@sender.test>": true, "Subject: as it was": false, "\r\n\r\nthe body\r\n": false, "Return-Path: <a@sender.test>": false} {
			if strings.Contains(text, part) != (changed == want.changed) {
				t.Errorf("%s: %q in\n%s", name, part, text)
			}
		}
		if strings.Contains(text, "forged=pass") {
			t.Errorf("%s: a forged field stays", name)
		}
		if (name == "removed") != strings.Contains(text, "MILTER_DISCARD") {
			t.Errorf("%s: finding of the removal in\n%s", name, text)
		}
	}
}
