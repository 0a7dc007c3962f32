// Package logins_test tries the login defence from outside, on real servers,
// with addresses of clients that a listener makes up.
package logins_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/directory"
	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd"
	"github.com/migiwa/migiwa/internal/serve/pop3d"
	"github.com/migiwa/migiwa/internal/serve/receive"
	"github.com/migiwa/migiwa/internal/serve/sasl"
	"github.com/migiwa/migiwa/internal/serve/smtpd"
	"github.com/migiwa/migiwa/internal/serve/submission"
	"github.com/migiwa/migiwa/internal/store/blob"
	"github.com/migiwa/migiwa/internal/store/body"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// failDelay is shorter than in life, and longer than any look-up here.
const failDelay = 80 * time.Millisecond

// front is a listener on loopback whose connections come from where dial says.
type front struct {
	net.Listener
	mu   sync.Mutex // one dial at a time
	from chan *net.TCPAddr
}

type guest struct {
	net.Conn
	from *net.TCPAddr
}

func (g guest) RemoteAddr() net.Addr { return g.from }

func (f *front) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return guest{c, <-f.from}, nil
}

// protocol is one way to log in.
type protocol struct {
	front *front
	name  string
	smtp  bool
	imap  bool
	held  string // what who is held hears
	wrong string
	right string
}

// dial connects with TLS from an address and reads up to where a login may
// begin.
func (p *protocol) dial(from netip.Addr) (*talk, error) {
	p.front.mu.Lock()
	c, err := net.Dial("tcp", p.front.Addr().String())
	if err == nil {
		p.front.from <- net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 40000))
	}
	p.front.mu.Unlock()
	if err != nil {
		return nil, err
	}
	t := &talk{conn: tls.Client(c, &tls.Config{InsecureSkipVerify: true}), smtp: p.smtp, imap: p.imap}
	t.conn.SetDeadline(time.Now().Add(time.Minute))
	t.in = bufio.NewReader(t.conn)
	t.reply()
	if p.smtp {
		t.say("EHLO desk.test")
	}
	return t, t.err
}

// talk is one dialogue; err is the first error of its connection.
type talk struct {
	conn net.Conn
	in   *bufio.Reader
	smtp bool
	imap bool
	tag  string // of IMAP, with its space; empty up to the first command
	err  error
}

func (t *talk) reply() string {
	for t.err == nil {
		var line string
		line, t.err = t.in.ReadString('\n')
		switch {
		case t.err != nil, t.smtp && len(line) >= 4 && line[3] != ' ', t.imap && t.tag != "" && !strings.HasPrefix(line, t.tag):
			continue
		}
		return strings.TrimSpace(strings.TrimPrefix(line, t.tag))
	}
	return ""
}

func (t *talk) say(line string) string {
	if t.imap {
		t.tag = "a "
		line = t.tag + line
	}
	if t.err == nil {
		_, t.err = t.conn.Write([]byte(line + "\r\n"))
	}
	return t.reply()
}

// login tries once and gives the answer and the time it took.
func (t *talk) login(user, password string) (string, time.Duration) {
	verb := "AUTH"
	if t.imap {
		verb = "AUTHENTICATE"
	}
	line := verb + " PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
	start := time.Now()
	return t.say(line), time.Since(start)
}

// house is servers that share their accounts and who may try them.
type house struct {
	logins    *edge.Logins
	protocols []*protocol
}

