package directory

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// testKeys are keys 3 and 4; 4 is the newest and made on day.
func testKeys(day int) *prvsKeys {
	k := &prvsKeys{newest: 4}
	k.keys[3] = prvsKey{secret: testSecret, made: onDay(day - 300), last: day + prvsDays + 1}
	k.keys[4] = prvsKey{secret: []byte("another secret of thirty-two....."), made: onDay(day), last: 1 << 40}
	return k
}

func onDay(day int) time.Time { return time.Unix(int64(day)*86400+43200, 0) }

// TestTagReturns: whatever sender has room, its tag comes off again and is good
// for a week, also when hosts on the way changed case; with anything changed,
// or another domain, it is not.
func TestTagReturns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.OneOf(
			rapid.StringMatching(`[a-zA-Z0-9._=+-]{1,48}`),
			rapid.StringMatching(`(prv|prvs|SRS0=)[ -~]{1,30}`),
			rapid.StringOfN(rapid.RuneFrom([]rune("aé漢@ \"\\=.")), 1, 15, 46),
		).Filter(func(s string) bool { return !isPRVS(s) }).Draw(t, "local")
		a := mail.MakeAddress(local, "our.test")
		if !hasRoom(a) {
			t.Skip("no room")
		}
		day := rapid.IntRange(19_000, 25_000).Draw(t, "day")
		age := rapid.IntRange(-1, prvsWindow-prvsDays-3).Draw(t, "age")
		keys := testKeys(day)
		signed := keys.sign(a, onDay(day))
		if n := len(signed.Wire) - len("@our.test"); n > mail.MaxLocal {
			t.Fatalf("%s: local part of %d octets", signed, n)
		}
		if p, err := mail.ParseAddress(signed.Wire); err != nil || p.Local != signed.Local {
			t.Fatalf("%s does not parse: %v", signed, err)
		}
		for _, form := range []string{signed.Local, strings.ToUpper(signed.Local), strings.ToLower(signed.Local)} {
			if mail.NormalLocal(form) != mail.NormalLocal(signed.Local) {
				continue // a letter with no way back, such as ß
			}
			tag, ok := parsePRVS(form)
			if !ok || mail.NormalLocal(tag.local) != mail.NormalLocal(local) || form == signed.Local && tag.local != local {
				t.Fatalf("%s came back as %+v, %v", form, tag, ok)
			}
			if good, want := keys.good(tag, "our.test", onDay(day+age)), age <= prvsDays; good != want {
				t.Fatalf("%s after %d days: %v", form, age, good)
			}
			if keys.good(tag, "other.test", onDay(day)) {
				t.Fatal("good in another domain")
			}
		}
		i := rapid.IntRange(0, len(signed.Local)-1).Draw(t, "place")
		forged := signed.Local[:i] + "7" + signed.Local[i+1:]
		if tag, ok := parsePRVS(forged); ok && forged != signed.Local && keys.good(tag, "our.test", onDay(day)) {
			t.Fatalf("forged %s is good", forged)
		}
	})
}

func TestParsePRVS(t *testing.T) {
	for _, c := range []struct {
		in    string
		local string // "": no tag
	}{
		{"prvs=0123abcdef=bob", "bob"},
		{"PRVS=0123ABCDEF=Bob", "Bob"},
		{"prvs=9999000000=b", "b"},
		{"prvs=0123abcdef=a=b", "a=b"},
		{"prvs=0123abcdef=", ""},
		{"prvs=0123abcdef", ""},
		{"prvs=012aabcdef=bob", ""},
		{"prvs=a123abcdef=bob", ""},
		{"prvs=0123abcdeg=bob", ""},
		{"prvs=0123abcde=bob", ""},
		{"prvs=0123abcdef+bob", ""},
		{"prvs=bob/0123abcdef", ""}, // an older form
		{"msprvs1=0123abcdef=bob", ""},
		{"prvs=0123abcdef=prvs=0123abcdef=bob", ""},
		{"prvs=", ""},
		{"", ""},
	} {
		got, ok := parsePRVS(c.in)
		if ok != (c.local != "") || got.local != c.local {
			t.Errorf("%s: %+v, %v", c.in, got, ok)
		}
	}
}

func FuzzPRVS(f *testing.F) {
	keys := testKeys(20_000)
	good := keys.sign(mail.MakeAddress("alice", "our.test"), onDay(20_000))
	for _, s := range []string{good.Local, strings.ToUpper(good.Local), "prvs=3007abcdef=x", "prvs=0123=x", "prvs=", "PrVs=9999999999=prvs=0000000000=\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, local string) {
		tag, ok := parsePRVS(local)
		if ok && (tag.local == "" || !strings.HasSuffix(local, "="+tag.local) || tag.day >= prvsWindow) {
			t.Fatalf("%q gives %+v", local, tag)
		}
		// Only what the keys signed is good, whatever case it came in.
		if ok && keys.good(tag, "our.test", onDay(20_000)) && mail.NormalLocal(local) != mail.NormalLocal(good.Local) {
			t.Fatalf("%q is good", local)
		}
	})
}

