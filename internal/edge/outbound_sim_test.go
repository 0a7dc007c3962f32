package edge

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// The simulation of outbound discipline: accounts with 28 days of history, and
// a thief who has the password of one of them. Everything is made of a seed.

// act is one thing an account does.
type act struct {
	at   Time
	from netip.Addr // of the login
	to   []person
}

// person is a recipient.
type person struct {
	name string
	dead bool
	here bool
}

// user is an account with its habits.
type user struct {
	id     int64
	kind   string
	rng    *rand.Rand
	home   []netip.Addr
	circle []person
	seq    int // of strangers
	days   func(u *user, day int) []act
	habits *habits
}

// habits are the assumptions of a generator.
type habits struct {
	quiet       int     // letters a day, less than
	quietNew    float64 // share of new recipients
	busy        [2]int  // letters a day, at least, and less than so many more
	busyNew     float64
	dead        float64 // share of dead addresses among the new
	invite      [2]int  // recipients of the smallest invitation of the quiet, and of that of the busy
	inviteNew   [2]float64
	inviteDead  float64
	away        int // letters a day of a traveller, less than
	awayNew     float64
	invitations int // one in so many invites in the fourth week
}

var (
	plainHabits = habits{quiet: 9, quietNew: 0.1, busy: [2]int{30, 50}, busyNew: 0.25, dead: 0.03,
		invite: [2]int{60, 150}, inviteNew: [2]float64{0.6, 0.5}, inviteDead: 0.08, away: 20, awayNew: 0.4, invitations: 8}
	// otherHabits are those of people who write to strangers more often, with
	// worse lists. No constant was chosen on them.
	otherHabits = habits{quiet: 16, quietNew: 0.3, busy: [2]int{10, 110}, busyNew: 0.45, dead: 0.05,
		invite: [2]int{80, 200}, inviteNew: [2]float64{0.8, 0.7}, inviteDead: 0.08, away: 34, awayNew: 0.6, invitations: 8}
)

const outboundStart = Time(1_800_000_000 / daySpan * daySpan)

func (u *user) stranger(dead float64) person {
	u.seq++
	return person{name: fmt.Sprintf("s%d.%d@far.test", u.id, u.seq), dead: u.rng.Float64() < dead, here: u.rng.IntN(5) == 0}
}

// friend gives one of those the account often writes to.
func (u *user) friend() person {
	f := u.rng.Float64()
	return u.circle[int(f*f*float64(len(u.circle)))]
}

// correspond gives n letters in office hours, with this share of new recipients.
func (u *user) correspond(day, n int, fresh float64, from func() netip.Addr) []act {
	var out []act
	for range n {
		a := act{at: outboundStart + Time(day*daySpan+8*hourSpan+u.rng.IntN(10*hourSpan)), from: from()}
		for range 1 + u.rng.IntN(3)*u.rng.IntN(2) {
			if u.rng.Float64() < fresh {
				p := u.stranger(u.habits.dead)
				if u.rng.IntN(3) == 0 {
					u.circle = append(u.circle, p)
				}
				a.to = append(a.to, p)
			} else {
				a.to = append(a.to, u.friend())
			}
		}
		out = append(out, a)
	}
	return out
}

func (u *user) atHome() netip.Addr { return u.home[u.rng.IntN(len(u.home))] }

// invite gives one mailing by hand: to many at once, some of them new.
func (u *user) invite(day, n int, fresh, dead float64) []act {
	var out []act
	at := outboundStart + Time(day*daySpan+10*hourSpan)
	for n > 0 {
		a := act{at: at, from: u.home[0]}
		for range min(n, 20) {
			if u.rng.Float64() < fresh {
				a.to = append(a.to, u.stranger(dead))
			} else {
				a.to = append(a.to, u.friend())
			}
		}
		out, n, at = append(out, a), n-20, at+Time(60+u.rng.IntN(240))
	}
	return out
}

// blast gives an issue of a newsletter: a message for each, two a second.
func (u *user) blast(day int, list []person) []act {
	at := outboundStart + Time(day*daySpan+9*hourSpan)
	var out []act
	for i := 0; i < len(list); i += 50 {
		out = append(out, act{at: at + Time(i/2), from: u.home[0], to: list[i:min(i+50, len(list))]})
	}
	return out
}

