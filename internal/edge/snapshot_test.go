package edge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const testTime = Time(1_700_000_000)

// crowd makes an engine that has seen some of everything.
func crowd(t testing.TB, n int) *Engine {
	e := newTest(t, Sizes{Sources: 8192, Realms: 64})
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		a := Attempt{Time: testTime + Time(i), Named: Finding(i % 3), SPF: Finding(i % 2),
			Source:    SourceOf(netip.AddrFrom4([4]byte{192, byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256))})),
			Recipient: e.Hash(fmt.Sprint("r", r.IntN(300))), Sender: e.Hash("s@x.test"), Realm: e.Hash("example.test")}
		if i%5 == 0 {
			a.Source = SourceOf(netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::1", i%7, i)))
		}
		if i%2 == 0 {
			a.Identity = Identity{Key: e.Hash(fmt.Sprint("d", i%50, ".test")), Proven: true}
		}
		d := e.Decide(&a)
		truth := Truth(r.IntN(2))
		e.Learn(&a, &d, truth)
		if !d.Defer && truth == Exists {
			e.Credit(&a, &d)
		}
	}
	e.Observe(testTime + Time(n))
	return e
}

// entries gives all that a table remembers.
func entries(t *table) map[uint64]state {
	m := map[uint64]state{}
	t.forEach(func(k uint64, s *state) { m[k] = *s })
	return m
}

func save(t testing.TB, e *Engine, now Time) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.Save(&b, now); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSnapshotKeepsAllInOtherSizes(t *testing.T) {
	e := crowd(t, 3000)
	want, ids := entries(e.sources), entries(e.identities)
	snapshot := save(t, e, testTime+3000)
	for _, sizes := range []Sizes{e.sizes, {Sources: 100_000, Identities: 30_000, Networks: 90_000, Realms: 7}} {
		o := newTest(t, sizes)
		newest, err := o.Load(bytes.NewReader(snapshot))
		if err != nil || newest != testTime+3000 {
			t.Fatalf("newest %d, %v", newest, err)
		}
		if got := entries(o.sources); len(got) != len(want) || int(o.sources.live.Load()) != len(want) {
			t.Errorf("%d sources, counted %d, want %d", len(got), o.sources.live.Load(), len(want))
		} else {
			for k, s := range want {
				if got[k] != s {
					t.Errorf("source %x: %+v, want %+v", k, got[k], s)
				}
			}
		}
		if got := entries(o.identities); len(got) != len(ids) || len(ids) < 20 {
			t.Errorf("%d identities, want %d", len(got), len(ids))
		}
		if o.Hash("x") != e.Hash("x") {
			t.Error("it hashes otherwise")
		}
		a := Attempt{Time: testTime + 3000, Source: SourceOf(netip.MustParseAddr("192.0.2.7")), Realm: e.Hash("example.test")}
		if p, q := o.prior(&a), e.prior(&a); p != q {
			t.Errorf("prior %v, want %v", p, q)
		}
		if p, q := o.fill(testTime+3000), e.fill(testTime+3000); p != q {
			t.Errorf("disclosure budget %v, want %v", p, q)
		}
	}
}

func TestSnapshotIntoSmallerTablesKeepsWhatMatters(t *testing.T) {
	e := newTest(t, Sizes{Sources: 8192})
	for i := range 5000 {
		try(e, testTime, fmt.Sprintf("10.0.%d.%d", i/250, i%250), "known", Exists)
	}
	bad := "10.9.9.9"
	for i := range 10 {
		try(e, testTime, bad, fmt.Sprint("guess", i), Unknown)
	}
	o := newTest(t, Sizes{Sources: 1024})
	if _, err := o.Load(bytes.NewReader(save(t, e, testTime))); err != nil {
		t.Fatal(err)
	}
	if d := try(o, testTime+60, bad, "another", Unknown); d.Why != Penalty {
		t.Errorf("the guesser is answered: %v", d.Why)
	}
}

// TestDamagedSnapshotChangesNothing: cut anywhere, or with any octet changed.
func TestDamagedSnapshotChangesNothing(t *testing.T) {
	good := save(t, crowd(t, 300), testTime+300)
	e := newTest(t, Sizes{Sources: 4096})
	try(e, testTime, "192.0.2.1", "x", Exists)
	was, secret := entries(e.sources), e.secret
	check := func(what string, b []byte) {
		if _, err := e.Load(bytes.NewReader(b)); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", what, err)
		}
		if got := entries(e.sources); len(got) != len(was) || e.secret != secret {
			t.Fatalf("%s: the engine changed", what)
		}
	}
	for i := 0; i < len(good); i += max(1, len(good)/97) {
		check(fmt.Sprint("cut at ", i), good[:i])
		b := slices.Clone(good)
		b[i] ^= 0x10
		check(fmt.Sprint("changed at ", i), b)
	}
	check("longer", append(slices.Clone(good), 0))
	check("foreign", []byte("SQLite format 3\x00 and so on"))
}

func TestSnapshotFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), StrangersName)
	e := crowd(t, 500)
	if _, err := e.LoadFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	for range 2 { // the second replaces the first
		if err := e.SaveFile(path, testTime+500); err != nil {
			t.Fatal(err)
		}
	}
	o, newest, err := OpenFile(path, DefaultRules())
	if err != nil || newest != testTime+500 || o.sizes != e.sizes {
		t.Fatalf("%v, newest %d, sizes %+v", err, newest, o.sizes)
	}
	defer o.Close()
	if left, _ := filepath.Glob(filepath.Dir(path) + "/*"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.WriteFile(path, []byte("nonsense, and long enough to be looked at"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenFile(path, DefaultRules()); !errors.Is(err, ErrSnapshot) {
		t.Errorf("nonsense: %v", err)
	}
}

// TestSaveWhileWorking: a snapshot that is written while attempts come in is a
// good one.
func TestSaveWhileWorking(t *testing.T) {
	e := crowd(t, 100)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				try(e, testTime+200, fmt.Sprintf("10.1.%d.%d", i/250%250, i%250), fmt.Sprint("g", i), Unknown)
			}
		}
	}()
	for range 20 {
		if _, err := newTest(t, Sizes{Sources: 4096}).Load(bytes.NewReader(save(t, e, testTime+200))); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
}

// FuzzSnapshot: whatever a file says, reading it takes little memory, ends, and
// leaves an engine that works; and what was read can be written and read.
func FuzzSnapshot(f *testing.F) {
	f.Add(save(f, crowd(f, 20), testTime))
	f.Add([]byte(snapshotMagic + "\x01"))
	f.Add(append([]byte(snapshotMagic+"\x01"), 1, 0, 0, 0, 255, 255, 255, 255))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := New(DefaultRules(), Sizes{Sources: 512, Identities: 512, Networks: 64, Realms: 16})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for _, b := range [][]byte{in, resum(in)} {
			newest, err := e.Load(bytes.NewReader(b))
			if err != nil {
				continue
			}
			try(e, newest, "192.0.2.1", "x", Unknown)
			if _, err := e.Load(bytes.NewReader(save(t, e, newest))); err != nil {
				t.Fatalf("what was written is not read: %v", err)
			}
		}
	})
}

// resum corrects the checksums of blocks, so that fuzzing comes behind them.
func resum(in []byte) []byte {
	b := slices.Clone(in)
	for at := len(snapshotMagic) + 1; at+blockHead <= len(b); {
		kind, count := section(b[at]), le.Uint32(b[at+4:])
		if kind >= sections || count > blockLimit {
			break
		}
		end := at + blockHead + int(count)*entrySize[kind]
		if end+4 > len(b) {
			break
		}
		le.PutUint32(b[end:], checksum(b[at:end]))
		at = end + 4
	}
	return b
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "snapshot")
			e, err := New(DefaultRules(), Sizes{Sources: n * 10 / 9})
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				key := uint64(i)*2654435761%(1<<32) + 1
				e.sources.insert(e.sources.place(key), key, testTime)
			}
			if err := e.SaveFile(path, testTime); err != nil {
				b.Fatal(err)
			}
			live := e.sources.live.Load()
			e.Close()
			for b.Loop() {
				o, _, err := OpenFile(path, DefaultRules())
				if err != nil {
					b.Fatal(err)
				}
				o.Close()
			}
			b.ReportMetric(float64(live)*float64(b.N)/b.Elapsed().Seconds(), "sources/s")
		})
	}
}

func BenchmarkSave(b *testing.B) {
	e, err := New(DefaultRules(), Sizes{Sources: 1_100_000})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for i := range 1_000_000 {
		key := uint64(i)*2654435761%(1<<32) + 1
		e.sources.insert(e.sources.place(key), key, testTime)
	}
	for b.Loop() {
		if err := e.Save(io.Discard, testTime); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(e.sources.live.Load())*float64(b.N)/b.Elapsed().Seconds(), "sources/s")
}