// TestKeyThatWasFollowed is good for the tags it made, and for no new ones,
// even by somebody who knows it.
func TestKeyThatWasFollowed(t *testing.T) {
	keys := testKeys(20_000)
	thief := &prvsKeys{newest: 3}
	thief.keys[3] = keys.keys[3]
	a := mail.MakeAddress("alice", "our.test")
	for _, c := range []struct {
		made, read int
		want       bool
	}{{20_000, 20_000, true}, {20_000, 20_007, true}, {20_001, 20_008, true}, {20_002, 20_002, false}, {20_300, 20_300, false}} {
		tag, _ := parsePRVS(thief.sign(a, onDay(c.made)).Local)
		if got := keys.good(tag, "our.test", onDay(c.read)); got != c.want {
			t.Errorf("made on %d, read on %d: %v", c.made, c.read, got)
		}
	}
	if got := keys.current(keys.keys[4].made.Add(prvsRest / 2)); got != 3 {
		t.Errorf("key %d signs at once", got)
	}
	if got := keys.current(keys.keys[4].made.Add(prvsRest)); got != 4 {
		t.Errorf("key %d signs after its rest", got)
	}
}

const week = prvsDays * 24 * time.Hour

// signing makes a domain whose senders have been signed for so long.
func signing(since time.Duration, mode BounceMode) func(*DomainSettings) {
	return func(s *DomainSettings) { s.BouncesSigned, s.UnsignedBounces = time.Now().Add(-since), mode }
}

func (s *site) signed(address string) mail.Address {
	s.t.Helper()
	a, err := s.SignSender(context.Background(), addr(s.t, address), time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func TestSignedSenders(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s := newSite(t, d)
		s.SetRoutes(map[mail.Domain]Route{"any.test": {}, "listed.test": {Listed: true}})
		s.domain("our.test", signing(0, BounceLabel))
		s.domain("any.test", signing(0, BounceLabel))
		s.domain("listed.test", signing(0, BounceLabel))
		s.domain("plain.test", nil)
		alice := s.account("Alice@our.test", nil)
		s.account("bob@plain.test", nil)
		s.account("user@listed.test", nil)
		s.forward("out@our.test", "me@else.test", false)

		for _, same := range []string{"bob@plain.test", "x@far.test", strings.Repeat("x", prvsRoom+1) + "@our.test", "prvs=0123abcdef=alice@our.test"} {
			if got := s.signed(same); got.Wire != same {
				t.Errorf("%s became %s", same, got)
			}
		}
		if got := s.signed(strings.Repeat("x", prvsRoom) + "@our.test"); len(got.Local) != mail.MaxLocal {
			t.Errorf("the longest became %s", got)
		}
		tagged := s.signed("Alice+x@our.test")
		if tag, ok := parsePRVS(tagged.Local); !ok || tag.local != "Alice+x" || tag.key != 0 {
			t.Errorf("signed as %s", tagged)
		}
		s.want(tagged.Wire, "known box:Alice@our.test[x]")
		s.want(strings.ToUpper(tagged.Wire), "known box:Alice@our.test[X]")
		s.want(s.signed("out@our.test").Wire, "known to:me@else.test(kept)")
		s.want("prvs=0123abcdef=alice@our.test", "known box:Alice@our.test") // any sender may write there
		s.want("prvs=0123abcdef=bob@plain.test", "known box:bob@plain.test") // signed before it stopped
		s.want("prvs=0123abcdef=nobody@our.test", "unknown")
		s.want("prvs=0123abcdef=prvs=0123abcdef=alice@our.test", "unknown")
		// A host behind a route may have tags of its own.
		s.want(s.signed("x@any.test").Wire, "known to:x@any.test(relay)")
		s.want("prvs=0123abcdef=x@any.test", "known to:prvs=0123abcdef=x@any.test(relay)")
		s.want(s.signed("user@listed.test").Wire, "known to:user@listed.test(relay)")
		s.want("prvs=0123abcdef=user@listed.test", "unknown")

		for _, a := range []string{tagged.Wire, "prvs=0123abcdef=alice@our.test"} {
			if mine, err := s.Owns(context.Background(), alice.ID, addr(t, a)); mine || err != nil {
				t.Errorf("alice may write as %s: %v", a, err)
			}
		}
	})
}

