package dns

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// flaky answers as it is told, and counts.
type flaky struct {
	Resolver
	err   error
	asked int
}

func (f *flaky) TXT(context.Context, string) (TXTResult, error) {
	f.asked++
	return TXTResult{}, f.err
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &Error{Kind: ErrTemporary}
		f := &flaky{err: silent}
		b := &Breaker{Resolver: f, Failures: 3, Rest: time.Minute}
		ask := func(times, want int) {
			t.Helper()
			f.asked = 0
			for range times {
				if _, err := b.TXT(t.Context(), "a.test"); f.err != nil && !IsTemporary(err) {
					t.Fatal(err)
				}
			}
			if f.asked != want {
				t.Errorf("asked %d times, want %d", f.asked, want)
			}
		}
		ask(10, 3) // then it rests
		time.Sleep(time.Minute + time.Second)
		ask(10, 1) // one try
		time.Sleep(time.Minute + time.Second)
		f.err = &Error{Kind: ErrNoName}
		for range 10 {
			if _, err := b.TXT(t.Context(), "a.test"); err != nil && !IsNotFound(err) && !errors.Is(err, errResting) {
				t.Fatal(err)
			}
		}
		f.err = nil
		ask(10, 10) // that there is no such name is an answer
		f.err = silent
		ask(2, 2)
		f.err = nil
		ask(1, 1)
		f.err = silent
		ask(2, 2) // an answer between begins the count anew
	})
}
