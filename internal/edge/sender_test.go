package edge

import (
	"fmt"
	"testing"

	"github.com/migiwa/migiwa/internal/mail"
)

// TestSharedDomainsFade has a firm whose people write under new names now and
// then, and a domain of free mail that always has many.
func TestSharedDomainsFade(t *testing.T) {
	e := newTest(t, Sizes{Sources: 4096, Identities: 4096})
	letters := func(n int) string { return fmt.Sprintf("%c%c%c", 'a'+n%26, 'a'+n/26%26, 'a'+n/676%26) }
	shared := func(domain mail.Domain, n int, now Time) bool {
		return e.shared(mail.MakeAddress(letters(n), domain), now)
	}
	for n := range 300 { // ten a month
		if shared("firm.test", n, testTime+Time(n)*3*86400) {
			t.Fatalf("a firm with %d names in %d days passes for many senders", n, 3*n)
		}
	}
	for n := range 100 {
		shared("free.test", n, testTime)
	}
	for day := range Time(200) {
		for n := range 5 {
			if !shared("free.test", 5*int(day)+n, testTime+day*86400) {
				t.Fatalf("day %d: free mail passes for one sender", day)
			}
		}
	}
	for day := Time(200); day < 300; day += 5 {
		if got := shared("free.test", 1, testTime+day*86400); day > 260 && got {
			t.Errorf("day %d: still shared, with one sender left", day)
		}
	}
	if shared("free.test", 1, testTime+1000*86400) {
		t.Error("still shared after years")
	}
}
