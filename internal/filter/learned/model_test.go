package learned_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/learned"
)

func entry(token string, weight, spam, ham float64) learned.Entry {
	return learned.Entry{Hash: uint32(learned.Hashes([]string{token})[0] >> 32), Weight: weight, Spam: spam, Ham: ham}
}

// small is a site that knows a few words.
func small() *learned.Site {
	var entries []learned.Entry
	for i := range 20 {
		entries = append(entries, entry(fmt.Sprintf("bad%c", 'a'+i), 1, 0.2, 0.01),
			entry(fmt.Sprintf("good%c", 'a'+i), -1, 0.01, 0.2), entry(fmt.Sprintf("word%c", 'a'+i), 0, 0.5, 0.5))
	}
	return learned.NewSite(entries)
}

// some gives the tokens prefix+a … of n words.
func some(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%c", prefix, 'a'+i)
	}
	return out
}

func join(lists ...[]string) []string {
	var out []string
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func classify(t testing.TB, m *learned.Model, account string, tokens []string) learned.Verdict {
	t.Helper()
	v, err := m.Classify(context.Background(), account, tokens)
	if err != nil {
		t.Fatal(err)
	}
	if !(v.Score > 0 && v.Score < 1) || v.Knowledge < 0 || v.Knowledge > 1 || len(v.Reasons) > 10 {
		t.Errorf("verdict %+v", v)
	}
	return v
}

func teach(t testing.TB, m *learned.Model, tokens []string, spam bool) {
	t.Helper()
	if err := m.Train(context.Background(), "ann", tokens, spam); err != nil {
		t.Fatal(err)
	}
}

func TestSiteAlone(t *testing.T) {
	m := &learned.Model{Site: small()}
	common := some("word", 20)
	if v := classify(t, m, "", join(common, some("bad", 12))); v.Score < 0.97 || v.Knowledge < 0.6 {
		t.Errorf("spam: %+v", v)
	}
	if v := classify(t, m, "", join(common, some("good", 12))); v.Score > 0.03 {
		t.Errorf("wanted: %+v", v)
	}
	for _, tokens := range [][]string{nil, common, some("unheard", 26), join(some("bad", 6), some("good", 6))} {
		if v := classify(t, m, "", tokens); math.Abs(v.Score-0.5) > 0.01 {
			t.Errorf("%q: %+v", tokens, v)
		}
	}
}

// The less of a message is known, the nearer its verdict is to no idea.
func TestUnknownLanguage(t *testing.T) {
	m := &learned.Model{Site: small()}
	last := 1.0
	for _, unknown := range []int{0, 20, 60, 200} {
		tokens := some("bad", 10)
		for i := range unknown {
			tokens = append(tokens, fmt.Sprintf("語%c%c", 'a'+i/26, 'a'+i%26))
		}
		v := classify(t, m, "", tokens)
		if v.Score > last {
			t.Errorf("%d unknown words: %.3f after %.3f", unknown, v.Score, last)
		}
		last = v.Score
	}
	if last > 0.55 {
		t.Errorf("hardly anything known and %.3f", last)
	}
}

// Whatever is taught and taken back in whatever order leaves nothing behind.
func TestUndoIsExact(t *testing.T) {
	ctx := context.Background()
	store := newMemory()
	m := &learned.Model{Site: small(), Store: store}
	teach(t, m, some("kept", 5), true)
	before := store.snapshot("ann")
	verdict := classify(t, m, "ann", join(some("kept", 5), some("word", 20)))
	a, b := join(some("x", 10), some("x", 3)), join(some("x", 4), some("kept", 2))
	teach(t, m, a, true)
	teach(t, m, b, false)
	for _, undo := range []struct {
		tokens []string
		spam   bool
	}{{a, true}, {b, false}} {
		if err := m.Undo(ctx, "ann", undo.tokens, undo.spam); err != nil {
			t.Fatal(err)
		}
	}
	if after := store.snapshot("ann"); !reflect.DeepEqual(before, after) {
		t.Errorf("before %v\nafter %v", before, after)
	}
	if again := classify(t, m, "ann", join(some("kept", 5), some("word", 20))); !reflect.DeepEqual(verdict, again) {
		t.Errorf("verdict %v, then %v", verdict, again)
	}
	if v := classify(t, m, "bob", some("kept", 5)); v.Taught != 0 {
		t.Errorf("another account knows: %+v", v)
	}
}

// A message taken back that was never taught leaves counts below 0, which must
// not turn a verdict into nonsense.
func TestUndoTooOften(t *testing.T) {
	m := &learned.Model{Site: small(), Store: newMemory()}
	for range 30 {
		teach(t, m, join(some("word", 20), some("x", 5)), true)
		teach(t, m, some("word", 20), false)
	}
	for range 3 {
		if err := m.Undo(context.Background(), "ann", some("y", 20), true); err != nil {
			t.Fatal(err)
		}
	}
	if v := classify(t, m, "ann", join(some("word", 20), some("y", 20))); math.Abs(v.Score-0.5) > 0.2 {
		t.Errorf("%+v", v)
	}
}

// What an account teaches changes little at first and much in the end, without
// a jump in between.
func TestTeachingGrowsSmoothly(t *testing.T) {
	m := &learned.Model{Site: small(), Store: newMemory()}
	common := some("word", 20)
	newsletter := join(common, some("bad", 8), []string{"from:shop.example"}, some("shoes", 15))
	alone := classify(t, m, "ann", newsletter).Score
	last := alone
	for n := 1; n <= 800; n++ {
		teach(t, m, newsletter, false)
		teach(t, m, join(common, some("bad", 8), some("pills", 15)), true)
		v := classify(t, m, "ann", newsletter)
		if math.Abs(v.Score-last) > 0.12 {
			t.Fatalf("jump from %.3f to %.3f at %d", last, v.Score, v.Taught)
		}
		if v.Taught == 10 && alone-v.Score > 0.25 {
			t.Errorf("ten taught mails moved %.3f to %.3f", alone, v.Score)
		}
		last = v.Score
	}
	if last > 0.2 {
		t.Errorf("wanted for years and still %.3f, %.3f at first", last, alone)
	}
}

// Who only ever says what is spam has not said what is none: a language that
// all taught spam is in must not become spam.
func TestOnlySpamTaught(t *testing.T) {
	m := &learned.Model{Site: small(), Store: newMemory()}
	for range 200 {
		teach(t, m, join(some("言語", 26), some("悪い", 20)), true)
	}
	if v := classify(t, m, "ann", join(some("言語", 26), some("無事", 20))); v.Score > 0.6 {
		t.Errorf("%+v", v)
	}
}

// A salad of words from wanted mail neither makes spam wanted nor, once it is
// taught as spam, wanted mail spam.
func TestPoisoning(t *testing.T) {
	m := &learned.Model{Site: small(), Store: newMemory()}
	spam := join(some("word", 20), some("bad", 20), some("pills", 10))
	for i := range 100 {
		teach(t, m, join(some("word", 20), some("good", 5+i%10), some("plan", 10)), false)
		teach(t, m, spam, true)
	}
	salad := join(spam, some("good", 6))
	for i := range 500 {
		salad = append(salad, fmt.Sprintf("salad%d", i))
	}
	if v := classify(t, m, "ann", salad); v.Score < 0.5 {
		t.Errorf("salad made it %.3f", v.Score)
	}
	wanted := join(some("word", 20), some("good", 10), some("plan", 10))
	before := classify(t, m, "ann", wanted).Score
	for range 100 {
		teach(t, m, join(spam, some("good", 10)), true)
	}
	if v := classify(t, m, "ann", wanted); v.Score > 0.5 {
		t.Errorf("taught salad made wanted mail %.3f, from %.3f", v.Score, before)
	}
}

func TestReasons(t *testing.T) {
	m := &learned.Model{Site: small(), Store: newMemory()}
	for range 60 {
		teach(t, m, join(some("word", 20), []string{"from:shop.example"}), false)
		teach(t, m, join(some("word", 20), []string{"host:pills.example"}), true)
	}
	v := classify(t, m, "ann", join(some("word", 20), []string{"bada", "host:pills.example", "from:shop.example"}))
	words := v.String()
	for _, want := range []string{"likely to be spam (120 messages taught)", `"bada" speaks`, "a link to pills.example speaks",
		"the sender's domain shop.example speaks", "against spam, by your own mail"} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in %q", want, words)
		}
	}
	for i, r := range v.Reasons[1:] {
		if math.Abs(r.Weight) > math.Abs(v.Reasons[i].Weight) {
			t.Errorf("not in order: %v", v.Reasons)
		}
	}
}

