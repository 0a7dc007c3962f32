package edge

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

// The simulation of logins: 10,000 accounts and their users' mail programs, and
// those who guess, on one engine. All traffic is made up; the assumptions are
// the constants here and the comments at what makes it.
const (
	simAccounts = 10_000
	simStart    = Time(1_800_000_000)
	simDay      = Time(86400)
	rightShare  = 0.001 // of guesses
)

// loginTry is one attempt that is due.
type loginTry struct {
	at      Time
	from    netip.Addr
	account int
	word    string // "" is the right password
	who     int    // index of the class in loginSim.classes
	since   Time   // of the first attempt, when this is a retry
	retry   []Time // waits before further attempts while held
	right   bool   // a guess that is right
}

type tryQueue []loginTry

func (q tryQueue) Len() int           { return len(q) }
func (q tryQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q tryQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *tryQueue) Push(x any)        { *q = append(*q, x.(loginTry)) }
func (q *tryQueue) Pop() any {
	old := *q
	t := old[len(old)-1]
	*q = old[:len(old)-1]
	return t
}

// The classes of whom the result speaks.
const (
	atHome   = iota // from a place where the account logged in before
	inPool          // by a telephone whose address changes in a carrier's network
	onTravel        // from a network never seen with this account
	inOffice        // from behind an address that a bot shares
	forgot          // a program with an old stored password
	usual           // guessers whom every server sees, and bots among the users
	inWave          // those of the attack
	classes
)

// loginTally is what happened to one class since counting began.
type loginTally struct {
	logins, held, lost int       // logins with the right password; of them held at first, and never let in
	minutes            []float64 // that held ones waited
	tried, verified    int       // guesses
	cracked            map[int]bool
	crackable          map[int]bool
}

type loginSim struct {
	logins   *Logins
	rnd      *rand.Rand
	queue    tryQueue
	counting Time
	tallies  [classes]loginTally
	names    [simAccounts]string
}

func newLoginSim(t testing.TB, seed uint64) *loginSim {
	e, err := NewSeeded(LoginRules(30), LoginSizes(), seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	s := &loginSim{logins: &Logins{Engine: e, Clock: NewClock(1, 0), Domain: mail.Domain("example.test")},
		rnd: rand.New(rand.NewPCG(seed, 7))}
	for i := range s.names {
		s.names[i] = fmt.Sprintf("user%d@example.test", i)
	}
	for i := range s.tallies {
		s.tallies[i].cracked, s.tallies[i].crackable = map[int]bool{}, map[int]bool{}
	}
	return s
}

func (s *loginSim) add(t loginTry) { heap.Push(&s.queue, t) }

// run plays what is due up to a time.
func (s *loginSim) run(until Time) {
	for len(s.queue) > 0 && s.queue[0].at < until {
		s.play(heap.Pop(&s.queue).(loginTry))
	}
}

func (s *loginSim) play(t loginTry) {
	password := t.word
	if password == "" || t.right {
		password = "right"
	}
	r := s.logins.allow(LoginAttempt{Account: s.names[t.account], Password: password,
		Client: Client{Remote: netip.AddrPortFrom(t.from, 4000)}}, t.at)
	held := r.Held()
	if held && len(t.retry) > 0 {
		next := t
		if next.since == 0 {
			next.since = t.at
		}
		next.at, next.retry = t.at+t.retry[0], t.retry[1:]
		s.add(next)
	}
	if password == "right" {
		r.Done(LoginRight)
	} else {
		r.Done(LoginWrong)
	}
	if t.at < s.counting {
		return
	}
	s.tallies[t.who].count(&t, held)
}

func (y *loginTally) count(t *loginTry, held bool) {
	switch {
	case t.who >= usual:
		if t.since == 0 {
			y.tried++
		}
		if t.right {
			y.crackable[t.account] = true
		}
		if !held {
			y.verified++
			if t.right {
				y.cracked[t.account] = true
			}
		}
	case t.word != "":
	default:
		if t.since == 0 {
			y.logins++
			if held {
				y.held++
			}
		}
		switch {
		case held && len(t.retry) == 0:
			y.lost++
		case !held && t.since != 0:
			y.minutes = append(y.minutes, float64(t.at-t.since)/60)
		}
	}
}

// address gives one in network n of 65,536: the upper half of it.
func address(n, host int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 8), byte(n), byte(host >> 8), byte(host)})
}

// zipf draws a rank below n, small ones more often.
func (s *loginSim) zipf(n int) int {
	return int(math.Exp(s.rnd.Float64()*math.Log(float64(n)+1))) - 1
}

