package sasl

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	gosasl "github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
	"go.uber.org/goleak"

	"github.com/migiwa/migiwa/internal/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errTrouble = errors.New("database away")

// accounts is a Server that knows taro, jiro (who has no SCRAM keys) and
// trouble.
func accounts(t *testing.T) *Server {
	t.Helper()
	secret, err := PreparePassword("pa\u00a0ss") // OpaqueString makes it a plain space
	if err != nil || secret != "pa ss" {
		t.Fatal(secret, err)
	}
	client, err := scram.SHA256.NewClientUnprepped("taro", secret, "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 5000})
	if err != nil {
		t.Fatal(err)
	}
	return &Server{
		Secret:     []byte("0123456789abcdef0123456789abcdef"),
		Iterations: 5000,
		Verify: func(_ context.Context, user, password string) (string, error) {
			switch {
			case user == "trouble":
				return "", errTrouble
			case (user == "taro" || user == "jiro") && password == "pa ss":
				return user + "@example.jp", nil
			}
			return "", fmt.Errorf("no %s: %w", user, ErrDenied)
		},
		Scram: func(_ context.Context, user string) (Keys, error) {
			switch user {
			case "trouble":
				return Keys{}, errTrouble
			case "taro":
				return Keys{Account: "taro@example.jp", Iterations: 5000, Salt: []byte(stored.Salt), StoredKey: stored.StoredKey, ServerKey: stored.ServerKey}, nil
			}
			return Keys{}, fmt.Errorf("no %s: %w", user, ErrDenied)
		},
	}
}

// tlsPair gives both ends' states of a real TLS connection.
func tlsPair(t *testing.T, max uint16) (server, client *tls.ConnectionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: max})
	c := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MaxVersion: max})
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		done <- err
	}()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ss, cs := s.ConnectionState(), c.ConnectionState()
	return &ss, &cs
}

// script is an exchange with fixed responses.
func script(t *testing.T, want []string, responses ...string) Exchange {
	n := 0
	return func(challenge []byte) ([]byte, error) {
		if n >= len(responses) {
			t.Fatalf("challenge %q too many", challenge)
		}
		if n < len(want) && string(challenge) != want[n] {
			t.Fatalf("challenge %q, want %q", challenge, want[n])
		}
		n++
		if responses[n-1] == "*" {
			return nil, ErrCancelled
		}
		return []byte(responses[n-1]), nil
	}
}

func TestPlainAndLogin(t *testing.T) {
	s := accounts(t)
	state, _ := tlsPair(t, tls.VersionTLS13)
	for _, c := range []struct {
		name, mechanism string
		initial         []byte
		challenges      []string
		responses       []string
		want            error
	}{
		{"at once", "PLAIN", []byte("\x00taro\x00pa ss"), nil, nil, nil},
		{"in lower case", "plain", []byte("\x00TARO\x00pa\u00a0ss"), nil, nil, nil},
		{"asked", "PLAIN", nil, []string{""}, []string{"taro\x00taro\x00pa ss"}, nil},
		{"wrong password", "PLAIN", []byte("\x00taro\x00wrong"), nil, nil, ErrDenied},
		{"unknown user", "PLAIN", []byte("\x00goro\x00pa ss"), nil, nil, ErrDenied},
		{"for somebody else", "PLAIN", []byte("jiro\x00taro\x00pa ss"), nil, nil, ErrDenied},
		{"trouble", "PLAIN", []byte("\x00trouble\x00pa ss"), nil, nil, errTrouble},
		{"no parts", "PLAIN", []byte("taro"), nil, nil, ErrMalformed},
		{"empty", "PLAIN", []byte{}, nil, nil, ErrMalformed},
		{"four parts", "PLAIN", []byte("\x00taro\x00pa\x00ss"), nil, nil, ErrMalformed},
		{"empty password", "PLAIN", []byte("\x00taro\x00"), nil, nil, ErrMalformed},
		{"empty name", "PLAIN", []byte("\x00\x00pa ss"), nil, nil, ErrMalformed},
		{"too long", "PLAIN", []byte("\x00taro\x00" + strings.Repeat("x", maxMessage)), nil, nil, ErrMalformed},
		{"too long an answer", "PLAIN", nil, nil, []string{strings.Repeat("x", maxMessage+1)}, ErrMalformed},
		{"cancelled", "PLAIN", nil, nil, []string{"*"}, ErrCancelled},
		{"LOGIN", "LOGIN", nil, []string{"Username:", "Password:"}, []string{"taro", "pa ss"}, nil},
		{"LOGIN with a name", "LOGIN", []byte("taro"), []string{"Password:"}, []string{"pa ss"}, nil},
		{"LOGIN, wrong", "LOGIN", []byte("taro"), nil, []string{"x"}, ErrDenied},
		{"LOGIN, cancelled", "LOGIN", nil, nil, []string{"taro", "*"}, ErrCancelled},
		{"unknown mechanism", "CRAM-MD5", nil, nil, nil, ErrMechanism},
	} {
		t.Run(c.name, func(t *testing.T) {
			who, err := s.Run(t.Context(), edge.Client{}, c.mechanism, c.initial, script(t, c.challenges, c.responses...), state)
			if !errors.Is(err, c.want) || (err == nil) != (who == "taro@example.jp") {
				t.Fatalf("%q, %v, want %v", who, err, c.want)
			}
		})
	}
	if _, err := s.Run(t.Context(), edge.Client{}, "PLAIN", []byte("\x00taro\x00pa ss"), nil, nil); !errors.Is(err, ErrMechanism) {
		t.Fatalf("without TLS: %v", err)
	}
}

