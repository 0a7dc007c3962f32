package edgemilter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/d--j/go-milter"

	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/serve/foreign"
	"github.com/migiwa/migiwa/internal/serve/receive"
)

// serve starts a milter on an engine of its own and gives its address.
func serve(t *testing.T, mode Mode, recipients foreign.Recipients) (*Server, string) {
	t.Helper()
	engine, err := edge.NewSeeded(edge.DefaultRules(), edge.Sizes{Sources: 4096}, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Mode: mode, Recipients: recipients, Desk: &foreign.Desk{
		Guard: &edge.Guard{Engine: engine, Clock: edge.NewClock(1, 0)}, Own: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		engine.Close()
	})
	return s, l.Addr().String()
}

// mta is a mail server that asks the milter about one client.
type mta struct {
	t      *testing.T
	s      *milter.ClientSession
	macros *milter.MacroBag
}

func newMTA(t *testing.T, addr, client string) *mta {
	t.Helper()
	macros := milter.NewMacroBag()
	s, err := milter.NewClient("tcp", addr).Session(macros)
	if err != nil {
		t.Fatal(err)
	}
	m := &mta{t, s, macros}
	t.Cleanup(func() { s.Close() })
	m.want("go on", func() (*milter.Action, error) { return s.Conn("["+client+"]", milter.FamilyInet, 1025, client) })
	m.want("go on", func() (*milter.Action, error) { return s.Helo("far.test") })
	return m
}

// said gives a step's outcome: "go on" or the reply.
func (m *mta) said(step func() (*milter.Action, error)) string {
	m.t.Helper()
	a, err := step()
	if err != nil {
		m.t.Fatal(err)
	}
	if a.Type == milter.ActionRejectWithCode {
		return a.SMTPReply
	}
	if a.StopProcessing() {
		return fmt.Sprint(a.Type)
	}
	return "go on"
}

func (m *mta) want(prefix string, step func() (*milter.Action, error)) {
	m.t.Helper()
	if got := m.said(step); !strings.HasPrefix(got, prefix) {
		m.t.Fatalf("said %q, want %q", got, prefix)
	}
}

func (m *mta) mail() string {
	return m.said(func() (*milter.Action, error) { return m.s.Mail("<x@far.test>", "SIZE=100") })
}

// rcpt tells of a recipient that the server itself would take, or refuses with
// the enhanced code.
func (m *mta) rcpt(to, refused string) string {
	m.macros.Set(milter.MacroRcptMailer, "local")
	if refused != "" {
		m.macros.Set(milter.MacroRcptMailer, "error")
	}
	m.macros.Set(milter.MacroRcptHost, refused)
	return m.said(func() (*milter.Action, error) { return m.s.Rcpt("<"+to+">", "") })
}

const guesser = "203.0.113.7"

// TestTransactionsAreHeld: where the server refuses by itself, the milter holds
// at MAIL.
func TestTransactionsAreHeld(t *testing.T) {
	_, addr := serve(t, Transactions, nil)
	for n := range 20 {
		m := newMTA(t, addr, guesser)
		if got := m.mail(); got != "go on" {
			if !strings.HasPrefix(got, "451 4.7.1 Try again later (ref ") || n < 2 {
				t.Fatalf("after %d guesses: %q", n, got)
			}
			return
		}
		if got := m.rcpt(fmt.Sprintf("guess%d@example.test", n), "5.1.1"); got != "go on" {
			t.Fatalf("a refused recipient is answered with %q", got)
		}
		m.s.Close()
	}
	t.Fatal("nobody holds it")
}

// TestOtherRefusalsAreNoEvidence: what the server refuses for other reasons
// says nothing of who asks.
func TestOtherRefusalsAreNoEvidence(t *testing.T) {
	_, addr := serve(t, Transactions, nil)
	for n := range 20 {
		m := newMTA(t, addr, guesser)
		if got := m.mail(); got != "go on" {
			t.Fatalf("after %d: %q", n, got)
		}
		m.rcpt(fmt.Sprintf("guess%d@example.test", n), "5.7.1")
		m.s.Close()
	}
}

