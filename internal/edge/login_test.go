package edge

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
)

func newLogins(t testing.TB, disclosure float64) *Logins {
	t.Helper()
	e, err := NewSeeded(LoginRules(disclosure), Sizes{Sources: 4096, Identities: 1 << 15, Networks: 1 << 12}, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return &Logins{Engine: e, Clock: NewClock(1, 0), Domain: "example.test"}
}

// login makes one attempt, of which right tells the outcome, and tells whether
// it was held.
func (l *Logins) login(now Time, ip, account, password string, right bool) (held bool) {
	return l.attempt(now, LoginAttempt{Account: account, Password: password,
		Client: Client{Role: "pop3", Remote: netip.AddrPortFrom(netip.MustParseAddr(ip), 4000)}}, right).Held()
}

func (l *Logins) attempt(now Time, t LoginAttempt, right bool) *LoginRuling {
	r := l.allow(t, now)
	if right {
		r.Done(LoginRight)
	} else {
		r.Done(LoginWrong)
	}
	return r
}

// drain spends the disclosure budget: a wave of guesses, one a source.
func (l *Logins) drain(now Time) {
	for i := range 3000 {
		l.login(now, fmt.Sprintf("203.%d.%d.7", i/250, i%250), fmt.Sprint("somebody", i), fmt.Sprint("guess", now), false)
	}
}

const loginStart = Time(1_800_000_000)

func TestKnownPlaceStaysOpen(t *testing.T) {
	l := newLogins(t, 30)
	now := loginStart
	if l.login(now, "192.0.2.10", "taro", "right", true) {
		t.Fatal("held at once")
	}
	l.drain(now + 60)
	if !l.login(now+120, "198.51.100.9", "taro", "right", true) {
		t.Error("in a wave of guesses, an unknown place was let in without proof")
	}
	// From the same address and the same network many guess at this account
	// and at others.
	held := 0
	for i := range 900 {
		now += 60
		for _, account := range []string{"taro", fmt.Sprint("other", i)} {
			if l.login(now, "192.0.2.10", account, fmt.Sprint("guess", i), false) {
				held++
			}
		}
		if l.login(now, "192.0.2.10", "taro", "right", true) || l.login(now, "192.0.2.77", "Taro@EXAMPLE.test", "right", true) {
			t.Fatalf("after %d guesses the owner is held", i)
		}
	}
	if held < 800 {
		t.Errorf("only %d of 1800 guesses were held", held)
	}
}

// TestGuessesInAKnownPlaceAreBounded is the price: nobody may try passwords
// without end, not even beside their owner.
func TestGuessesInAKnownPlaceAreBounded(t *testing.T) {
	l := newLogins(t, 30)
	now := loginStart
	l.login(now, "192.0.2.10", "taro", "right", true)
	for i := range guessBurst + 200 {
		now++
		l.login(now, "192.0.2.10", "taro", fmt.Sprint("guess", i), false)
	}
	if !l.login(now, "192.0.2.10", "taro", "right", true) {
		t.Error("no bound: the right password was found by trying on")
	}
	now += 86400
	if l.login(now, "192.0.2.10", "taro", "right", true) {
		t.Error("a day later the owner is still held")
	}
}

func TestStalePasswordConvictsNobody(t *testing.T) {
	for name, everRight := range map[string]bool{"right once": true, "never right": false} {
		l := newLogins(t, 30)
		now := loginStart
		if everRight {
			l.login(now, "192.0.2.10", "taro", "old", true)
		}
		for range 10 * 288 { // ten days, every five minutes
			now += 300
			if l.login(now, "192.0.2.10", "taro", "old", false) {
				t.Fatalf("%s: the old password is held after %d s", name, now-loginStart)
			}
			if now%7200 == 0 { // beside it, somebody's works
				l.login(now, "192.0.2.10", "jiro", "right", true)
			}
		}
		if l.login(now, "192.0.2.10", "hanako", "right", true) {
			t.Errorf("%s: a newcomer behind the same address is held", name)
		}
		if wrong := l.Count(LoginsWrong); wrong > 1 {
			t.Errorf("%s: counted as %d guesses", name, wrong)
		}
	}
}

func TestForgetfulUserIsNotASprayer(t *testing.T) {
	tries := func(account func(i int) string) (n int) {
		l := newLogins(t, 30)
		for ; n < 100 && !l.login(loginStart+Time(20*n), "192.0.2.10", account(n), fmt.Sprint("guess", n), false); n++ {
		}
		return n
	}
	one := tries(func(int) string { return "taro" })
	many := tries(func(i int) string { return fmt.Sprint("user", i) })
	if one < 5 || one > 12 || many < 3 || many > 4 {
		t.Errorf("%d wrong passwords of one account and %d of many accounts were looked at", one, many)
	}
}

func TestRetryOpensTheGate(t *testing.T) {
	l := newLogins(t, 30)
	l.drain(loginStart)
	now := loginStart + 60
	for i := range 20 { // never the same
		if !l.login(now+Time(5*i), "198.51.100.8", "saburo", fmt.Sprint("guess", i), false) {
			t.Fatal("a guess was looked at")
		}
	}
	if !l.login(now, "198.51.100.9", "taro", "right", true) || !l.login(now+10, "198.51.100.9", "taro", "right", true) {
		t.Fatal("let in at once")
	}
	l.drain(now + 600)
	if l.login(now+610, "198.51.100.10", "taro", "right", true) { // the same network: telephones move
		t.Error("ten minutes later still held")
	}
	if l.login(now+620, "198.51.100.9", "taro", "right", true) {
		t.Error("held in a place that is known now")
	}
}

// TestExistenceChangesNothing: an account that is used and a name nobody has
// are judged alike, down to the last bit of the score.
func TestExistenceChangesNothing(t *testing.T) {
	l := newLogins(t, 30)
	now := loginStart
	for i := range 300 {
		now += 600
		l.login(now, "192.0.2.10", "taro", "right", true)
		if i%10 == 0 {
			l.login(now, fmt.Sprintf("198.18.%d.1", i/10), "taro", "right", true) // on travel
		}
		l.login(now, fmt.Sprintf("203.0.%d.%d", i%250, 1+i%5), "taro", fmt.Sprint("g", i), false)
		l.login(now, fmt.Sprintf("203.1.%d.%d", i%250, 1+i%5), "nobody", fmt.Sprint("g", i), false)
		var d [2]Decision
		for k, name := range []string{"taro", "nobody"} {
			r := &LoginRuling{logins: l, try: LoginAttempt{Account: name, Password: "x",
				Client: Client{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), byte(k)}), 1)}}}
			l.describe(r, now)
			d[k] = l.Engine.Decide(&r.attempt)
		}
		if d[0] != d[1] {
			t.Fatalf("after %d rounds: used %+v, unknown %+v", i, d[0], d[1])
		}
	}
}

