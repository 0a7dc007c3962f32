package deliver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/migiwa/migiwa/internal/deliver/smtpc/peertest"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/queue"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

func TestTLSWays(t *testing.T) {
	cert := peertest.SelfSigned(t, "peer.test")
	for _, c := range []struct {
		name   string
		cert   *tls.Certificate
		script map[string]string
		edit   func(*Route)
		tls    bool
		want   string // in the queue afterwards; empty: delivered
	}{
		{"not offered", nil, nil, func(*Route) {}, false, ""},
		{"opportunistic, self-signed", cert, nil, func(*Route) {}, true, ""},
		{"opportunistic, broken", cert, map[string]string{"handshake": "x"}, func(*Route) {}, false, ""},
		{"opportunistic, refused", cert, map[string]string{"STARTTLS": "454 4.7.0 no"}, func(*Route) {}, false, ""},
		{"none", cert, nil, func(r *Route) { r.TLS = Plain }, false, ""},
		{"required", cert, nil, func(r *Route) { r.TLS = Required }, true, ""},
		{"required, not offered", nil, nil, func(r *Route) { r.TLS = Required }, false, "waiting 451 4.7.5"},
		{"required, broken", cert, map[string]string{"handshake": "x"}, func(r *Route) { r.TLS = Required }, false, "waiting 451 4.7.5"},
		{"required and verified, self-signed", cert, nil, func(r *Route) { r.TLS, r.Verify = Required, true }, false, "waiting 451 4.7.5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, dbtest.SQLite(t))
			p := (&peertest.Peer{Cert: c.cert, Script: c.script, Ext: []string{"PIPELINING"}}).Start(t)
			s.route(p.Addr(), c.edit)
			s.run()
			s.accept(nil, "a@there.test")
			if c.want != "" {
				s.wait("a deferral", func() bool { l := s.list(); return len(l) == 1 && strings.Contains(l[0], c.want) })
				return
			}
			s.wait("an empty queue", s.empty)
			if p.Count() != 1 || p.Messages[0].TLS != c.tls {
				t.Errorf("%d messages, with TLS: %t", p.Count(), p.Messages[0].TLS)
			}
		})
	}
}

// TestFit: what becomes of messages that need what the peer does not have.
func TestFit(t *testing.T) {
	const utf8 = "Subject: 件名\r\n\r\nx\r\n"
	for _, c := range []struct {
		name string
		ext  []string
		body string
		edit func(a *Accepted)
		want string // MAIL and RCPT as the peer heard them, or the report's status
	}{
		{"8-bit", []string{"8BITMIME"}, utf8, func(a *Accepted) { a.BodyType = mail.Body8Bit },
			"<alice@here.test> BODY=8BITMIME <a@there.test>"},
		{"declared 8-bit, is 7-bit", nil, text, func(a *Accepted) { a.BodyType = mail.Body8Bit }, "<alice@here.test> <a@there.test>"},
		{"SMTPUTF8", []string{"SMTPUTF8", "8BITMIME"}, utf8, func(a *Accepted) {
			a.SMTPUTF8, a.BodyType = true, mail.Body8Bit
			a.Recipients[0].Address = address(t, "利用者@例え.test")
		}, "<alice@here.test> BODY=8BITMIME SMTPUTF8 <利用者@例え.test>"},
		{"SMTPUTF8 not needed", nil, text, func(a *Accepted) { a.SMTPUTF8 = true }, "<alice@here.test> <a@there.test>"},
		{"domain to A-labels", nil, text, func(a *Accepted) { a.SMTPUTF8, a.Recipients[0].Address = true, address(t, "a@例え.test") },
			"<alice@here.test> <a@xn--r8jz45g.test>"},
		{"local part needs SMTPUTF8", nil, text, func(a *Accepted) { a.SMTPUTF8, a.Recipients[0].Address = true, address(t, "利用者@there.test") },
			"Status: 5.6.7"},
		{"header needs SMTPUTF8", []string{"8BITMIME"}, utf8, func(a *Accepted) { a.SMTPUTF8, a.BodyType = true, mail.Body8Bit }, "Status: 5.6.7"},
		{"8-bit without MIME", nil, "Subject: x\r\n\r\né\r\n", func(a *Accepted) { a.BodyType = mail.Body8Bit }, "Status: 5.6.3"},
		{"8-bit without MIME, undeclared", nil, "Subject: x\r\n\r\né\r\n", func(*Accepted) {}, "<alice@here.test> <a@there.test>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, dbtest.SQLite(t))
			p := (&peertest.Peer{Ext: c.ext}).Start(t)
			s.route(p.Addr())
			s.run()
			s.accept(func(a *Accepted) { a.Body = s.body(c.body); c.edit(a) }, "a@there.test")
			s.wait("an empty queue", s.empty)
			if strings.HasPrefix(c.want, "Status") {
				if in := s.inbox(2); len(in) != 1 || !strings.Contains(in[0], c.want) {
					t.Errorf("reports %q", in)
				}
				return
			}
			if p.Count() != 1 {
				t.Fatalf("not delivered: %q", s.inbox(2))
			}
			if got := p.Messages[0].From + " " + strings.Join(p.Messages[0].To, " "); got != c.want || !strings.HasSuffix(p.Messages[0].Data, c.body) {
				t.Errorf("got %s, want %s; %q", got, c.want, p.Messages[0].Data)
			}
		})
	}
}

