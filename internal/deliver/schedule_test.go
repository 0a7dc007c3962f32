package deliver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelay(t *testing.T) {
	l := Limits{}.withDefaults()
	for n, want := range map[int]time.Duration{0: 3 * time.Minute, 1: 3 * time.Minute, 2: 6 * time.Minute, 5: 48 * time.Minute,
		6: 96 * time.Minute, 7: 3 * time.Hour, 50: 3 * time.Hour} {
		low, high := time.Duration(1<<62), time.Duration(0)
		for range 2000 {
			d := l.delay(n)
			low, high = min(low, d), max(high, d)
		}
		if low < want-want/5 || high > want+want/5 || high-low < want/4 {
			t.Errorf("attempt %d: %v to %v, want about %v", n, low, high, want)
		}
	}
}

// TestDeadRest: how long a dead next hop rests, over its deaths.
func TestDeadRest(t *testing.T) {
	r := &Runner{limits: Limits{DeadAfter: 1}.withDefaults()}
	var rests []time.Duration
	d := &destination{name: "x", width: 8}
	for range 7 {
		d.failures++
		r.dies(d, time.Now())
		rests = append(rests, d.rest)
		d.until = time.Time{}
	}
	want := []time.Duration{3, 6, 12, 24, 48, 60, 60}
	for i := range want {
		if rests[i] != want[i]*time.Minute {
			t.Errorf("rests %v, want %v minutes", rests, want)
			break
		}
	}
}

// TestSleepEndsWithContext in false time.
func TestSleepEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if start := time.Now(); sleep(ctx, 2*time.Hour) || time.Since(start) != time.Hour {
			t.Errorf("slept %v", time.Since(start))
		}
		if !sleep(context.Background(), time.Minute) {
			t.Error("not slept")
		}
	})
}
