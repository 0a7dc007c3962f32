package pop3d

import (
	"bufio"
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
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/sasl"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
	"go.uber.org/goleak"
)

// TestMain lets the test binary be another process that holds a lock.
func TestMain(m *testing.M) {
	if path := os.Getenv("POP3_TEST_LOCK"); path != "" {
		l, err := OpenLocks(path)
		if err == nil {
			_, err = l.lock(7)
		}
		fmt.Println(err)
		io.Copy(io.Discard, os.Stdin)
		return
	}
	goleak.VerifyTestMain(m)
}

// certificate is made once a process.
var certificate = func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"pop.example.test"}, NotAfter: time.Now().Add(100 * 365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}()

// inboxOf is what every test's user finds: three messages.
var inboxOf = []string{
	"Subject: one\r\n\r\nfirst line\r\n.dot\r\n..\r\n.\r\nlast line\r\n",
	"Subject: two\r\nX-Long: " + strings.Repeat("x", 900) + "\r\n\r\n",
	"Subject: three\r\n\r\nno newline at the end",
}

// house is a server with what is below it.
type house struct {
	*Server
	account int64
}

func newHouse(t testing.TB) *house { return newHouseOn(t, dbtest.SQLite(t)) }

func newHouseOn(t testing.TB, d *db.DB) *house {
	t.Helper()
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	locks, err := OpenLocks(filepath.Join(t.TempDir(), "locks"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { locks.Close() })
	boxes := &mailbox.Store{DB: d, Bodies: &body.Store{DB: d, Blobs: blobs}}
	h := &house{}
	err = d.Write(context.Background(), func(tx *db.Tx) error {
		domain, err := tx.Insert(`INSERT INTO domain (name, created) VALUES ('example.test', 1) RETURNING id`)
		if err != nil {
			return err
		}
		h.account, err = tx.Insert(`INSERT INTO account (domain, addresskey, address, created, changed) VALUES (?, 'a', 'a', 1, 1) RETURNING id`, domain)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Server = &Server{Hostname: "pop.example.test", Mailboxes: boxes, Locks: locks,
		TLS:     &tls.Config{Certificates: []tls.Certificate{certificate}},
		SASL:    &sasl.Server{Verify: verify},
		Account: func(context.Context, string) (int64, error) { return h.account, nil },
	}
	for _, m := range inboxOf {
		h.deliver(t, m)
	}
	t.Cleanup(func() {
		h.door.Wait()
		if found, err := boxes.Check(context.Background()); err != nil || len(found) > 0 {
			t.Errorf("check: %v, %v", found, err)
		}
	})
	return h
}

func verify(_ context.Context, user, password string) (string, error) {
	switch {
	case user == "trouble":
		return "", errors.New("database is down")
	case user == "slow":
		time.Sleep(time.Second)
	case user == "alice" && password == "open sesame":
		return "alice@example.test", nil
	}
	return "", sasl.ErrDenied
}

func (h *house) deliver(t testing.TB, text string) {
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
			_, err = h.Mailboxes.Deliver(tx, h.account, "", mailbox.NewMessage{Body: id, BodySize: b.Size, Counted: true, Prefix: []byte("X: p\r\n")})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// messages gives the UIDs in the INBOX, those that are seen negative.
func (h *house) messages(t testing.TB) string {
	t.Helper()
	f, err := h.Mailboxes.Folder(context.Background(), h.account, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for m, err := range h.Mailboxes.List(context.Background(), f.ID, mailbox.All[0]) {
		if err != nil {
			t.Fatal(err)
		}
		s := strconv.Itoa(int(m.UID))
		if m.Flags&mailbox.Seen != 0 {
			s += "s"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// client speaks to a server, in clear until startTLS.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// dial connects in memory.
func (h *house) dial(t testing.TB) *client {
	h.init()
	c, s := pipe()
	h.door.Enter(s)
	t.Cleanup(func() { c.Close() })
	return &client{t: t, conn: c, r: bufio.NewReader(c)}
}

func (c *client) startTLS() {
	c.t.Helper()
	tc := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = tc, bufio.NewReader(tc)
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return strings.TrimSuffix(s, "\r\n")
}

// expect reads a line; a * at the end of want stands for anything.
func (c *client) expect(want string) {
	c.t.Helper()
	got := c.line()
	if start, ok := strings.CutSuffix(want, "*"); got != want && (!ok || !strings.HasPrefix(got, start)) {
		c.t.Fatalf("got  %q\nwant %q", got, want)
	}
}

func (c *client) cmd(line, want string) {
	c.t.Helper()
	c.send(line + "\r\n")
	c.expect(want)
}

func (c *client) closed() {
	c.t.Helper()
	if got := c.line(); got != "(EOF)" {
		c.t.Fatalf("got %q, want the end", got)
	}
}

// login begins TLS and logs in.
func (h *house) login(t testing.TB) *client {
	t.Helper()
	c := h.dial(t)
	c.expect("+OK *")
	c.cmd("STLS", "+OK *")
	c.startTLS()
	c.cmd("USER alice", "+OK")
	c.cmd("PASS open sesame", "+OK *")
	return c
}

// TestDialogues runs testdata/*.pop3: "C: " is sent, "C= " is sent as a Go
// string without an end added, "S: " must come, "TLS" begins TLS, "LOGIN" logs
// in, "CLOSED" is the server's end, "BOX: " is what the INBOX holds then.
func TestDialogues(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.pop3")
	if len(files) < 5 {
		t.Fatalf("only %d dialogues", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h := newHouse(t)
			h.Limits = Limits{FailDelay: time.Millisecond}
			c := h.dial(t)
			for i, line := range strings.Split(strings.TrimSpace(string(script)), "\n") {
				c.step(h, fmt.Sprintf("line %d: ", i+1), line)
			}
		})
	}
}

func (c *client) step(h *house, where, line string) {
	c.t.Helper()
	verb, arg := line, ""
	if len(line) > 1 && (line[1] == ':' || line[1] == '=') {
		verb, arg = line[:2], strings.TrimPrefix(line[2:], " ")
	}
	switch verb {
	case "", "#:":
	case "C:":
		c.send(arg + "\r\n")
	case "C=":
		raw, err := strconv.Unquote(arg)
		if err != nil {
			c.t.Fatal(where, err)
		}
		c.send(raw)
	case "S:":
		got := c.line()
		if start, ok := strings.CutSuffix(arg, "*"); got != arg && (!ok || !strings.HasPrefix(got, start)) {
			c.t.Fatalf("%sgot %q, want %q", where, got, arg)
		}
	case "B:":
		if got := h.messages(c.t); got != arg {
			c.t.Fatalf("%smailbox has %s, want %s", where, got, arg)
		}
	case "TLS":
		c.startTLS()
	case "LOGIN":
		c.expect("+OK *")
		c.cmd("STLS", "+OK *")
		c.startTLS()
		c.cmd("USER alice", "+OK")
		c.cmd("PASS open sesame", "+OK 3 messages*")
	case "CLOSED":
		c.closed()
	default:
		c.t.Fatalf("%sunknown: %s", where, line)
	}
}

func TestImplicitTLS(t *testing.T) {
	h := newHouse(t)
	h.Implicit = true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &client{t: t, conn: conn, r: bufio.NewReader(conn)}
	c.expect("+OK pop.example.test ready")
	c.cmd("STLS", "-ERR *")
	c.cmd("USER alice", "+OK")
	c.cmd("PASS open sesame", "+OK 3 messages*")

	// Shutdown lets go of who waits, and says so.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	c.expect("-ERR [SYS/TEMP] Shutting down, try again later")
	c.closed()
	if err := <-done; !errors.Is(err, ErrServerClosed) {
		t.Fatal(err)
	}
	if err := h.Serve(l); !errors.Is(err, ErrServerClosed) {
		t.Fatal(err)
	}
}

func TestBareConnectionIsShutDown(t *testing.T) {
	h := newHouse(t)
	h.Implicit = true
	c := h.dial(t) // never begins its handshake
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.closed()
}

func TestTimeBeforeLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		start := time.Now()
		idle := h.dial(t)
		idle.expect("+OK *")
		busy := h.dial(t)
		busy.expect("+OK *")
		go func() { // a command now and then, and a line that never ends
			for i := 0; time.Since(start) < 170*time.Second; i++ {
				busy.conn.Write([]byte("NOOP\r\n"[:1+5*((i+1)%2)]))
				time.Sleep(10 * time.Second)
			}
		}()
		idle.closed()
		if took := time.Since(start); took != 3*time.Minute {
			t.Errorf("closed after %v", took)
		}
		io.Copy(io.Discard, busy.conn)
		if took := time.Since(start); took != 3*time.Minute {
			t.Errorf("the busy one closed after %v", took)
		}
	})
}

func TestIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		c := h.login(t)
		for range 3 {
			time.Sleep(9 * time.Minute)
			c.cmd("NOOP", "+OK")
		}
		c.cmd("DELE 1", "+OK *")
		start := time.Now()
		c.closed()
		if took := time.Since(start); took != 10*time.Minute {
			t.Errorf("closed after %v", took)
		}
		h.door.Wait()
		if got := h.messages(t); got != "1 2 3" {
			t.Errorf("mailbox has %s: no QUIT, no UPDATE", got)
		}
		h.login(t).cmd("STAT", "+OK 3 *") // the lock is free again
	})
}

// The time to a failure tells nothing, and grows.
func TestFailuresTakeTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for _, user := range []string{"alice", "nobody", "slow", "trouble"} {
			c := h.dial(t)
			c.expect("+OK *")
			c.cmd("STLS", "+OK *")
			c.startTLS()
			for i := range 3 {
				c.cmd("USER "+user, "+OK")
				start := time.Now()
				want := "-ERR [AUTH] Authentication failed"
				if user == "trouble" {
					want = "-ERR [SYS/TEMP] *"
				}
				c.cmd("PASS wrong", want)
				if took := time.Since(start); took != time.Duration(i+1)*2*time.Second {
					t.Errorf("%s: attempt %d took %v", user, i, took)
				}
			}
			c.closed()
		}
	})
}

