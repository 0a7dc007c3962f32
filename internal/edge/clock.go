package edge

import "time"

// Clock tells the engine's time. With a scale of 1 it is the world's; a test
// lets days pass in minutes.
type Clock struct {
	start time.Time // with its monotonic reading: steps of the wall clock do not reach the engine
	base  Time
	scale float64
}

// NewClock starts a clock. It shows the world's time, or where that is later
// `after`, the newest time of a snapshot: engine time never goes back.
func NewClock(scale float64, after Time) *Clock {
	if scale <= 0 {
		scale = 1
	}
	now := time.Now()
	return &Clock{start: now, base: max(Time(now.Unix()), after), scale: scale}
}

// Now gives the engine's time.
func (c *Clock) Now() Time {
	return c.base + Time(time.Since(c.start).Seconds()*c.scale)
}

// Wall gives the wall-clock time at which the engine's clock shows t.
func (c *Clock) Wall(t Time) time.Time {
	return c.start.Add(time.Duration((float64(t) - float64(c.base)) / c.scale * float64(time.Second))).Round(0)
}

// Span gives how long so much of the engine's time takes.
func (c *Clock) Span(d time.Duration) time.Duration { return time.Duration(float64(d) / c.scale) }