// TestFitByConversion: a peer without the extension gets what it can take, and
// is told the size of that.
func TestFitByConversion(t *testing.T) {
	const original = "MIME-Version: 1.0\r\n\r\nna\xefve words\r\n"
	const quoted = "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nna=EFve words\r\n"
	for _, c := range []struct {
		name, ext string
		body      mail.BodyType
		param     string // after MAIL FROM
		want      string
	}{
		{"no 8BITMIME", "SIZE", mail.Body8Bit, "SIZE=", quoted},
		{"no 8BITMIME, undeclared", "SIZE", "", "SIZE=", quoted},
		{"8BITMIME, undeclared", "8BITMIME", "", "", original},
		{"binary that is 8-bit", "8BITMIME", mail.BodyBinary, "BODY=8BITMIME", original},
		{"binary that is 8-bit, no 8BITMIME", "SIZE", mail.BodyBinary, "SIZE=", quoted},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, dbtest.SQLite(t))
			p := (&peertest.Peer{Ext: []string{c.ext}}).Start(t)
			s.route(p.Addr())
			s.run()
			s.accept(func(a *Accepted) { a.Body, a.BodyType = s.body(original), c.body }, "a@there.test")
			s.wait("an empty queue", s.empty)
			if p.Count() != 1 {
				t.Fatalf("not delivered: %q", s.inbox(2))
			}
			m := p.Messages[0]
			want := "<alice@here.test> " + c.param
			if c.param == "SIZE=" {
				want += fmt.Sprint(len(m.Data))
			}
			if strings.TrimSpace(want) != m.From || !strings.HasSuffix(m.Data, c.want) {
				t.Errorf("%s, want %s; %q", m.From, want, m.Data)
			}
		})
	}
}

// library is a server of another hand: go-smtp.
type library struct {
	mu   sync.Mutex
	got  []string
	auth string
}

func (l *library) NewSession(*smtp.Conn) (smtp.Session, error) { return &librarySession{l: l}, nil }

type librarySession struct {
	l        *library
	envelope string
}

func (s *librarySession) Reset()        { s.envelope = "" }
func (s *librarySession) Logout() error { return nil }
func (s *librarySession) Mail(from string, opts *smtp.MailOptions) error {
	s.envelope = from
	return nil
}
func (s *librarySession) Rcpt(to string, opts *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "bad") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.envelope += " " + to
	return nil
}
func (s *librarySession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.l.got = append(s.l.got, s.envelope+"\n"+string(b))
	return err
}
func (s *librarySession) LMTPData(r io.Reader, status smtp.StatusCollector) error { return s.Data(r) }
func (s *librarySession) AuthMechanisms() []string                                { return []string{sasl.Plain, sasl.Login} }
func (s *librarySession) Auth(mech string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(identity, user, password string) error {
		if user != "relay" || password != "secret" {
			return errors.New("no")
		}
		s.l.mu.Lock()
		defer s.l.mu.Unlock()
		s.l.auth = user
		return nil
	}), nil
}

