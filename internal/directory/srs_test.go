package directory

import (
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

var testSecret = []byte("0123456789abcdef0123456789abcdef")

// TestSRSReturns: whatever sender, the bounce finds its way back within the
// window, also when hosts on the way changed case, and never after it; an
// address with anything changed is not ours.
func TestSRSReturns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.OneOf(
			rapid.StringMatching(`[a-zA-Z0-9._=+-]{1,30}`),
			rapid.StringMatching(`SRS[01][=+-][A-Za-z0-9=+.-]{0,40}`),
			rapid.StringMatching(`[ -~]{1,70}`),
			rapid.StringOfN(rapid.RuneFrom([]rune("aé漢@ \"\\=.")), 1, 20, 64),
		).Draw(t, "local")
		domain := rapid.SampledFrom([]mail.Domain{"a.test", "xn--wgv71a119e.test", "[192.0.2.1]", "[IPv6:2001:db8::1]", ""}).Draw(t, "domain")
		sender := mail.MakeAddress(local, domain)
		day := rapid.IntRange(0, srsWindow-1).Draw(t, "day")
		age := rapid.IntRange(0, srsWindow-2).Draw(t, "age")
		account := rapid.Int64Range(0, 1<<62).Draw(t, "account")
		enc := encodeSRS(testSecret, sender, account, day)
		a := mail.MakeAddress(enc, "our.test")
		if n := len(a.Wire) - len("@our.test"); n > mail.MaxLocal {
			t.Fatalf("%s: local part of %d octets", a, n)
		}
		if p, err := mail.ParseAddress(a.Wire); err != nil || p.Local != enc {
			t.Fatalf("%s does not parse: %v", a, err)
		}
		dated := strings.HasPrefix(enc, "SRS0")
		for _, form := range []string{enc, strings.ToLower(enc)} {
			back, err := decodeSRS(testSecret, form, (day+age)%srsWindow)
			if late := dated && age > srsDays; (err != nil) != late {
				t.Fatalf("%s after %d days: %v", form, age, err)
			}
			if err != nil {
				continue
			}
			if back.own {
				if back.account != account {
					t.Fatalf("account %d became %d", account, back.account)
				}
				continue
			}
			if dated && !strings.EqualFold(back.sender.Wire, sender.Wire) || form == enc && dated && back.sender.Local != local {
				t.Fatalf("%s came back as %s", sender, back.sender)
			}
		}
		i := rapid.IntRange(0, len(enc)-1).Draw(t, "place")
		forged := enc[:i] + "Q" + enc[i+1:]
		if !strings.EqualFold(forged, enc) {
			if back, err := decodeSRS(testSecret, forged, day); err == nil {
				t.Fatalf("forged %s gives %v", forged, back)
			}
		}
		if _, err := decodeSRS([]byte("another"), enc, day); err == nil {
			t.Fatal("another secret's address was taken")
		}
	})
}

func TestSRSChain(t *testing.T) {
	one, two, three := []byte("one"), []byte("two"), []byte("three")
	sender := mail.MakeAddress("Alice", "a.test")
	l1 := encodeSRS(one, sender, 1, 5)
	l2 := encodeSRS(two, mail.MakeAddress(l1, "one.test"), 1, 5)
	l3 := encodeSRS(three, mail.MakeAddress(l2, "two.test"), 1, 5)
	if !strings.HasPrefix(l2, "SRS1=") || !strings.HasPrefix(l3, "SRS1=") || len(l3) != len(l2) {
		t.Fatalf("%s\n%s\n%s", l1, l2, l3)
	}
	b3, err := decodeSRS(three, l3, 5)
	if err != nil || b3.sender.Domain != "one.test" {
		t.Fatalf("%v, %v", b3, err)
	}
	if b1, err := decodeSRS(one, b3.sender.Local, 5); err != nil || b1.sender.Wire != "Alice@a.test" {
		t.Fatalf("%v, %v", b1, err)
	}
}

func TestRewriteAndReturn(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		s := newSite(t, d)
		s.domain("our.test", nil)
		s.account("boss@our.test", func(a *Account) { a.Admin = true })
		bob := s.forward("bob@our.test", "bob@else.test", false)
		rewrite := func(sender string) string {
			t.Helper()
			a := mail.Address{}
			if sender != "" {
				a = addr(t, sender)
			}
			out, err := s.Rewrite(ctx, a, bob.Address, bob.ID)
			if err != nil {
				t.Fatal(err)
			}
			return out.Wire
		}
		if got := rewrite(""); got != "" {
			t.Errorf("null sender became %s", got)
		}
		if got := rewrite("eve@our.test"); got != "eve@our.test" {
			t.Errorf("own sender became %s", got)
		}
		srs := rewrite("Alice@a.test")
		if !strings.HasPrefix(srs, "SRS0=") || !strings.HasSuffix(srs, "=a.test=Alice@our.test") {
			t.Errorf("got %s", srs)
		}
		s.want(srs, "known to:Alice@a.test(reverse)")
		s.want(rewrite(srs), "known to:Alice@a.test(reverse)")
		s.want("SRS0=AAAAAA=AA=a.test=Alice@our.test", "unknown")
		s.want(rewrite(strings.Repeat("x", 60)+"@a.test"), "known box:bob@our.test(reverse)")
		s.do(func(tx *db.Tx) error { return s.DeleteAccount(tx, bob) })
		s.want(rewrite(strings.Repeat("x", 60)+"@a.test"), "known box:boss@our.test")
	})
}

func FuzzSRS(f *testing.F) {
	good := encodeSRS(testSecret, mail.MakeAddress("alice", "a.test"), 1, 5)
	own := encodeSRS(testSecret, mail.MakeAddress(strings.Repeat("x", 64), "a.test"), 7, 5)
	chain := encodeSRS(testSecret, mail.MakeAddress(good, "b.test"), 1, 5)
	for _, s := range []string{good, own, chain, "SRS0=", "SRS1=AAAAAA==", "srs0+x=y", strings.ToLower(good)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, local string) {
		back, err := decodeSRS(testSecret, local, 5)
		if err != nil {
			return
		}
		// Only what the secret signed decodes, whatever case it came in.
		for _, ours := range []string{good, own, chain} {
			if strings.EqualFold(local[1:], ours[1:]) {
				return
			}
		}
		t.Fatalf("%q decodes as %v", local, back)
	})
}