func TestHiddenPasswords(t *testing.T) {
	l := newLogins(t, 30)
	try := func(now Time, ip, account string, right bool) bool {
		return l.attempt(now, LoginAttempt{Account: account, Hidden: true,
			Client: Client{Remote: netip.AddrPortFrom(netip.MustParseAddr(ip), 1)}}, right).Held()
	}
	now, held := loginStart, 0
	for range 1000 {
		now += 5
		if try(now, "203.0.113.5", "taro", false) {
			held++
		}
	}
	if held < 850 {
		t.Errorf("only %d of 1000 guesses by SCRAM were held", held)
	}
	held = 0
	for i := range 100 {
		if try(now, "203.0.113.6", fmt.Sprint("user", i), false) {
			held++
		}
	}
	if held < 90 {
		t.Errorf("only %d of 100 accounts tried by SCRAM were held", held)
	}
	try(now, "192.0.2.1", "taro", true)
	l.drain(now)
	if try(now+60, "192.0.2.1", "taro", true) {
		t.Error("held in a known place")
	}
}

func TestEventsTellOfGuessers(t *testing.T) {
	dir := t.TempDir()
	rec, err := event.Open(event.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	l := newLogins(t, 30)
	l.Events = rec
	for i := range 5 {
		l.login(loginStart+Time(4000*i), "203.0.113.5", fmt.Sprint("user", i), "guess", false)
	}
	l.drain(loginStart + 20000)
	l.login(loginStart+30000, "192.0.2.1", "taro", "right", true)
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	text := eventtest.Text(t, dir)
	for _, want := range []string{`"kind":"edge"`, `3 passwords of 3 accounts tried from 203.0.113.5 in 2 h; held for `, `"verb":"gate-closed"`, `"verb":"gate-opened"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%.2000s", want, text)
		}
	}
	if n := strings.Count(text, "gate-closed"); n != 1 {
		t.Errorf("%d events that the gate closed", n)
	}
}

func TestNobodyJudgesThisMachine(t *testing.T) {
	var none *Logins
	for _, r := range []*LoginRuling{
		none.Allow(LoginAttempt{}),
		newLogins(t, 30).Allow(LoginAttempt{Client: Client{Exempt: true, Remote: netip.MustParseAddrPort("127.0.0.1:1")}}),
	} {
		if r.Held() {
			t.Error("held")
		}
		r.Done(LoginWrong)
	}
}

func FuzzLogins(f *testing.F) {
	f.Add("taro", "pass", uint32(1), true)
	f.Add("a@b@c", "", uint32(0), false)
	f.Add("\x00p", "\xff", uint32(1<<31), true)
	l := newLogins(f, 30)
	f.Fuzz(func(t *testing.T, account, password string, ip uint32, right bool) {
		addr := netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)})
		try := LoginAttempt{Account: account, Password: password, Client: Client{Remote: netip.AddrPortFrom(addr, 1)}}
		if r := l.attempt(loginStart+Time(ip%1000), try, right); !r.Held() && right {
			if l.allow(try, loginStart+1000).Held() {
				t.Error("held where it was right before")
			}
		}
	})
}

// TestGuessesDoNotSpoilTheSnapshot has somebody guess in a user's network, where
// that is counted ahead of time, before what is known of places is saved.
func TestGuessesDoNotSpoilTheSnapshot(t *testing.T) {
	l := newLogins(t, 30)
	now := loginStart
	l.login(now, "192.0.2.10", "taro", "right", true)
	for i := range 300 {
		now++
		l.login(now, "192.0.2.66", "taro", fmt.Sprint("guess", i), false)
	}
	var file bytes.Buffer
	if err := l.Engine.Save(&file, now); err != nil {
		t.Fatal(err)
	}
	again := newLogins(t, 30)
	newest, err := again.Engine.Load(&file)
	if err != nil || newest > now+60 {
		t.Fatalf("newest time %d s ahead, %v", int(newest)-int(now), err)
	}
	if again.login(now+60, "192.0.2.10", "taro", "right", true) {
		t.Error("the owner is held at a known place")
	}
}

// TestHiddenGuessesAreCounted lets one address guess at one account, once a
// second for five days, by a mechanism that does not show the passwords.
func TestHiddenGuessesAreCounted(t *testing.T) {
	l := newLogins(t, 1000)
	looked := 0
	for i := range 5 * 86400 {
		if !l.attempt(loginStart+Time(i), LoginAttempt{Account: "taro", Hidden: true,
			Client: Client{Remote: netip.MustParseAddrPort("203.0.113.5:4000")}}, false).Held() {
			looked++
		}
	}
	t.Logf("%d of 432000 guesses were looked at", looked)
	if looked > 15_000 {
		t.Error("too many")
	}
}