// TestLibraryPeer delivers to go-smtp: SMTP with STARTTLS and AUTH, and LMTP
// over a Unix socket.
func TestLibraryPeer(t *testing.T) {
	cert := peertest.SelfSigned(t, "localhost")
	for _, c := range []struct {
		name, network string
		edit          func(*Route)
	}{
		{"smtp", "tcp", func(r *Route) { r.TLS, r.User, r.Password = Required, "relay", "secret" }},
		{"lmtp", "unix", func(r *Route) { r.Network, r.LMTP, r.TLS = "unix", true, Plain }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &library{}
			srv := smtp.NewServer(l)
			srv.LMTP, srv.Domain, srv.TLSConfig = c.network == "unix", "peer.test", &tls.Config{Certificates: []tls.Certificate{*cert}}
			srv.EnableSMTPUTF8, srv.EnableDSN, srv.EnableBINARYMIME = true, true, true
			addr := "127.0.0.1:0"
			if c.network == "unix" {
				addr = filepath.Join(t.TempDir(), "lmtp")
			}
			ln, err := net.Listen(c.network, addr)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { defer close(done); srv.Serve(ln) }()
			t.Cleanup(func() { srv.Close(); <-done })
			s := newSite(t, dbtest.SQLite(t))
			s.route(ln.Addr().String(), c.edit)
			s.run()
			s.accept(func(a *Accepted) { a.Ret, a.EnvID = "HDRS", "id" }, "a@there.test", "bad@there.test", "b@there.test")
			s.wait("an empty queue", s.empty)
			l.mu.Lock()
			defer l.mu.Unlock()
			want := "alice@here.test a@there.test b@there.test\nReceived: from here\r\n" + text
			if len(l.got) != 1 || l.got[0] != want {
				t.Errorf("got %q", l.got)
			}
			if c.network == "tcp" && l.auth != "relay" {
				t.Error("not logged in")
			}
			if in := s.inbox(2); len(in) != 1 || !strings.Contains(in[0], "Final-Recipient: rfc822; bad@there.test") {
				t.Errorf("reports %q", in)
			}
		})
	}
}

// TestSuccessReports: local delivery, a relay without DSN, and none where the
// peer will report by itself or the sender is a stranger.
func TestSuccessReports(t *testing.T) {
	for _, c := range []struct {
		name string
		ext  []string
		edit func(s *site, a *Accepted)
		want string
	}{
		{"relayed", nil, func(*site, *Accepted) {}, "Action: relayed"},
		{"the peer knows DSN", []string{"DSN"}, func(*site, *Accepted) {}, ""},
		{"local", nil, func(s *site, a *Accepted) {
			res, err := s.intake.Directory.Resolve(context.Background(), address(s.t, "bob@here.test"))
			if err != nil {
				s.t.Fatal(err)
			}
			a.Recipients[0].Targets = res.Targets
		}, "Action: delivered"},
		{"a stranger's", nil, func(s *site, a *Accepted) { a.Origin, a.Account = queue.MX, 0 }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, dbtest.SQLite(t))
			p := (&peertest.Peer{Ext: c.ext}).Start(t)
			s.route(p.Addr())
			s.run()
			s.accept(func(a *Accepted) { a.Recipients[0].Notify = mail.NotifySuccess; c.edit(s, a) }, "x@there.test")
			s.wait("an empty queue", s.empty)
			in := s.inbox(2)
			if c.want == "" && len(in) > 0 || c.want != "" && (len(in) != 1 || !strings.Contains(in[0], c.want)) {
				t.Errorf("reports %q", in)
			}
			s.checkBodies()
		})
	}
}
