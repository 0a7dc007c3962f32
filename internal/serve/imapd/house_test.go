package imapd

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/mailbox/fulltext"
	"github.com/migiwa/migiwa/internal/serve/sasl"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// certificate is made once a process.
var certificate = func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"imap.example.test"}, NotAfter: time.Now().Add(100 * 365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}()

// people are the addresses of accounts 1, 2 and 3. The third cannot log in.
var people = []string{"alice@example.test", "bob@example.test", "carol@example.test"}

// house is a server with what is below it, for users alice and bob, who are
// accounts 1 and 2, with the password "open sesame".
type house struct {
	*Server
	addr string
}

func newHouse(t testing.TB) *house { return newHouseOn(t, dbtest.SQLite(t)) }

// newHouseWith is newHouse with other settings.
func newHouseWith(t testing.TB, edit func(*Server)) *house {
	return newHouseOn(t, dbtest.SQLite(t), edit)
}

func newHouseOn(t testing.TB, d *db.DB, edits ...func(*Server)) *house {
	t.Helper()
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	notices, err := bus.Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notices.Close() })
	boxes := &mailbox.Store{DB: d, Bodies: &body.Store{DB: d, Blobs: blobs}, Bus: notices}
	err = d.Write(context.Background(), func(tx *db.Tx) error {
		domain, err := tx.Insert(`INSERT INTO domain (name, created) VALUES ('example.test', 1) RETURNING id`)
		for _, name := range people {
			if err == nil {
				_, err = tx.Insert(`INSERT INTO account (domain, addresskey, address, created, changed) VALUES (?, ?, ?, 1, 1) RETURNING id`, domain, name, name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{Server: &Server{Hostname: "imap.example.test", Mailboxes: boxes, Implicit: true, Fulltext: &fulltext.Index{DB: d, Mailboxes: boxes},
		TLS:     &tls.Config{Certificates: []tls.Certificate{certificate}},
		SASL:    &sasl.Server{Verify: verify},
		Contact: "mailto:postmaster@example.test",
		Account: func(_ context.Context, name string) (int64, error) { return strconv.ParseInt(name, 10, 64) },
		Limits:  Limits{FailDelay: 10 * time.Millisecond},
		Shelf:   &Shelf{begun: time.Now().Add(time.Hour)}, // nothing is \Recent; tests of that have a new one
		Owner: func(_ context.Context, a mail.Address) (int64, error) {
			return int64(slices.Index(people, a.Key()) + 1), nil
		},
		Address: func(_ context.Context, account int64) (string, error) { return people[account-1], nil },
	}}
	for _, edit := range edits {
		edit(h.Server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	go h.Serve(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		h.Shutdown(ctx)
		if found, err := boxes.Check(context.Background()); err != nil || len(found) > 0 {
			t.Errorf("check: %v, %v", found, err)
		}
	})
	return h
}

func verify(_ context.Context, user, password string) (string, error) {
	number := map[string]string{"alice": "1", "bob": "2"}[user]
	if number == "" || password != "open sesame" {
		return "", sasl.ErrDenied
	}
	return number, nil
}

// deliver puts a message into a folder of an account.
func (h *house) deliver(t testing.TB, account int64, folder, text string) {
	t.Helper()
	w, err := h.Mailboxes.Bodies.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	io.WriteString(w, text)
	b, err := w.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	err = h.Mailboxes.DB.Write(context.Background(), func(tx *db.Tx) error {
		id, err := h.Mailboxes.Bodies.Add(tx, b, 1)
		if err == nil {
			_, err = h.Mailboxes.Deliver(tx, account, folder, mailbox.NewMessage{Body: id, BodySize: b.Size, Counted: true, Received: time.Now()})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// client is one connection of a test.
type client struct {
	t   testing.TB
	nc  net.Conn
	r   *bufio.Reader
	tag int
}

// dial connects and reads the greeting.
func (h *house) dial(t testing.TB) *client {
	t.Helper()
	nc, err := tls.Dial("tcp", h.addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := &client{t: t, nc: nc, r: bufio.NewReader(nc)}
	if line := c.line(); !strings.HasPrefix(line, "* OK ") {
		t.Fatalf("greeting %q", line)
	}
	return c
}

// login is dial, logged in.
func (h *house) login(t testing.TB, user string) *client {
	t.Helper()
	c := h.dial(t)
	c.ok(`LOGIN ` + user + ` "open sesame"`)
	return c
}

// send writes octets as they stand.
func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, text); err != nil {
		c.t.Fatal(err)
	}
}

// line reads one response without its end; literals stand in it as they came.
func (c *client) line() string {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	var b strings.Builder
	for {
		part, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("after %q: %v", b.String()+part, err)
		}
		b.WriteString(part)
		trimmed := strings.TrimSuffix(part, "\r\n")
		open := strings.LastIndexByte(trimmed, '{')
		if open < 0 || !strings.HasSuffix(trimmed, "}") {
			return strings.TrimSuffix(b.String(), "\r\n")
		}
		n, err := strconv.Atoi(trimmed[open+1 : len(trimmed)-1])
		if err != nil {
			return strings.TrimSuffix(b.String(), "\r\n")
		}
		if _, err := io.CopyN(&b, c.r, int64(n)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// do gives a command and returns the untagged responses and the tagged one,
// without its tag. Commands with literals send them as LITERAL+.
func (c *client) do(command string) (untagged []string, tagged string) {
	c.t.Helper()
	c.tag++
	tag := fmt.Sprintf("t%d", c.tag)
	c.send(tag + " " + command + "\r\n")
	for {
		line := c.line()
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			return untagged, rest
		}
		untagged = append(untagged, line)
	}
}

// ok is do for a command that must succeed.
func (c *client) ok(command string) []string {
	c.t.Helper()
	untagged, tagged := c.do(command)
	if !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("%s: %s", command, tagged)
	}
	return untagged
}

// no is do for a command that must be refused with that beginning of the
// tagged response.
func (c *client) no(command, begins string) {
	c.t.Helper()
	if _, tagged := c.do(command); !strings.HasPrefix(tagged, begins) {
		c.t.Fatalf("%s: %s, want %s", command, tagged, begins)
	}
}

// has fails unless one of the responses is line.
func has(t testing.TB, responses []string, line string) {
	t.Helper()
	for _, r := range responses {
		if r == line {
			return
		}
	}
	t.Fatalf("no %q in %q", line, responses)
}
