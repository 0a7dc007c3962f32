package edge

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ten million sources take 700 MB; -edge.sources makes them fewer.
var benchSources = flag.Int("edge.sources", 10_000_000, "live sources in benchmarks")

func TestStateIsFortyOctets(t *testing.T) {
	if n := unsafe.Sizeof(state{}); n != 40 {
		t.Errorf("a state takes %d octets", n)
	}
	if n := unsafe.Sizeof(bucket{}); n != 8*48 {
		t.Errorf("a bucket takes %d octets", n)
	}
}

var benchEngine *Engine

// filled gives an engine that knows n random IPv4 sources, in a table 90 % full.
func filled(b *testing.B, n int) *Engine {
	if benchEngine != nil {
		return benchEngine
	}
	e, err := New(DefaultRules(), Sizes{Sources: n * 10 / 9, Networks: n / 2})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	now := Time(1_800_000_000)
	for i := range n {
		a := attemptOf(e, benchAddress(i), rng.Uint64(), now)
		d := e.Decide(&a)
		e.Learn(&a, &d, Unknown)
	}
	b.Logf("%d of %d entries live, %d made room for others; %.1f octets a live source", e.sources.live.Load(), e.sources.slots(),
		e.sources.lost.Load(), float64(len(e.sources.mem))/float64(e.sources.live.Load()))
	benchEngine = e
	return e
}

// benchAddress spreads the sources over the address space.
func benchAddress(i int) uint32 { return uint32(i)*2654435761 | 1 }

func attemptOf(e *Engine, ip uint32, rcpt uint64, now Time) Attempt {
	k := uint64(ip)
	return Attempt{Time: now, Source: Source{key: k, narrow: k>>8 | mark24, wide: k>>16 | mark16}, Named: No,
		Realm: 7, Recipient: rcpt, Sender: rcpt >> 3}
}

// cpuTime is what the process has used: on a busy machine it says more than the
// time that passed.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRcpt is the whole work of a RCPT, decision and outcome, with as many
// sources as -edge.sources says, of which each core asks for random ones.
func BenchmarkRcpt(b *testing.B) {
	for _, c := range []struct {
		name string
		hot  int
	}{{"cold", *benchSources}, {"hot", 16_000}} {
		b.Run(fmt.Sprintf("%s-%d", c.name, *benchSources), func(b *testing.B) {
			e := filled(b, *benchSources)
			var seed atomic.Uint64
			b.ReportAllocs()
			b.ResetTimer()
			start := cpuTime()
			b.RunParallel(func(pb *testing.PB) {
				rng := rand.New(rand.NewPCG(seed.Add(1), 9))
				now := Time(1_800_003_600)
				for i := 0; pb.Next(); i++ {
					a := attemptOf(e, benchAddress(rng.IntN(c.hot)), rng.Uint64(), now+Time(i/1000))
					d := e.Decide(&a)
					truth := Exists
					if a.Recipient%3 != 0 {
						truth = Unknown
					}
					e.Learn(&a, &d, truth)
				}
			})
			b.ReportMetric(float64((cpuTime()-start).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