// TestRecipientsAreAnswered: where the server refuses nobody, the milter does,
// once the edge lets the client hear it.
func TestRecipientsAreAnswered(t *testing.T) {
	_, addr := serve(t, Recipients, func(_ context.Context, rcpt mail.Address) (edge.Truth, *mail.Reply, error) {
		switch {
		case rcpt.Local == "broken":
			return 0, nil, errors.New("the directory is away")
		case rcpt.Local != "ann":
			return edge.Unknown, &receive.UnknownUser, nil
		}
		return edge.Exists, nil, nil
	})
	own := newMTA(t, addr, "127.0.0.1")
	m := newMTA(t, addr, "192.0.2.1")
	for _, m := range []*mta{own, m} {
		m.mail()
		for _, c := range []struct{ to, want string }{{"ann", "go on"}, {"bob", "550 5.1.1 "}, {"broken", "451 4.3.0 "}} {
			if got := m.rcpt(c.to+"@example.test", ""); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %q", c.to, got)
			}
		}
	}
	m = newMTA(t, addr, guesser)
	m.mail()
	said := ""
	for n := 0; n < 20 && !strings.HasPrefix(said, "451"); n++ {
		said = m.rcpt(fmt.Sprintf("guess%d@example.test", n), "")
	}
	for _, to := range []string{"ann", "bob"} {
		if got := m.rcpt(to+"@example.test", ""); !strings.HasPrefix(got, "451 4.7.1 Try again later (ref ") {
			t.Errorf("a held client hears %q of %s", got, to)
		}
	}
}

// TestLoginsAreNotJudged: whoever is logged in may write to anybody.
func TestLoginsAreNotJudged(t *testing.T) {
	_, addr := serve(t, Transactions, nil)
	for n := range 20 {
		m := newMTA(t, addr, guesser)
		m.macros.Set(milter.MacroAuthAuthen, "ann")
		if got := m.mail(); got != "go on" {
			t.Fatalf("after %d: %q", n, got)
		}
		m.rcpt(fmt.Sprintf("guess%d@example.test", n), "5.1.1")
		m.s.Close()
	}
}

func packet(code byte, data string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(data)))
	return append(append(b, code), data...)
}

func TestReadPacket(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		want string // of the error; "" for none
	}{
		{packet('C', "mx.test\x004\x00\x19127.0.0.1\x00"), ""},
		{packet('C', "mx.test\x00"), "ends too early"},
		{packet('C', "mx.test"), "ends too early"},
		{packet('M', "<a@b.test>\x00SIZE=1\x00"), ""},
		{packet('M', "<a@b.test>"), "ends too early"},
		{packet('R', ""), "ends too early"},
		{packet('H', "x"), "ends too early"},
		{packet('Q', ""), ""},
		{[]byte{0, 0, 0, 0}, "of 0 octets"},
		{[]byte{0x1f, 0, 0, 0, 'D'}, "octets"},
		{packet('D', strings.Repeat("x", maxPacket)), "octets"},
		{packet('D', "Mi\x00x\x00")[:6], "unexpected EOF"},
	} {
		got, err := readPacket(bytes.NewReader(c.in))
		if c.want == "" && (err != nil || !bytes.Equal(got, c.in)) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.40q: %.40q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

// FuzzSession throws octets at a whole session: it ends, and the server goes on.
func FuzzSession(f *testing.F) {
	negotiate := packet('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff")
	f.Add(append(negotiate, packet('C', "mx.test\x004\x04\x01192.0.2.1\x00")...))
	f.Add(bytes.Join([][]byte{negotiate, packet('D', "C_\x00x"), packet('C', "m\x004\x04\x01192.0.2.1\x00"), packet('H', "far.test\x00"),
		packet('M', "<a@b.test>\x00"), packet('R', "<c@d.test>\x00"), packet('E', ""), packet('A', ""), packet('K', ""), packet('Q', "")}, nil))
	engine, err := edge.NewSeeded(edge.DefaultRules(), edge.Sizes{Sources: 4096}, 1)
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{Mode: Transactions, Desk: &foreign.Desk{Guard: &edge.Guard{Engine: engine, Clock: edge.NewClock(1, 0)}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	go s.Serve(l)
	f.Cleanup(func() { s.Shutdown(context.Background()) })
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		c.Write(in)
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil && errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("the session does not end")
		}
	})
}