// TestGoSASLClients runs another implementation's clients.
func TestGoSASLClients(t *testing.T) {
	s := accounts(t)
	state, _ := tlsPair(t, tls.VersionTLS13)
	for _, c := range []gosasl.Client{gosasl.NewPlainClient("", "taro", "pa ss"), gosasl.NewLoginClient("taro", "pa ss")} {
		name, initial, err := c.Start()
		if err != nil {
			t.Fatal(err)
		}
		who, err := s.Run(t.Context(), edge.Client{}, name, initial, c.Next, state)
		if who != "taro@example.jp" || err != nil {
			t.Fatalf("%s: %q, %v", name, who, err)
		}
	}
}

func TestMechanisms(t *testing.T) {
	s := accounts(t)
	new, _ := tlsPair(t, tls.VersionTLS13)
	if m := s.Mechanisms(new); !slices.Equal(m, []string{ScramSHA256Plus, ScramSHA256, Plain, Login}) {
		t.Fatal(m)
	}
	if m := s.Mechanisms(&tls.ConnectionState{}); !slices.Equal(m, []string{ScramSHA256, Plain, Login}) {
		t.Fatal(m)
	}
	if m := s.Mechanisms(nil); m != nil {
		t.Fatal(m)
	}
	if m := (&Server{Verify: s.Verify}).Mechanisms(new); !slices.Equal(m, []string{Plain, Login}) {
		t.Fatal(m)
	}
}

// client runs a SCRAM conversation as an Exchange and remembers what it saw.
type client struct {
	conv  *scram.ClientConversation
	first string
	err   error
}

func (c *client) next(challenge []byte) ([]byte, error) {
	if c.first == "" && len(challenge) > 0 {
		c.first = string(challenge)
	}
	r, err := c.conv.Step(string(challenge))
	if err != nil {
		c.err = err
		return nil, ErrCancelled
	}
	return []byte(r), nil
}

func converse(t *testing.T, s *Server, mechanism string, conv *scram.ClientConversation, state *tls.ConnectionState) (string, *client, error) {
	t.Helper()
	c := &client{conv: conv}
	initial, err := conv.Step("")
	if err != nil {
		t.Fatal(err)
	}
	who, err := s.Run(t.Context(), edge.Client{}, mechanism, []byte(initial), c.next, state)
	if err == nil && !conv.Valid() {
		t.Fatal("the server believes the client and the client not the server")
	}
	return who, c, err
}