func TestOneSessionAMailbox(t *testing.T) {
	h := newHouse(t)
	h.Limits.FailDelay = time.Millisecond
	first := h.login(t)
	second := h.dial(t)
	second.expect("+OK *")
	second.cmd("STLS", "+OK *")
	second.startTLS()
	second.cmd("USER alice", "+OK")
	second.cmd("PASS open sesame", "-ERR [IN-USE] *")
	first.cmd("QUIT", "+OK *")
	first.closed()
	second.cmd("USER alice", "+OK")
	second.cmd("PASS open sesame", "+OK *")
}

// TestQuitFreesTheMailbox keeps the mailbox from being freed: QUIT must not be
// answered before, since clients log in again at once.
func TestQuitFreesTheMailbox(t *testing.T) {
	h := newHouse(t)
	c := h.login(t)
	answered := make(chan struct{})
	h.Locks.mu.Lock()
	go func() {
		defer close(answered)
		c.cmd("QUIT", "+OK *")
	}()
	select {
	case <-answered:
		t.Error("QUIT was answered while the mailbox was locked")
	case <-time.After(50 * time.Millisecond):
	}
	h.Locks.mu.Unlock()
	<-answered
	unlock, err := h.Locks.lock(h.account)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestLocksBetweenProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locks")
	here, err := OpenLocks(path)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "POP3_TEST_LOCK="+path)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "<nil>\n" {
		t.Fatalf("other process: %s", line)
	}
	if _, err := here.lock(7); !errors.Is(err, errInUse) {
		t.Fatalf("locked twice: %v", err)
	}
	if _, err := here.lock(8); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	unlock, err := here.lock(7)
	if err != nil {
		t.Fatalf("after its owner died: %v", err)
	}
	if _, err := here.lock(7); !errors.Is(err, errInUse) {
		t.Fatalf("locked twice: %v", err)
	}
	other, err := OpenLocks(path) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.lock(7); !errors.Is(err, errInUse) {
		t.Fatalf("locked twice: %v", err)
	}
	unlock()
	if _, err := other.lock(7); err != nil {
		t.Fatal(err)
	}
}

func TestTooManyConnections(t *testing.T) {
	h := newHouse(t)
	h.Limits.Connections = 2
	h.dial(t).expect("+OK *")
	first := h.dial(t)
	first.expect("+OK *")
	third := h.dial(t)
	third.expect("-ERR [SYS/TEMP] Too busy, try again later")
	third.closed()
}

// Messages that come during a session are not shown; those that go are missed.
func TestSnapshot(t *testing.T) {
	h := newHouse(t)
	c := h.login(t)
	h.deliver(t, inboxOf[0])
	c.cmd("STAT", "+OK 3 *")
	f, _ := h.Mailboxes.Folder(t.Context(), h.account, "")
	if _, _, err := h.Mailboxes.Expunge(t.Context(), f.ID, []mailbox.Range{{First: 2, Last: 2}}, false); err != nil {
		t.Fatal(err)
	}
	c.cmd("RETR 2", "-ERR Message is gone*")
	c.cmd("DELE 2", "+OK *")
	c.cmd("DELE 3", "+OK *")
	c.cmd("QUIT", "+OK Bye")
	h.door.Wait()
	if got := h.messages(t); got != "1 4" {
		t.Errorf("mailbox has %s", got)
	}
}