// TestBounce tells bounces of ours from others, by a second directory that
// shares the database only.
func TestBounce(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s, other := newSite(t, d), newSite(t, d)
		s.domain("our.test", signing(week, BounceTempfail))
		s.domain("label.test", signing(week, BounceLabel))
		s.domain("fresh.test", signing(week-time.Minute, BounceLabel))
		s.domain("plain.test", nil)
		bob := s.forward("bob@plain.test", "bob@else.test", false)
		srs, err := s.Rewrite(context.Background(), addr(t, "Alice@a.test"), bob.Address, bob.ID)
		if err != nil {
			t.Fatal(err)
		}
		ours := s.signed("alice@our.test").Wire
		for _, c := range []struct {
			to   string
			days int
			want BounceProof
			mode BounceMode
		}{
			{ours, 0, BounceOurs, ""},
			{strings.ToUpper(ours), 0, BounceOurs, ""},
			{ours, prvsDays, BounceOurs, ""},
			{ours, prvsDays + 1, BounceForeign, BounceTempfail},
			{"alice@our.test", 0, BounceForeign, BounceTempfail},
			{"alice@label.test", 0, BounceForeign, BounceLabel},
			{strings.Replace(ours, "our.test", "label.test", 1), 0, BounceForeign, BounceLabel},
			{"prvs=0123abcdef=alice@our.test", 0, BounceForeign, BounceTempfail},
			{"prvs=0123abcdef=prvs=0123abcdef=alice@our.test", 0, BounceForeign, BounceTempfail},
			{strings.Repeat("x", prvsRoom+1) + "@our.test", 0, BounceOpen, ""},
			{"Postmaster@our.test", 0, BounceOpen, ""},
			{"abuse@our.test", 0, BounceOpen, ""},
			{"alice@fresh.test", 0, BounceOpen, ""},
			{"alice@fresh.test", 1, BounceForeign, BounceLabel},
			{s.signed("alice@fresh.test").Wire, 0, BounceOurs, ""},
			{"alice@plain.test", 0, BounceOpen, ""},
			{"alice@far.test", 0, BounceOpen, ""},
			{"prvs=0123abcdef=alice@far.test", 0, BounceOpen, ""},
			{srs.Wire, 0, BounceOurs, ""},
			{"SRS0=AAAAAA=AA=a.test=alice@our.test", 0, BounceForeign, BounceTempfail},
			{"postmaster", 0, BounceOpen, ""},
		} {
			for name, dir := range map[string]*site{"own": s, "other": other} {
				got, err := dir.bounce(context.Background(), addr(t, c.to), time.Now().AddDate(0, 0, c.days))
				if err != nil || got.Proof != c.want || got.Mode != c.mode || (got.Reason != "") != (c.want == BounceForeign) {
					t.Errorf("%s: %s after %d days: %+v, %v", name, c.to, c.days, got, err)
				}
			}
		}
	})
}

// TestStableSender: each try of a mail has the same sender for a day; one that
// waited longer leaves with a tag that is good for six more days.
func TestStableSender(t *testing.T) {
	s := newSite(t, dbtest.SQLite(t))
	s.domain("our.test", signing(0, BounceLabel))
	a := addr(t, "alice@our.test")
	for _, hours := range []int{0, 1, 23, 25, 24 * 5} {
		made := time.Now().Add(-time.Duration(hours) * time.Hour)
		signed, err := s.SignSender(context.Background(), a, made)
		if err != nil {
			t.Fatal(err)
		}
		tag, _ := parsePRVS(signed.Local)
		day := dayNumber(made)
		if hours > 24 {
			day = dayNumber(time.Now().Add(-24 * time.Hour))
		}
		if want := (day + prvsDays) % prvsWindow; tag.day != want {
			t.Errorf("after %d h: good to %d, want %d", hours, tag.day, want)
		}
	}
}

func TestRotateBounceKey(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		s, other := newSite(t, d), newSite(t, d)
		s.domain("our.test", signing(week, BounceLabel))
		rotate := func() (digit int, err error) {
			err = d.Write(context.Background(), func(tx *db.Tx) error {
				digit, err = s.RotateBounceKey(tx)
				return err
			})
			other.generation.Add(1) // it would notice within cacheTime
			return digit, err
		}
		age := func(by time.Duration) {
			s.do(func(tx *db.Tx) error {
				_, err := tx.Exec(`UPDATE secret SET created = created - ?`, by.Milliseconds())
				s.Changed(tx)
				return err
			})
		}
		first := s.signed("alice@our.test")
		if _, err := rotate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("rotated at once: %v", err)
		}
		for i := 1; i <= prvsCount; i++ {
			age(prvsSpan)
			if digit, err := rotate(); err != nil || digit != i%prvsCount {
				t.Fatalf("rotation %d: key %d, %v", i, digit, err)
			}
			if i == 1 {
				age(prvsRest)
			}
			if i > 2 {
				continue
			}
			for _, dir := range []*site{s, other} {
				if b, err := dir.Bounce(context.Background(), first); err != nil || b.Proof != BounceOurs {
					t.Errorf("after rotation %d: %+v, %v", i, b, err)
				}
			}
			// The second key rested and signs; the third does not yet.
			if tag, _ := parsePRVS(s.signed("alice@our.test").Local); tag.key != 1 {
				t.Errorf("after rotation %d key %d signs", i, tag.key)
			}
		}
		if b, err := other.Bounce(context.Background(), first); err != nil || b.Proof != BounceForeign {
			t.Errorf("after all rotations: %+v, %v", b, err)
		}
	})
}
