package digest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// world is a site of 3,000 users in 40 domains, as they live for a month: who
// gets what, and who reports it. Nobody in it knows what the filter knows.
type world struct {
	t     *testing.T
	r     *rand.Rand
	m     *Memory
	users []string
	start time.Time
	todo  []event // sorted by time
	// Of each kind of mail: copies, and those found.
	copies, found map[string]int
	reports       map[int]int // of a campaign, before its first copy was found
	caught        map[int]bool
	afterCaught   map[int][2]int // copies since, found of them
}

type event struct {
	at time.Time
	do func()
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(3, 4)), m: &Memory{}, start: time.Now(), copies: map[string]int{}, found: map[string]int{},
		reports: map[int]int{}, caught: map[int]bool{}, afterCaught: map[int][2]int{}}
	for i := range 3000 {
		w.users = append(w.users, fmt.Sprintf("user%d@d%d.example", i, i%40))
	}
	return w
}

func (w *world) later(d time.Duration, do func()) {
	e := event{time.Now().Add(d), do}
	i, _ := slices.BinarySearchFunc(w.todo, e, func(a, b event) int { return a.at.Compare(b.at) })
	w.todo = slices.Insert(w.todo, i, e)
}

func (w *world) run(until time.Duration) {
	for len(w.todo) > 0 && w.todo[0].at.Sub(w.start) < until {
		e := w.todo[0]
		w.todo = w.todo[1:]
		time.Sleep(time.Until(e.at))
		e.do()
	}
}

func (w *world) hours(n float64) time.Duration {
	return time.Duration(w.r.Float64() * n * float64(time.Hour))
}

// mutated is a copy of a campaign: a name, random strings and words, and one
// word in twelve replaced.
func (w *world) mutated(text string) string {
	words := strings.Fields(text)
	for i := range words {
		if w.r.IntN(12) == 0 {
			words[i] = word(w.r.IntN(3000))
		}
	}
	return fmt.Sprintf("Dear %s,\r\n%s\r\n%s %x", word(w.r.IntN(3000)), word(w.r.IntN(3000)), strings.Join(words, " "), w.r.Uint64())
}

// mail brings one copy to a user; found tells what the filter thinks of it.
func (w *world) mail(kind, user string, p []Print, spamRate float64, unjunk float64, reported func()) bool {
	w.copies[kind]++
	if lookup(w.t, w.m, p).Confidence > 0 {
		w.found[kind]++
		if w.r.Float64() < unjunk {
			w.later(w.hours(8), func() { tell(w.t, w.m, user, p, false) })
		}
		return true
	}
	w.m.Deliver(w.t.Context(), user, p)
	if w.r.Float64() < spamRate {
		w.later(w.hours(8), func() {
			tell(w.t, w.m, user, p, true)
			if reported != nil {
				reported()
			}
		})
	}
	return false
}

// spamRate is how likely a user is to report a spam: one in ten does so mostly,
// the others hardly ever.
func (w *world) spamRate(user int) float64 {
	if user%11 == 0 {
		return 0.4
	}
	return 0.01
}

// campaign sends 300 copies over ten hours.
func (w *world) campaign(n int) {
	base := text(5000 + n)
	for range 300 {
		w.later(w.hours(10), func() {
			user := w.r.IntN(len(w.users))
			found := w.mail("spam", w.users[user], prints(w.t, w.mutated(base)), w.spamRate(user), 0, func() {
				if !w.caught[n] {
					w.reports[n]++
				}
			})
			w.caught[n] = w.caught[n] || found
			if w.caught[n] {
				c := w.afterCaught[n]
				c[0]++
				if found {
					c[1]++
				}
				w.afterCaught[n] = c
			}
		})
	}
}

// newsletter sends an edition to 400; one in 250 reports it all the same, and
// one in five takes it out of Junk.
func (w *world) newsletter(kind string, n int) []Print {
	edition := prints(w.t, text(9000+n))
	first := w.r.IntN(len(w.users) - 400)
	for _, user := range w.users[first : first+400] {
		w.later(w.hours(2), func() { w.mail(kind, user, edition, 0.004, 0.2, nil) })
	}
	return edition
}

func (w *world) personal(n int) {
	w.later(w.hours(10), func() {
		w.mail("personal", w.users[w.r.IntN(len(w.users))], prints(w.t, text(100_000+n)), 0.002, 0.5, nil)
	})
}

