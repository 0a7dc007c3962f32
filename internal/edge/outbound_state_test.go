package edge

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
)

var outboundHome = netip.MustParseAddr("192.0.2.1")

// lived gives an account with 10 ordinary days: six letters a day, to friends.
func lived(t testing.TB) (*Outbound, Time) {
	t.Helper()
	o := NewOutbound(DefaultOutboundRules(), outboundSecret)
	now := outboundStart
	for day := range 10 {
		for i := range 6 {
			now = outboundStart + Time(day*daySpan+(9+i)*hourSpan)
			o.Login(1, outboundHome, now)
			if l := o.Message(1, now); l != Granted {
				t.Fatal(l)
			}
			if l, a := o.Recipient(1, outboundHome, fmt.Sprintf("friend%d@far.test", i), Elsewhere, now); l != Granted || a != nil {
				t.Fatal(l, a)
			}
			o.Outcome(1, fmt.Sprintf("friend%d@far.test", i), false, now)
		}
	}
	return o, now + daySpan
}

// bully writes to strangers from a new network until the account is held.
func bully(t testing.TB, o *Outbound, now Time) *Alarm {
	t.Helper()
	from := netip.MustParseAddr("203.0.113.1")
	o.Login(1, from, now)
	for i := range 1000 {
		l, a := o.Recipient(1, from, fmt.Sprintf("victim%d@far.test", i), Elsewhere, now+Time(i/10))
		if a != nil {
			if l != Stopped {
				t.Errorf("an alarm, and leave %v", l)
			}
			return a
		}
	}
	t.Fatal("not held")
	return nil
}

func TestOutboundHolds(t *testing.T) {
	o, now := lived(t)
	a := bully(t, o, now)
	for _, want := range []string{" recipients in ", "100 % never written to before", "from 1 network"} {
		if !strings.Contains(a.String(), want) {
			t.Errorf("%q lacks %q", a, want)
		}
	}
	if a.Until-a.Now != 1800 || a.SuspectSince() > now-hourSpan+20 || a.Recipients > 200 {
		t.Errorf("%+v", a)
	}
	if l := o.Message(1, a.Now+1); l != Stopped {
		t.Errorf("a message of a held account: %v", l)
	}
	if l, again := o.Recipient(1, outboundHome, "x@far.test", Elsewhere, a.Now+1); l != Stopped || again != nil {
		t.Errorf("a recipient of a held account: %v, %v", l, again)
	}
}

// TestOutboundForgetsTheThief: after a hold, what the thief did is as new and
// as strange as before; the owner's friends are still known.
func TestOutboundForgetsTheThief(t *testing.T) {
	o, now := lived(t)
	first := bully(t, o, now)
	now = first.Until + 10
	o.Standing(1, 0, false, now)
	if l := o.Message(1, now); l != Granted {
		t.Fatalf("after the hold: %v", l)
	}
	s := o.accounts[1]
	if s.Contacts.count != 6 || len(s.Logins) != 1 {
		t.Errorf("%d recipients and %d networks are known", s.Contacts.count, len(s.Logins))
	}
	second := bully(t, o, now+60)
	if second.Until-second.Now != 4*1800 || second.Recipients > first.Recipients {
		t.Errorf("the second time: %+v, after %+v", second, first)
	}
}

// TestOutboundVouched: an administrator's word lifts limits and holds, and what
// the account does meanwhile becomes usual.
func TestOutboundVouched(t *testing.T) {
	o, now := lived(t)
	a := bully(t, o, now)
	now = a.Now + 60
	o.Standing(1, 0, true, now)
	for i := range 3000 {
		if l, alarm := o.Recipient(1, outboundHome, fmt.Sprintf("m%d@far.test", i), Elsewhere, now+Time(i/5)); l != Granted || alarm != nil {
			t.Fatalf("recipient %d: %v, %v", i, l, alarm)
		}
	}
	o.Standing(1, 0, false, now+daySpan)
	for i := range 3000 {
		if l, alarm := o.Recipient(1, outboundHome, fmt.Sprintf("m%d@far.test", i), Elsewhere, now+daySpan+Time(i/5)); l != Granted || alarm != nil {
			t.Fatalf("a day later, recipient %d: %v, %v", i, l, alarm)
		}
	}
}