func randomAddr(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(1 + rng.IntN(220)), byte(rng.IntN(256)), byte(rng.IntN(256)), byte(1 + rng.IntN(254))})
}

// newsletter grows to its list in steps of weeks and moves to another provider
// in the last one; or it is regular and adds an old list of the same size in
// the last week.
func newsletter(size int, dead float64, old bool) func(*user, int) []act {
	var list []person
	return func(u *user, day int) []act {
		if day%7 != 2 {
			return nil
		}
		want, share := size, 0.02
		if old && day/7 == 3 {
			want, share = 2*size, dead
		}
		if !old {
			want, share = []int{size / 14, size / 4, size, size}[day/7], dead
			if day/7 == 3 {
				u.home = []netip.Addr{randomAddr(u.rng)}
			}
		}
		for len(list) < want {
			list = append(list, u.stranger(share))
		}
		return u.blast(day, list)
	}
}

// population gives the 200 accounts.
func population(seed uint64, h *habits) []*user {
	var users []*user
	add := func(n int, kind string, days func(i int) func(*user, int) []act) {
		for i := range n {
			u := &user{id: int64(len(users) + 1), kind: kind, days: days(i), habits: h}
			u.rng = rand.New(rand.NewPCG(seed, uint64(u.id)))
			for range 1 + u.rng.IntN(2) {
				u.home = append(u.home, randomAddr(u.rng))
			}
			for range 40 {
				u.circle = append(u.circle, u.stranger(0))
			}
			users = append(users, u)
		}
	}
	add(120, "quiet", func(i int) func(*user, int) []act {
		return func(u *user, day int) []act {
			out := u.correspond(day, u.rng.IntN(h.quiet), h.quietNew, u.atHome)
			if i%h.invitations == 0 && day == 20 {
				out = append(out, u.invite(day, h.invite[0]+i/2, h.inviteNew[0], h.inviteDead)...)
			}
			return out
		}
	})
	add(40, "busy", func(i int) func(*user, int) []act {
		return func(u *user, day int) []act {
			out := u.correspond(day, h.busy[0]+u.rng.IntN(h.busy[1]), h.busyNew, u.atHome)
			if i%h.invitations == 0 && day == 20 {
				out = append(out, u.invite(day, h.invite[1], h.inviteNew[1], h.inviteDead)...)
			}
			return out
		}
	})
	dead := []float64{0.05, 0.15, 0.30}
	add(6, "newsletter growing", func(i int) func(*user, int) []act { return newsletter([]int{700, 4000}[i/3], dead[i%3], false) })
	add(6, "newsletter old list", func(i int) func(*user, int) []act { return newsletter([]int{700, 4000}[i/3], dead[i%3], true) })
	add(4, "list owner", func(int) func(*user, int) []act { return listOwner })
	add(4, "shop", shop)
	add(10, "traveller", func(i int) func(*user, int) []act { return traveller })
	add(10, "mobile", func(i int) func(*user, int) []act { return mobile })
	return users
}

// listOwner passes each post of a list on to its 200 members.
func listOwner(u *user, day int) (out []act) {
	for len(u.circle) < 200 {
		u.circle = append(u.circle, u.stranger(0.02))
	}
	for range 5 + u.rng.IntN(15) {
		at := outboundStart + Time(day*daySpan+7*hourSpan+u.rng.IntN(14*hourSpan))
		out = append(out, act{at: at, from: u.home[0], to: u.circle[:100]}, act{at: at + 2, from: u.home[0], to: u.circle[100:]})
	}
	return out
}

// shop writes once to each customer, and has a sale one day.
func shop(i int) func(*user, int) []act {
	return func(u *user, day int) (out []act) {
		n := 100 + 50*i + u.rng.IntN(100)
		if day == 19 {
			n *= 4
		}
		for range n {
			at := outboundStart + Time(day*daySpan+6*hourSpan+u.rng.IntN(17*hourSpan))
			out = append(out, act{at: at, from: u.home[0], to: []person{u.stranger(0.03)}})
		}
		return out
	}
}