func TestSiteBinary(t *testing.T) {
	b, err := small().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	s, err := learned.ReadSite(b)
	if err != nil || !reflect.DeepEqual(s, small()) {
		t.Fatalf("%v, %v", s, err)
	}
	for n := range b {
		if _, err := learned.ReadSite(b[:n]); err == nil {
			t.Errorf("read %d of %d octets", n, len(b))
		}
	}
	if n := learned.DefaultSite().Len(); n < 1000 {
		t.Errorf("the default model knows %d tokens", n)
	}
}

func FuzzReadSite(f *testing.F) {
	b, _ := small().MarshalBinary()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := learned.ReadSite(b)
		if err != nil {
			return
		}
		if v, err := (&learned.Model{Site: s}).Classify(context.Background(), "", some("bad", 20)); err != nil || math.IsNaN(v.Score) {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func TestStoreError(t *testing.T) {
	store := newMemory()
	store.err = errors.New("disk")
	m := &learned.Model{Site: small(), Store: store}
	if _, err := m.Classify(context.Background(), "ann", some("bad", 3)); !errors.Is(err, store.err) {
		t.Error(err)
	}
	if err := m.Train(context.Background(), "", some("bad", 3), true); err == nil {
		t.Error("taught nobody")
	}
	p := &filter.Pipeline{Filters: []filter.Filter{&learned.Filter{Model: m}}}
	res := p.Run(context.Background(), read(t, text("x")), []filter.Recipient{{Account: "ann"}}, func(int, string) bool { return true })
	if len(res.Failures) != 1 || res.Failures[0].Filter != "learned" {
		t.Errorf("%+v", res)
	}
}

// Each recipient hears what his own account taught.
func TestFilterPerRecipient(t *testing.T) {
	m := &learned.Model{Site: small(), Store: newMemory()}
	body := strings.Join(join(some("word", 20), some("bad", 20)), " ")
	msg := read(t, text(body))
	for range 400 {
		teach(t, m, learned.Tokens(msg), false)
		teach(t, m, join(some("word", 20), some("pills", 20)), true)
	}
	p := &filter.Pipeline{Filters: []filter.Filter{&learned.Filter{Model: m}}}
	to := []filter.Recipient{{Account: "ann"}, {Account: "bob"}, {}}
	res := p.Run(context.Background(), msg, to, func(int, string) bool { return true })
	if f := res.Findings[0]; len(f) > 0 && f[0].Symbol == learned.SymbolSpam {
		t.Errorf("ann: %+v", f)
	}
	for _, i := range []int{1, 2} {
		if f := res.Findings[i]; len(f) != 1 || f[0].Symbol != learned.SymbolSpam || f[0].Score < 4.5 || !strings.Contains(f[0].Evidence, `"bad`) {
			t.Errorf("%d: %+v", i, f)
		}
	}
}

func TestFindingScores(t *testing.T) {
	for _, tc := range []struct {
		score  float64
		taught int
		want   float64
	}{{1, 0, 5}, {0.95, 0, 4.27}, {0.8, 0, 2.32}, {0.5, 100, 0}, {0.05, 29, -0.43}, {0.05, 30, -1.71}, {0, 30, -2}, {0, 0, -0.5}} {
		f, ok := learned.Verdict{Score: tc.score, Taught: tc.taught}.Finding()
		if f.Score != tc.want || ok != (tc.want != 0) {
			t.Errorf("%+v: %+v", tc, f)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	m := &learned.Model{Site: learned.DefaultSite(), Store: newMemory()}
	tokens := learned.Tokens(read(b, text(strings.Repeat("The quick brown fox jumps over the lazy dog while others sleep. ", 40))))
	teach(b, m, tokens, true)
	for b.Loop() {
		classify(b, m, "ann", tokens)
	}
}
