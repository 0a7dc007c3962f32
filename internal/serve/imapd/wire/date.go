package wire

import (
	"strings"
	"time"
)

// Layouts of date-time and date (RFC 9051 section 9).
const (
	dateTime = "_2-Jan-2006 15:04:05 -0700"
	dateOnly = "2-Jan-2006"
)

// DateTime reads a quoted date-time, as APPEND has it.
func (d *Decoder) DateTime() time.Time {
	s := d.quoted()
	if d.err != nil {
		return time.Time{}
	}
	// Some clients write the day with one digit and no space before it.
	t, err := time.Parse(dateTime, s)
	if err != nil {
		t, err = time.Parse(dateTime, strings.TrimSpace(s))
	}
	if err != nil || t.Year() < 1 {
		d.Fail("Bad date and time")
		return time.Time{}
	}
	return t
}

// Date reads a date, quoted or not, as midnight UTC of that day.
func (d *Decoder) Date() time.Time {
	t, err := time.Parse(dateOnly, d.Astring())
	if err != nil {
		d.Fail("Bad date")
		return time.Time{}
	}
	return t
}

// FormatDateTime writes INTERNALDATE without its quotes. The zone is the
// server's, as other servers have it.
func FormatDateTime(t time.Time) string { return t.Format("02-Jan-2006 15:04:05 -0700") }
