package edge

import "sync"

// Weather is in one word what unproven sources do, for people: the engine
// itself knows no levels.
type Weather uint8

// The weathers.
const (
	Fair   Weather = iota // few of those who come guess
	Alert                 // a fifth do
	Attack                // most do, for a minute
)

// String gives calm, alert or attack.
func (w Weather) String() string { return [...]string{"calm", "alert", "attack"}[w] }

const (
	alertShare  = 0.2 // share of guessers among unproven sources
	attackShare = 0.5
	attackTime  = 60      // seconds over attackShare that make an attack
	fairTime    = 15 * 60 // seconds under alertShare that end it
)

// weather remembers the level, so that it does not flicker.
type weather struct {
	mu    sync.Mutex
	level Weather
	since Time // of the level
	high  Time // since when the share has been over attackShare; 0: it is not
	low   Time // since when it has been under alertShare; 0: it is not
}

// observe takes the share of guessers at now and gives the level, and whether
// it is new.
func (w *weather) observe(share float64, now Time) (Weather, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mark(&w.high, share > attackShare, now)
	mark(&w.low, share < alertShare, now)
	was := w.level
	switch {
	case w.high != 0 && now-w.high >= attackTime:
		w.level = Attack
	case was == Fair && share > alertShare:
		w.level = Alert
	case w.low != 0 && now-w.low >= fairTime:
		w.level = Fair
	}
	if w.level != was {
		w.since = now
	}
	return w.level, w.level != was
}

// mark keeps since when something holds.
func mark(since *Time, holds bool, now Time) {
	switch {
	case !holds:
		*since = 0
	case *since == 0 || *since > now:
		*since = now
	}
}

func (w *weather) get() (Weather, Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.level, w.since
}

func (w *weather) append(b []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	b = append(b, byte(w.level))
	for _, t := range [3]Time{w.since, w.high, w.low} {
		b = le.AppendUint32(b, uint32(t))
	}
	return b
}

func (w *weather) read(c *cursor) {
	w.level = min(Weather(c.u8()), Attack)
	w.since, w.high, w.low = Time(c.u32()), Time(c.u32()), Time(c.u32())
}

func (w *weather) copy(o *weather) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.level, w.since, w.high, w.low = o.level, o.since, o.high, o.low
}

// Observe brings the weather to now and tells whether it changed. Somebody
// must call it every few seconds (Keeper).
func (e *Engine) Observe(now Time) (Weather, bool) {
	return e.weather.observe(e.guessers(e.rootShare(now)), now)
}

// rootShare is the share of all unproven sources that lately met unknown
// recipients.
func (e *Engine) rootShare(now Time) float64 {
	e.root.decay(now, e.rules.LevelFade, rootLimit)
	return e.root.share(expected, rootWeight)
}