func TestOutboundLimits(t *testing.T) {
	rules := DefaultOutboundRules()
	rules.MessagesPerHour, rules.RecipientsPerHour, rules.RecipientsPerDay = 3, 5, 7
	o := NewOutbound(rules, outboundSecret)
	granted := func(at Time, n int, ask func(i int) Leave) (count int) {
		for i := range n {
			if ask(i) == Granted {
				count++
			}
			o.accounts[1].Held = 0
		}
		return count
	}
	message := func(at Time) func(int) Leave { return func(int) Leave { return o.Message(1, at) } }
	rcpt := func(at Time) func(int) Leave {
		return func(i int) Leave {
			l, _ := o.Recipient(1, outboundHome, fmt.Sprintf("%d.%d@far.test", at, i), Here, at)
			return l
		}
	}
	o.Login(1, outboundHome, outboundStart)
	at := outboundStart + 10*hourSpan
	for _, c := range []struct {
		what string
		n    int
		want int
	}{
		{"messages in an hour", granted(at, 10, message(at)), 3},
		{"recipients in an hour", granted(at, 10, rcpt(at)), 5},
		{"recipients in a day", granted(at+3*hourSpan, 10, rcpt(at+3*hourSpan)), 2},
		{"recipients, as history allows", granted(at+3*daySpan, 30, rcpt(at+3*daySpan)), 20},
	} {
		if c.n != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.n, c.want)
		}
	}
}

// TestOutboundTimeGoesBack: a clock that jumps harms nothing.
func TestOutboundTimeGoesBack(t *testing.T) {
	o, now := lived(t)
	o.Login(1, outboundHome, now-5*daySpan)
	if l, a := o.Recipient(1, outboundHome, "x@far.test", Elsewhere, 5); l != Granted || a != nil {
		t.Error(l, a)
	}
	if s := o.accounts[1]; s.Last < now-daySpan || s.Today != uint32(s.Last)/daySpan {
		t.Errorf("last %d, day %d", s.Last, s.Today)
	}
}

func TestContacts(t *testing.T) {
	var c contacts
	rng := rand.New(rand.NewPCG(1, 2))
	key := func(i int) uint64 { return contactKey(outboundSecret, fmt.Sprint(i)) }
	for i := range contactsMost {
		if isNew, _ := c.touch(key(i), 20700+uint32(i)/10000); !isNew {
			t.Fatalf("recipient %d is known", i)
		}
	}
	for _, i := range rng.Perm(contactsMost)[:1000] {
		if isNew, again := c.touch(key(i), 20710); isNew || again {
			t.Fatalf("recipient %d: new %v, again %v", i, isNew, again)
		}
		if _, again := c.touch(key(i), 20710); !again {
			t.Fatalf("recipient %d: not again", i)
		}
		if !c.settle(key(i)) || c.settle(key(i)) {
			t.Fatalf("recipient %d is not learnt once", i)
		}
		c.slots[c.find(key(i))] |= contactOpen
	}
	if isNew, _ := c.touch(key(-1), 20711); !isNew || c.count > contactsMost {
		t.Errorf("full: new %v, %d", isNew, c.count)
	}
	if isNew, _ := c.touch(key(contactsMost-1), 20711); isNew {
		t.Error("who was written to lately is forgotten")
	}
	if isNew, _ := c.touch(key(1), 20711); !isNew && c.count > contactsMost/2+2000 {
		t.Error("nobody is forgotten")
	}
	c.accept(20711)
	before := c.count
	c.touch(key(-2), 20712)
	if c.forget(); c.count != before {
		t.Errorf("%d, want %d", c.count, before)
	}
	if c.accept(20711 + contactDays + 1); c.count != 0 {
		t.Errorf("%d are remembered for ever", c.count)
	}
	full := contacts{}
	for i := range contactsMost + 10 {
		if isNew, _ := full.touch(key(i), 20700); isNew != (i < contactsMost) {
			t.Fatalf("all on one day, recipient %d: %v", i, isNew)
		}
	}
}

