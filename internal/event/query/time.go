package query

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var errTime = errors.New("no time: write 30m, 2h, 3d, 2w, today, yesterday, 14:00, 2026-11-25 or 2026-11-25T14:00")

// ParseTime reads a time as people write it, in the time zone of now: a span
// before now, a day or a moment. It gives the beginning and the end of what was
// meant, such as of a day; of a moment they are the same.
func ParseTime(text string, now time.Time) (from, to time.Time, err error) {
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch strings.ToLower(text) {
	case "now":
		return now, now, nil
	case "today":
		return day, day.AddDate(0, 0, 1), nil
	case "yesterday":
		return day.AddDate(0, 0, -1), day, nil
	}
	if d, ok := parseSpan(text); ok {
		return now.Add(-d), now.Add(-d), nil
	}
	if t, err := time.ParseInLocation("2006-01-02", text, now.Location()); err == nil {
		return t, t.AddDate(0, 0, 1), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, t, nil
		}
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			at := day.Add(t.Sub(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())))
			if at.After(now) {
				at = at.AddDate(0, 0, -1)
			}
			return at, at, nil
		}
	}
	return from, to, errTime
}

// parseSpan reads 90s, 30m, 2h, 3d or 2w, up to some centuries.
func parseSpan(text string) (time.Duration, bool) {
	if text == "" {
		return 0, false
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	unit, known := units[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
	if !known || err != nil || n > uint64(250*365*24*time.Hour/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