// attack has accounts report, all within minutes.
func (w *world) attack(accounts []string, p []Print, spam bool) {
	for _, a := range accounts {
		w.later(w.hours(0.1), func() { tell(w.t, w.m, a, p, spam) })
	}
}

// circle has n accounts of two domains agree on messages of their own, day by
// day.
func (w *world) circle(n int, domains ...string) []string {
	who := append(users(n/2, domains[0]), users(n/2, domains[1])...)
	for day := range 24 {
		p := prints(w.t, text(50_000+100*n+day))
		for i := range who {
			w.later(time.Duration(day)*24*time.Hour+time.Duration(i)*time.Minute, func() { tell(w.t, w.m, who[(i+day)%len(who)], p, true) })
		}
	}
	return who
}

// TestMonth plays a month with campaigns of mutated spam, newsletters, private
// mail, and attempts to have newsletters found and spam believed.
func TestMonth(t *testing.T) {
	if testing.Short() {
		t.Skip("plays a month")
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		circle := w.circle(12, "evil.example", "ill.example")
		patient := w.circle(24, "bad.example", "worse.example")
		var newcomers []string
		for d := range 6 {
			newcomers = append(newcomers, users(10, fmt.Sprintf("fresh%d.example", d))...)
		}
		for day := range 30 {
			for n := range 2 {
				w.campaign(day*2 + n)
			}
			w.newsletter("newsletter", day)
			for n := range 100 {
				w.personal(day*100 + n)
			}
			switch day {
			case 20: // by 60 newcomers in six domains
				w.attack(newcomers, w.newsletter("newsletter, newcomers lie", 1000), true)
			case 25: // by a closed circle with a month of agreement
				w.attack(circle, w.newsletter("newsletter, a circle lies", 1001), true)
			case 26: // by a circle that is large enough to prove itself
				w.attack(patient, w.newsletter("newsletter, a large circle lies", 1002), true)
			case 27: // once more, after the readers took it out of Junk
				w.attack(patient, w.newsletter("newsletter, it lies again", 1003), true)
			case 28: // a spammer's own accounts praise the first campaign of the day
				w.attack(newcomers[:30], prints(t, text(5000+praised)), false)
			}
			w.run(time.Duration(day+1) * 24 * time.Hour)
		}
		w.judge()
	})
}

func (w *world) judge() {
	t := w.t
	const spam, large = "spam", "newsletter, a large circle lies"
	for _, kind := range []string{spam, "newsletter", "newsletter, newcomers lie", "newsletter, a circle lies", large, "newsletter, it lies again", "personal"} {
		t.Logf("%-32s %5d copies, %5d found", kind, w.copies[kind], w.found[kind])
		if kind != spam && kind != large && w.found[kind] > 0 {
			t.Errorf("%d copies of %s were found", w.found[kind], kind)
		}
	}
	// Reputations take a fortnight to grow: every user sees a spam in five days.
	w.campaigns("days 10 to 19", 20, 40)
	missed, median, share := w.campaigns("days 20 to 29", 40, 60)
	t.Logf("the campaign that the spammer praised: found %v after %d reports", w.caught[praised], w.reports[praised])
	if missed > 3 || median > 8 || share < 0.75 {
		t.Error("campaigns are found too late or not well")
	}
}

// praised is the campaign that accounts of the spammer report as no spam.
const praised = 56

// campaigns tells how those from first to last, the last not among them, fared.
func (w *world) campaigns(when string, first, last int) (missed, median int, share float64) {
	var needed []int
	copies, found := 0, 0
	for n := first; n < last; n++ {
		switch {
		case n == praised:
		case !w.caught[n]:
			missed++
		default:
			needed = append(needed, w.reports[n])
			copies += w.afterCaught[n][0]
			found += w.afterCaught[n][1]
		}
	}
	if len(needed) == 0 {
		w.t.Fatalf("%s: no campaign was found", when)
	}
	slices.Sort(needed)
	median, share = needed[len(needed)/2], float64(found)/float64(copies)
	w.t.Logf("%s: %d campaigns never found; the others after %d reports (median), %d (most); then %d of %d copies",
		when, missed, median, needed[len(needed)-1], found, copies)
	return missed, median, share
}