// TestNetworksKeepTheirOwn: a crowd of new networks pushes out none of the
// account's own.
func TestNetworksKeepTheirOwn(t *testing.T) {
	var n loginNets
	n.visit(SourceOf(outboundHome), 1000*daySpan)
	n.keep(func(*loginNet) bool { return true })
	for i := range 500 {
		n.visit(SourceOf(netip.AddrFrom4([4]byte{10, byte(i / 2), byte(i), 1})), 1001*daySpan+Time(i))
	}
	if newNarrow, newWide, before := n.visit(SourceOf(outboundHome), 1001*daySpan+600); newNarrow || newWide || before != 1000*daySpan || len(n) != networksMost {
		t.Errorf("%v %v %d, %d networks", newNarrow, newWide, before, len(n))
	}
}

func TestOutboundSave(t *testing.T) {
	o, now := lived(t)
	bully(t, o, now)
	saved := o.Save()
	if len(saved) != 1 || len(o.Save()) != 0 {
		t.Fatalf("%d states", len(saved))
	}
	again := NewOutbound(o.rules, outboundSecret)
	if err := again.Restore(1, saved[1]); err != nil {
		t.Fatal(err)
	}
	a, b := o.accounts[1], again.accounts[1]
	if !reflect.DeepEqual(a.sendingState, b.sendingState) || !reflect.DeepEqual(a.Logins, b.Logins) || a.Contacts.count != b.Contacts.count {
		t.Errorf("saved\n%+v\nread\n%+v", a, b)
	}
	o.Unsaved(saved)
	if len(o.Save()) != 1 {
		t.Error("what was not kept is not given again")
	}
	if o.Forget(now); !o.Has(1) {
		t.Error("an account at work is forgotten")
	}
	if o.Forget(now + 3*daySpan); o.Has(1) {
		t.Error("an idle account stays in memory")
	}
	for n := range saved[1] {
		if err := again.Restore(2, saved[1][:n]); err == nil {
			t.Fatalf("%d octets of %d are taken", n, len(saved[1]))
		}
	}
	t.Logf("%d octets for an account with %d recipients", len(saved[1]), a.Contacts.count)
}

// TestOutboundAtOnce is for the race detector.
func TestOutboundAtOnce(t *testing.T) {
	o, now := lived(t)
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 300 {
				account, to := int64(i%5), fmt.Sprintf("%d.%d@far.test", g, i)
				o.Login(account, outboundHome, now)
				o.Message(account, now)
				o.Recipient(account, outboundHome, to, Elsewhere, now)
				o.Outcome(account, to, i%2 == 0, now)
				o.Standing(account, 0, false, now)
				if i%50 == 0 {
					o.Unsaved(o.Save())
				}
			}
		})
	}
	group.Wait()
}

// FuzzSending: a damaged state is refused or harmless.
func FuzzSending(f *testing.F) {
	o, now := lived(f)
	bully(f, o, now)
	f.Add(o.accounts[1].append(nil))
	f.Add((&sending{}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := NewOutbound(DefaultOutboundRules(), outboundSecret)
		if o.Restore(1, b) != nil {
			return
		}
		for _, at := range []Time{0, now, now + 40*daySpan, 1<<32 - 1} {
			o.Login(1, outboundHome, at)
			o.Message(1, at)
			_, a := o.Recipient(1, outboundHome, "x@far.test", Nobody, at)
			if a != nil && len(a.String()) > 300 {
				t.Errorf("%q", a)
			}
			o.Standing(1, 0, false, at)
		}
		if len(o.accounts[1].append(nil)) > 1<<20 {
			t.Error("it grows")
		}
	})
}

func BenchmarkOutboundRecipient(b *testing.B) {
	o, now := lived(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o.Recipient(1, outboundHome, "friend1@far.test", Here, now+Time(i/1000))
	}
}