// The users live in 400 networks (/16), the bots in 4,000 of which every tenth
// has users, the larger ones of both more often.
func (s *loginSim) userNet() int { return 1<<8 + 10*s.zipf(400) }
func (s *loginSim) botNet() int  { return 1<<8 + (s.zipf(4000)*7+3)%4000 }

var mailProgram = []Time{60, 300, 300, 300, 300, 600, 600, 600, 1800, 1800, 3600, 3600} // waits of one whose login failed for the moment

// honest fills a number of days with the users' logins.
func (s *loginSim) honest(from Time, days int) {
	const offices, perOffice = 20, 50
	r := s.rnd
	for u := range simAccounts {
		home := address(s.homeNet(u), u*7919%65536)
		if u < offices*perOffice {
			home = address(60<<8+u/perOffice, 1)
		}
		for day := range days {
			start := from + Time(day)*simDay
			at := func() Time { return start + Time(r.IntN(int(simDay))) }
			for range 2 {
				s.homeLogin(u, home, at(), u < offices*perOffice)
			}
			// from a carrier's 64 networks (/24)
			s.add(loginTry{at: at(), from: address(50<<8+u%3, r.IntN(64*256)), account: u, who: inPool, retry: mailProgram})
			if r.Float64() < 0.02 {
				s.travel(u, at())
			}
			if u%300 == 99 { // an old password, which was right or not
				for k := range Time(288) {
					s.add(loginTry{at: start + k*300 + Time(u%300), from: home, account: u, word: "old", who: forgot})
				}
			}
		}
	}
}

func (s *loginSim) homeNet(u int) int {
	return 1<<8 + 10*(int(math.Exp(float64(u*7919%simAccounts)/simAccounts*math.Log(401)))-1)
}

func (s *loginSim) homeLogin(u int, home netip.Addr, at Time, office bool) {
	who := atHome
	if office {
		who = inOffice
	}
	if s.rnd.Float64() < 0.01 {
		s.add(loginTry{at: at, from: home, account: u, word: fmt.Sprint("typo", s.rnd.IntN(1000)), who: forgot})
		at += 20
	}
	s.add(loginTry{at: at, from: home, account: u, who: who, retry: mailProgram})
}

// travel logs in from a network of another user or of a bot, in one of five
// cases after a wrong password.
func (s *loginSim) travel(u int, at Time) {
	from := address(s.userNet(), s.rnd.IntN(65536))
	if s.rnd.Float64() < 0.3 {
		from = address(s.botNet(), s.rnd.IntN(65536))
	}
	if s.rnd.Float64() < 0.2 {
		s.add(loginTry{at: at, from: from, account: u, word: "typo", who: forgot})
		at += 30
	}
	s.add(loginTry{at: at, from: from, account: u, who: onTravel, retry: mailProgram})
}

// bots lets so many sources guess perDay times a day each, at one account or
// (account < 0) at all. With retry they try each guess again while they are held.
func (s *loginSim) bots(who int, from Time, days, sources, perDay, account int, retry []Time) {
	for range sources {
		addr := address(s.botNet(), s.rnd.IntN(65536))
		for day := range days {
			for range perDay {
				a := account
				if a < 0 {
					a = s.rnd.IntN(simAccounts)
				}
				s.add(loginTry{at: from + Time(day)*simDay + Time(s.rnd.IntN(int(simDay))), from: addr, account: a,
					word: fmt.Sprint("guess", s.rnd.IntN(1_000_000)), who: who, retry: retry, right: s.rnd.Float64() < rightShare})
			}
		}
	}
}

// background is what every server on the Internet sees: 300 sources that guess
// 20 times a day. In each office's address a bot tries all accounts.
func (s *loginSim) background(from Time, days int) {
	s.bots(usual, from, days, 300, 20, -1, nil)
	for office := range 20 {
		for i := range days * 24 * 5 {
			s.add(loginTry{at: from + Time(i)*720 + Time(office), from: address(60<<8+office, 1), account: s.rnd.IntN(simAccounts),
				word: fmt.Sprint("guess", i), who: usual, right: s.rnd.Float64() < rightShare})
		}
	}
}

// show logs one row of the table.
func (s *loginSim) show(t testing.TB, name string) {
	t.Log(name)
	for who, class := range map[int]string{usual: "background", inWave: "attack"} {
		g := &s.tallies[who]
		t.Logf("    %-10s %6d guesses, looked at %4d = %6.3f %%; accounts cracked %d of %d", class, g.tried, g.verified,
			g.verifiedShare(), len(g.cracked), len(g.crackable))
	}
	for who, class := range []string{"at home", "telephone", "travel", "office"} {
		y := &s.tallies[who]
		t.Logf("    %-10s %5d logins, held at first %4d = %6.3f %%, for %.0f min (median), %.0f min (95 %%); never let in %d",
			class, y.logins, y.held, y.heldShare(), y.waited(0.5), y.waited(0.95), y.lost)
	}
}