func newClient(t *testing.T, user, password, authzid string) *scram.Client {
	t.Helper()
	c, err := scram.SHA256.NewClientUnprepped(user, password, authzid)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestScram(t *testing.T) {
	s := accounts(t)
	state, _ := tlsPair(t, tls.VersionTLS13)
	for _, c := range []struct {
		user, password, authzid string
		want                    error
	}{
		{"taro", "pa ss", "", nil},
		{"Taro", "pa ss", "taro", nil},
		{"taro", "pa ss", "jiro", ErrDenied},
		{"taro", "wrong", "", ErrDenied},
		{"jiro", "pa ss", "", ErrDenied},
		{"goro", "pa ss", "", ErrDenied},
		{"trouble", "pa ss", "", errTrouble},
		{"ta ro", "pa ss", "", ErrMalformed},
	} {
		who, _, err := converse(t, s, ScramSHA256, newClient(t, c.user, c.password, c.authzid).NewConversation(), state)
		if !errors.Is(err, c.want) || (err == nil) != (who == "taro@example.jp") {
			t.Errorf("%+v: %q, %v", c, who, err)
		}
	}
	for _, m := range []string{"", "n,,", "n,,n=taro", "n,,n=ta,ro,r=x", "x,,n=taro,r=x", "n,,m=x,n=taro,r=x", "y,,n=taro,r=abc", "\x00"} {
		if _, err := s.Run(t.Context(), edge.Client{}, ScramSHA256, []byte(m), script(t, nil), state); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", m, err)
		}
	}
}

func TestScramPlus(t *testing.T) {
	s := accounts(t)
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		server, ours := tlsPair(t, version)
		other, _ := tlsPair(t, version)
		bind, err := scram.NewTLSExporterBinding(ours)
		if err != nil {
			t.Fatal(err)
		}
		plus := func() *scram.ClientConversation {
			return newClient(t, "taro", "pa ss", "").NewConversationWithChannelBinding(bind)
		}
		if who, _, err := converse(t, s, ScramSHA256Plus, plus(), server); err != nil || who != "taro@example.jp" {
			t.Fatal(who, err)
		}
		if _, _, err := converse(t, s, ScramSHA256Plus, plus(), other); !errors.Is(err, ErrDenied) {
			t.Fatalf("through another channel: %v", err)
		}
		if _, _, err := converse(t, s, ScramSHA256, plus(), server); !errors.Is(err, ErrMalformed) {
			t.Fatalf("a binding without PLUS: %v", err)
		}
		none := newClient(t, "taro", "pa ss", "").NewConversation()
		if _, _, err := converse(t, s, ScramSHA256Plus, none, server); !errors.Is(err, ErrMalformed) {
			t.Fatalf("PLUS without a binding: %v", err)
		}
		// Somebody in the middle has taken PLUS out of what we offered.
		down := newClient(t, "taro", "pa ss", "").NewConversationAdvertisingChannelBinding()
		if _, _, err := converse(t, s, ScramSHA256, down, server); err == nil {
			t.Fatal("a downgrade was not noticed")
		}
	}
	if _, err := s.Run(t.Context(), edge.Client{}, ScramSHA256Plus, nil, nil, &tls.ConnectionState{}); !errors.Is(err, ErrMechanism) {
		t.Fatal(err)
	}
}

// TestUnknownLooksKnown asks for somebody who does not exist: salt, iterations
// and the course of the exchange must not show it.
func TestUnknownLooksKnown(t *testing.T) {
	s := accounts(t)
	state, _ := tlsPair(t, tls.VersionTLS13)
	told := func(s *Server, user string) string {
		_, c, err := converse(t, s, ScramSHA256, newClient(t, user, "wrong", "").NewConversation(), state)
		if !errors.Is(err, ErrDenied) || c.err != nil {
			t.Fatalf("%s: %v, the client: %v", user, err, c.err)
		}
		_, facts, _ := strings.Cut(c.first, ",")
		return facts
	}
	known, unknown := told(s, "taro"), told(s, "goro")
	if len(known) != len(unknown) || known[len(known)-7:] != unknown[len(unknown)-7:] {
		t.Fatalf("%q and %q", known, unknown)
	}
	if again := told(s, "GORO"); again != unknown {
		t.Fatalf("%q, then %q", unknown, again)
	}
	if told(s, "saburo") == unknown {
		t.Fatal("two unknown users have one salt")
	}
	s.Secret = []byte("another secret..")
	if told(s, "goro") == unknown {
		t.Fatal("the salt does not depend on the secret")
	}
}
