package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time span, written "90s", "5m", "4h" or "5d".
type Duration time.Duration

// D gives it as the standard library has it.
func (d Duration) D() time.Duration { return time.Duration(d) }

// UnmarshalText reads the written form.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a number of days", s)
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a time span such as 90s, 5m, 4h or 5d", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes it the way it is read.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String gives the written form.
func (d Duration) String() string {
	v := time.Duration(d)
	if day := 24 * time.Hour; v >= day && v%day == 0 {
		return strconv.FormatInt(int64(v/day), 10) + "d"
	}
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size is a number of octets, written "512", "64 KiB", "50 MiB" or "2 GiB".
type Size int64

var units = []struct {
	name string
	size int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// UnmarshalText reads the written form.
func (z *Size) UnmarshalText(b []byte) error {
	number, factor := strings.TrimSpace(string(b)), int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(n), u.size
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return fmt.Errorf("%q is not a size such as 512 B, 64 KiB, 50 MiB or 2 GiB", string(b))
	}
	*z = Size(n * factor)
	return nil
}

// MarshalText writes it the way it is read.
func (z Size) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// String gives the written form in the largest unit that divides it.
func (z Size) String() string {
	for _, u := range units {
		if z != 0 && int64(z)%u.size == 0 {
			return fmt.Sprintf("%d %s", int64(z)/u.size, u.name)
		}
	}
	return "0 B"
}
