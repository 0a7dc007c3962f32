package mail

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrDate is wrapped by every error of ParseDate.
var ErrDate = errors.New("invalid date")

// FormatDate writes t for a Date or Received field (RFC 5322 section 3.3).
func FormatDate(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") }

// ParseDate reads a date-time, tolerantly: weekday, seconds, zone and the
// order of day and month may vary, years may have two digits, comments are
// left out, and the forms of asctime and ISO 8601 are taken. A date without
// usable zone is taken as UTC.
func ParseDate(value string) (time.Time, error) {
	value = strings.TrimSpace(stripComments(value))
	if len(value) > 200 {
		return time.Time{}, fmt.Errorf("%w: %d octets", ErrDate, len(value))
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, value); err == nil {
			return t, nil
		}
	}
	d := dateParts{day: -1, year: -1, hour: -1}
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\r' || r == '\n' })
	for _, w := range words {
		d.take(w)
	}
	if d.day < 1 || d.month == 0 || d.year < 0 || d.hour < 0 {
		return time.Time{}, fmt.Errorf("%w: %.60q", ErrDate, value)
	}
	t := time.Date(d.year, d.month, d.day, d.hour, d.min, min(d.sec, 59), 0, d.zone())
	if t.Day() != d.day || d.hour > 23 || d.min > 59 || d.sec > 60 {
		return time.Time{}, fmt.Errorf("%w: %.60q", ErrDate, value)
	}
	return t, nil
}

type dateParts struct {
	day, year, hour, min, sec int
	month                     time.Month
	offset                    int // seconds east of UTC
}

func (d *dateParts) zone() *time.Location {
	if d.offset == 0 {
		return time.UTC
	}
	return time.FixedZone("", d.offset)
}

// take gives one word its meaning by its form.
func (d *dateParts) take(w string) {
	switch {
	case (w[0] == '+' || w[0] == '-') && len(w) >= 3:
		d.takeOffset(w)
	case strings.Count(w, ":") > 0 || d.hour < 0 && d.day > 0 && d.year >= 0 && strings.Count(w, ".") == 2:
		d.takeTime(w)
	case w[0] >= '0' && w[0] <= '9':
		if parts := strings.Split(w, "-"); len(parts) == 3 { // 24-Nov-2026
			for _, p := range parts {
				if p != "" {
					d.take(p)
				}
			}
			return
		}
		d.takeNumber(w)
	default:
		d.takeName(w)
	}
}

func (d *dateParts) takeTime(w string) {
	if i := strings.LastIndexAny(w, "+-"); i > 0 { // 12:00:00+0900
		d.takeOffset(w[i:])
		w = w[:i]
	}
	w, _, _ = strings.Cut(strings.ReplaceAll(w, ".", ":"), "Z")
	parts := strings.Split(w, ":")
	if len(parts) < 2 {
		return
	}
	d.hour, d.min = number(parts[0]), number(parts[1])
	if len(parts) > 2 {
		d.sec = max(number(parts[2]), 0)
	}
	if d.min < 0 {
		d.hour = -1
	}
}

func (d *dateParts) takeOffset(w string) {
	digits := strings.ReplaceAll(w[1:], ":", "")
	v := number(digits)
	if v < 0 || len(digits) > 4 {
		return
	}
	if len(digits) <= 2 {
		v *= 100
	}
	if v/100 > 24 || v%100 > 59 {
		return
	}
	d.offset = (v/100*60 + v%100) * 60
	if w[0] == '-' {
		d.offset = -d.offset
	}
}

// takeNumber takes the first small number as the day and the next as the year
// (RFC 5322 section 4.3 for years of two and three digits).
func (d *dateParts) takeNumber(w string) {
	v := number(strings.TrimRight(w, ".thsndr"))
	switch {
	case v < 0:
	case d.day < 0 && v <= 31 && len(w) <= 4:
		d.day = v
	case d.year < 0 && v < 10000:
		if len(w) == 2 && v < 50 {
			v += 2000
		} else if len(w) <= 3 {
			v += 1900
		}
		d.year = v
	}
}

func (d *dateParts) takeName(w string) {
	if len(w) >= 3 && d.month == 0 {
		for m := time.January; m <= time.December; m++ {
			if strings.EqualFold(w[:3], m.String()[:3]) {
				d.month = m
				return
			}
		}
	}
	// The other names have no dependable meaning (RFC 5322 section 4.3).
	if h, ok := map[string]int{"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
		"JST": 9, "CET": 1, "CEST": 2}[strings.ToUpper(w)]; ok && d.offset == 0 {
		d.offset = h * 3600
	}
	if strings.EqualFold(w, "pm") && d.hour > 0 && d.hour < 12 {
		d.hour += 12
	}
}

// number reads digits only; anything else is -1.
func number(s string) int {
	if s == "" || len(s) > 5 || strings.Trim(s, "0123456789") != "" {
		return -1
	}
	v, _ := strconv.Atoi(s)
	return v
}

// stripComments drops (comments), nested ones too.
func stripComments(s string) string {
	if !strings.Contains(s, "(") {
		return s
	}
	var b strings.Builder
	depth := 0
	for i := range len(s) {
		switch {
		case s[i] == '(':
			depth++
		case s[i] == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
