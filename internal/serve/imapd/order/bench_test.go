package order

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// many are 100,000 messages in threads of some ten.
var many = func() []Message {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]Message, 100_000)
	for i := range out {
		k := i / 10 * 10
		subject := fmt.Sprintf("Re: [list] Subject number %d of the many", k)
		if i%20 == 3 {
			subject = "Re: =?utf-8?B?5Lya6K2w44Gu5Lu2?= " + fmt.Sprint(k)
		}
		fields := []string{fmt.Sprintf("Message-ID: <%d.abcdefghij@mail.example.test>", i), "Subject: " + subject,
			fmt.Sprintf("From: Person %d <person%d@example.test>", i%500, i%500)}
		if i > k {
			fields = append(fields, fmt.Sprintf("References: <%d.abcdefghij@mail.example.test> <%d.abcdefghij@mail.example.test>", k, k+r.IntN(i-k)))
		}
		out[i] = message(uint32(i+1), r.IntN(100_000), fields...)
	}
	return out
}()

func benchmarkSort(b *testing.B, criteria ...Criterion) {
	for b.Loop() {
		s := NewSorter(criteria)
		for _, m := range many {
			s.Add(m)
		}
		s.Numbers()
	}
}

func BenchmarkSortDate(b *testing.B)    { benchmarkSort(b, Criterion{Key: Date}) }
func BenchmarkSortSubject(b *testing.B) { benchmarkSort(b, Criterion{Key: Subject}) }
func BenchmarkSortFrom(b *testing.B) {
	benchmarkSort(b, Criterion{Key: From}, Criterion{Key: Date, Reverse: true})
}

func benchmarkThread(b *testing.B, byReference bool) {
	for b.Loop() {
		t := NewThreader(byReference)
		for _, m := range many {
			t.Add(m)
		}
		t.Threads().Append(nil)
	}
}

func BenchmarkThreadReferences(b *testing.B)     { benchmarkThread(b, true) }
func BenchmarkThreadOrderedSubject(b *testing.B) { benchmarkThread(b, false) }