// traveller is away every other week, in a new place each day, meeting people.
func traveller(u *user, day int) []act {
	if day/7%2 == 0 {
		return u.correspond(day, 5+u.rng.IntN(10), 0.1, u.atHome)
	}
	spots := []netip.Addr{randomAddr(u.rng), randomAddr(u.rng), randomAddr(u.rng)}
	return u.correspond(day, u.habits.away/3+u.rng.IntN(u.habits.away*2/3), u.habits.awayNew, func() netip.Addr { return spots[u.rng.IntN(3)] })
}

// mobile comes from any of a carrier's pools, or from a café.
func mobile(u *user, day int) []act {
	return u.correspond(day, 5+u.rng.IntN(20), 0.1, func() netip.Addr {
		if u.rng.IntN(10) == 0 {
			return randomAddr(u.rng)
		}
		b := u.home[0].As4()
		return netip.AddrFrom4([4]byte{b[0], byte(u.rng.IntN(6)), byte(u.rng.IntN(40)), byte(1 + u.rng.IntN(200))})
	})
}

// outTold is an outcome on its way.
type outTold struct {
	at Time
	to person
}

// world plays acts of one account against Outbound.
type world struct {
	o       *Outbound
	rng     *rand.Rand
	pending []outTold

	messages, recipients int // accepted
	deferred             int // by limits
	alarm                *Alarm
	alarms               []*Alarm
	stop                 bool // at the first alarm
}

func newWorld(o *Outbound, seed uint64) *world {
	return &world{o: o, rng: rand.New(rand.NewPCG(seed, 77))}
}

func (w *world) raise(a *Alarm) {
	if a != nil {
		w.alarm = a
		w.alarms = append(w.alarms, a)
	}
}

// outcomes lets the other hosts answer up to now.
func (w *world) outcomes(account int64, now Time) {
	slices.SortStableFunc(w.pending, func(a, b outTold) int { return cmp.Compare(a.at, b.at) })
	for len(w.pending) > 0 && w.pending[0].at <= now && !(w.stop && w.alarm != nil) {
		t := w.pending[0]
		w.pending = w.pending[1:]
		w.raise(w.o.Outcome(account, t.to.name, t.to.dead, t.at))
	}
}

// play carries out acts in their order. What limits put off is tried again
// half an hour later, as clients do.
func (w *world) play(account int64, acts []act) {
	slices.SortStableFunc(acts, func(a, b act) int { return cmp.Compare(a.at, b.at) })
	for len(acts) > 0 {
		a := acts[0]
		acts = acts[1:]
		w.outcomes(account, a.at)
		if w.stop && w.alarm != nil {
			return
		}
		w.o.Standing(account, w.held(a.at), false, a.at)
		w.o.Login(account, a.from, a.at)
		if late := w.transact(account, a); len(late) > 0 {
			w.deferred += len(late)
			acts = append(acts, act{at: a.at + hourSpan/2, from: a.from, to: late})
			slices.SortStableFunc(acts, func(a, b act) int { return cmp.Compare(a.at, b.at) })
		}
	}
}

func (w *world) held(now Time) Time {
	if w.alarm != nil && w.alarm.Until > now {
		return w.alarm.Until
	}
	return 0
}

// transact sends one message and gives the recipients that were put off.
func (w *world) transact(account int64, a act) (late []person) {
	if w.held(a.at) != 0 || w.o.Message(account, a.at) != Granted {
		return slices.Clone(a.to)
	}
	w.messages++
	for _, p := range a.to {
		fate := Elsewhere
		if p.here {
			fate = map[bool]Fate{true: Nobody, false: Here}[p.dead]
		}
		leave, alarm := w.o.Recipient(account, a.from, p.name, fate, a.at)
		if leave == TooMany {
			late = append(late, p)
			continue
		}
		w.recipients++
		if !p.here {
			w.pending = append(w.pending, outTold{at: a.at + Time(2+w.rng.IntN(60)), to: p})
		}
		if w.raise(alarm); alarm != nil {
			return late
		}
	}
	return late
}