func newHouse(t *testing.T) *house {
	d := dbtest.SQLite(t)
	dir := &directory.Directory{DB: d, DefaultDomain: "example.test"}
	t.Cleanup(dir.Close)
	var taro directory.Account
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		if _, err := dir.CreateDomain(tx, "example.test", directory.DefaultDomainSettings()); err != nil {
			return err
		}
		a, err := mail.ParseAddress("taro@example.test")
		if err == nil {
			taro, err = dir.CreateAccount(tx, directory.Account{Address: a, State: directory.Active}, directory.Credential{})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := edge.New(edge.LoginRules(1e6), edge.LoginSizes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	h := &house{logins: &edge.Logins{Engine: engine, Clock: edge.NewClock(1, 0), Domain: "example.test"}}
	server := &sasl.Server{Logins: h.logins, Verify: slowDirectory(strconv.FormatInt(taro.ID, 10))}
	h.serveSubmission(t, dir, server)
	h.servePOP3(t, d, server)
	h.serveIMAP(t, d, server)
	return h
}

// slowDirectory finds at once what is right, and tells by its own time whether
// an account exists: the servers have to hide that.
func slowDirectory(number string) func(context.Context, string, string) (string, error) {
	return func(_ context.Context, user, password string) (string, error) {
		switch {
		case user != "taro@example.test":
			time.Sleep(time.Millisecond)
			return "", sasl.ErrDenied
		case password != "right":
			time.Sleep(20 * time.Millisecond)
			return "", sasl.ErrDenied
		}
		return number, nil
	}
}

func (h *house) serveSubmission(t *testing.T, dir *directory.Directory, logins *sasl.Server) {
	s := &smtpd.Server{Hostname: "mx.example.test", TLS: serverTLS(t), Implicit: true, Handler: &submission.Handler{
		Reception: receive.Reception{Role: "submission", Hostname: "mx.example.test", Directory: dir},
		SASL:      logins, FailDelay: failDelay}}
	h.protocols = append(h.protocols, &protocol{name: "submission", smtp: true, front: serve(t, s.Serve, s.Shutdown),
		held: "454 4.7.0 Temporary authentication failure", wrong: "535 5.7.8 Authentication credentials invalid", right: "235 "})
}

func (h *house) servePOP3(t *testing.T, d *db.DB, logins *sasl.Server) {
	blobs, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { blobs.Close() })
	locks, err := pop3d.OpenLocks(filepath.Join(t.TempDir(), "locks"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { locks.Close() })
	s := &pop3d.Server{Hostname: "pop.example.test", TLS: serverTLS(t), Implicit: true, SASL: logins, Locks: locks,
		Mailboxes: &mailbox.Store{DB: d, Bodies: &body.Store{DB: d, Blobs: blobs}},
		Account:   func(_ context.Context, n string) (int64, error) { return strconv.ParseInt(n, 10, 64) },
		Limits:    pop3d.Limits{FailDelay: failDelay}}
	h.protocols = append(h.protocols, &protocol{name: "pop3", front: serve(t, s.Serve, s.Shutdown),
		held: "-ERR [SYS/TEMP] Temporary problem, try again later", wrong: "-ERR [AUTH] Authentication failed", right: "+OK "})
}

func (h *house) serveIMAP(t *testing.T, d *db.DB, logins *sasl.Server) {
	s := &imapd.Server{Hostname: "imap.example.test", TLS: serverTLS(t), Implicit: true, SASL: logins, Mailboxes: &mailbox.Store{DB: d},
		Account: func(_ context.Context, n string) (int64, error) { return strconv.ParseInt(n, 10, 64) },
		Limits:  imapd.Limits{FailDelay: failDelay}}
	h.protocols = append(h.protocols, &protocol{name: "imap", imap: true, front: serve(t, s.Serve, s.Shutdown),
		held: "NO [UNAVAILABLE] Temporary problem, try again later", wrong: "NO [AUTHENTICATIONFAILED] Authentication failed", right: "OK "})
}

func serve(t *testing.T, run func(net.Listener) error, stop func(context.Context) error) *front {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{Listener: l, from: make(chan *net.TCPAddr)}
	done := make(chan struct{})
	go func() { run(f); close(done) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := stop(ctx); err != nil {
			t.Error(err)
		}
		<-done
	})
	return f
}

func serverTLS(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// convict guesses from an address until it is held.
func (h *house) convict(t *testing.T, from netip.Addr) {
	for i := range 100 {
		r := h.logins.Allow(edge.LoginAttempt{Account: fmt.Sprint("user", i), Password: "guess",
			Client: edge.Client{Remote: netip.AddrPortFrom(from, 1)}})
		if r.Held() {
			return
		}
		r.Done(edge.LoginWrong)
	}
	t.Fatal("100 guesses and no penalty")
}

var guesserAddress = netip.MustParseAddr("203.0.113.5")

// kinds are the attempts that must look alike. A free one comes from an address
// of its own.
var kinds = []struct {
	name, user, password string
	held                 bool
}{
	{"unknown account", "nobody@example.test", "wrong", false},
	{"wrong password", "taro@example.test", "wrong", false},
	{"held, right password", "taro@example.test", "right", true},
	{"held, wrong password", "taro@example.test", "wrong", true},
	{"held, unknown account", "nobody@example.test", "wrong", true},
}

// TestNothingTells compares text, code and time of attempts that fail, over a
// few hundred of each.
func TestNothingTells(t *testing.T) {
	const each, workers = 150, 12
	h := newHouse(t)
	h.convict(t, guesserAddress)
	for _, p := range h.protocols {
		t.Run(p.name, func(t *testing.T) {
			order := make([]int, 0, each*len(kinds))
			for i := range cap(order) {
				order = append(order, i%len(kinds))
			}
			rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			times := make([][]float64, len(kinds))
			var mu sync.Mutex
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for i := w; i < len(order); i += workers {
						k := order[i]
						took, err := p.sample(k, i)
						mu.Lock()
						if err != nil {
							t.Error(err)
						}
						times[k] = append(times[k], took)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			compare(t, times)
		})
	}
}

// sample makes one attempt of a kind and gives the milliseconds it took.
func (p *protocol) sample(kind, i int) (float64, error) {
	k, want := kinds[kind], p.wrong
	from := netip.AddrFrom4([4]byte{100, byte(64 + i/256), byte(i), 1})
	if k.held {
		from, want = guesserAddress, p.held
	}
	talk, err := p.dial(from)
	if err != nil {
		return 0, err
	}
	defer talk.conn.Close()
	got, took := talk.login(k.user, k.password)
	if got != want {
		return 0, fmt.Errorf("%s: %s heard %q (%v), want %q", p.name, k.name, got, talk.err, want)
	}
	return took.Seconds() * 1000, nil
}

// compare fails where the times of two kinds differ by more than chance does
// once in a million (Kolmogorov and Smirnov).
func compare(t *testing.T, times [][]float64) {
	for i := range times {
		slices.Sort(times[i])
		t.Logf("%-22s median %.1f ms, 95 %% %.1f ms", kinds[i].name, times[i][len(times[i])/2], times[i][len(times[i])*95/100])
	}
	n := float64(len(times[0]))
	limit := math.Sqrt(-math.Log(1e-6/2)/2) * math.Sqrt(2/n)
	for i := range times {
		for j := range i {
			if d := distance(times[i], times[j]); d > limit {
				t.Errorf("%s and %s: D = %.3f, more than %.3f", kinds[i].name, kinds[j].name, d, limit)
			}
		}
	}
	// The test can fail: the time by which the directory tells them apart.
	shifted := slices.Clone(times[0])
	for i := range shifted {
		shifted[i] += 19
	}
	if d := distance(times[0], shifted); d <= limit {
		t.Errorf("19 ms would not be seen: D = %.3f; is this machine too busy?", d)
	}
}

// distance is the largest difference between two sorted samples' shares.
func distance(a, b []float64) (d float64) {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		x := min(a[i], b[j])
		for i < len(a) && a[i] <= x {
			i++
		}
		for j < len(b) && b[j] <= x {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return d
}

// TestOwnerGetsIn: an address that guesses is held, on every protocol, and
// whoever has logged in from it before is not.
func TestOwnerGetsIn(t *testing.T) {
	h := newHouse(t)
	for _, p := range h.protocols {
		t.Run(p.name, func(t *testing.T) {
			home := netip.MustParseAddr("192.0.2.10")
			for _, step := range []struct {
				from netip.Addr
				want string
			}{{home, p.right}, {guesserAddress, p.held}, {home, p.right}} {
				h.convict(t, guesserAddress)
				talk, err := p.dial(step.from)
				if err != nil {
					t.Fatal(err)
				}
				if got, _ := talk.login("taro@example.test", "right"); !strings.HasPrefix(got, step.want) {
					t.Errorf("from %v: %q, want %q", step.from, got, step.want)
				}
				talk.conn.Close()
				if step.want == p.held {
					h.convict(t, home) // now by guesses from there, at others
				}
			}
		})
	}
}

// TestFailuresEndTheConnection: three guesses a connection, each slower.
func TestFailuresEndTheConnection(t *testing.T) {
	h := newHouse(t)
	for _, p := range h.protocols {
		t.Run(p.name, func(t *testing.T) {
			talk, err := p.dial(netip.MustParseAddr("198.51.100.3"))
			if err != nil {
				t.Fatal(err)
			}
			defer talk.conn.Close()
			for i := range 3 {
				got, took := talk.login("taro@example.test", fmt.Sprint("guess", i))
				if got != p.wrong || took < time.Duration(i+1)*failDelay {
					t.Errorf("guess %d: %q after %v", i+1, got, took)
				}
			}
			if got := talk.say("NOOP"); got != "" {
				t.Errorf("after three guesses: %q", got)
			}
		})
	}
}