// waited gives a quantile of the minutes that those held at first waited.
func (y *loginTally) waited(q float64) float64 {
	if len(y.minutes) == 0 {
		return 0
	}
	slices.Sort(y.minutes)
	return y.minutes[int(q*float64(len(y.minutes)-1))]
}

func (y *loginTally) verifiedShare() float64 {
	return 100 * float64(y.verified) / float64(max(y.tried, 1))
}

func (y *loginTally) heldShare() float64 { return 100 * float64(y.held) / float64(max(y.logins, 1)) }

// loginScenario is a day of attack, and what must hold of it. That leaves a
// margin to what is seen, so that another seed passes, too.
type loginScenario struct {
	name            string
	sources, perDay int
	account         int // -1: all
	retry           []Time
	verified        float64 // at most so many per cent of the attackers' guesses
	travel, waited  float64 // at most so many per cent of travellers are held, 95 % of them for so many minutes at most
	lost            int     // travellers who never get in, at most
}

var loginScenarios = []loginScenario{
	{name: "peace", travel: 15, waited: 15},
	{name: "one source, one account", sources: 1, perDay: 50_000, account: 5000, verified: 0.1, travel: 15, waited: 15},
	{name: "100,000 sources, one account", sources: 100_000, perDay: 1, account: 5000, verified: 1.2, travel: 100, waited: 15},
	{name: "spraying by 100,000 sources", sources: 100_000, perDay: 1, account: -1, verified: 1.2, travel: 100, waited: 15},
	// Who has no better network than the bots then waits for the attack to end.
	{name: "spraying, each guess retried", sources: 100_000, perDay: 1, account: -1, retry: mailProgram[:3],
		verified: 1.5, travel: 100, waited: math.Inf(1), lost: 200},
}

// TestSimulatedLogins lets two quiet days pass, the day of attack, and one
// after it.
func TestSimulatedLogins(t *testing.T) {
	for _, c := range loginScenarios {
		t.Run(c.name, func(t *testing.T) {
			s := newLoginSim(t, 1)
			s.honest(simStart, 4)
			s.background(simStart, 4)
			s.counting = simStart + 2*simDay
			s.bots(inWave, s.counting, 1, c.sources, c.perDay, c.account, c.retry)
			s.run(simStart + 3*simDay)
			s.show(t, c.name)
			s.check(t, &c)

			s.forget(simStart + 3*simDay + 3600)
			s.run(simStart + 4*simDay)
			s.show(t, "the day after")
			s.check(t, &loginScenario{verified: 1, travel: 30, waited: 45})
		})
	}
}

func (s *loginSim) check(t *testing.T, c *loginScenario) {
	t.Helper()
	s.knownPlacesAreOpen(t)
	if share := s.tallies[inWave].verifiedShare(); share > c.verified {
		t.Errorf("%.2f %% of the attackers' guesses were looked at, more than %.2f %%", share, c.verified)
	}
	if share := s.tallies[usual].verifiedShare(); share > 20 {
		t.Errorf("%.2f %% of the usual guesses were looked at, more than 20 %%", share)
	}
	y := &s.tallies[onTravel]
	if y.heldShare() > c.travel || y.waited(0.95) > c.waited || y.lost > c.lost {
		t.Errorf("unknown places: %.1f %% held, 95 %% of them at most %.0f min, %d never let in; want at most %.0f, %.0f, %d",
			y.heldShare(), y.waited(0.95), y.lost, c.travel, c.waited, c.lost)
	}
}

// forget begins to count anew.
func (s *loginSim) forget(from Time) {
	s.counting = from
	for i := range s.tallies {
		s.tallies[i] = loginTally{cracked: map[int]bool{}, crackable: map[int]bool{}}
	}
}

// knownPlacesAreOpen fails when anybody with the right password was held where
// the account had logged in before.
func (s *loginSim) knownPlacesAreOpen(t *testing.T) {
	if y := &s.tallies[atHome]; y.held > 0 || y.logins < 1000 {
		t.Errorf("at home, %d of %d logins were held", y.held, y.logins)
	}
	if y := &s.tallies[inOffice]; y.heldShare() > 0.2 { // some are there for the first time
		t.Errorf("behind an address with a bot, %d of %d logins were held", y.held, y.logins)
	}
	if y := &s.tallies[inPool]; y.heldShare() > 0.5 {
		t.Errorf("in a carrier's pool, %d of %d logins were held", y.held, y.logins)
	}
}
