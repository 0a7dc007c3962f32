package script

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// message is one message of an mbox file.
type message struct {
	date time.Time // of its From line
	text []byte    // with CRLF
}

// internalDate is its date as APPEND wants it.
func (m message) internalDate() string { return m.date.Format(`"_2-Jan-2006 15:04:05 -0700"`) }

// readMbox splits an mbox file. The empty line before a From line belongs to
// the message.
func readMbox(text []byte) ([]message, error) {
	var all []message
	var last *message
	for line := range bytes.Lines(text) {
		if from, ok := bytes.CutPrefix(line, []byte("From ")); ok {
			date, err := fromDate(string(from))
			if err != nil {
				return nil, err
			}
			all = append(all, message{date: date})
			last = &all[len(all)-1]
			continue
		}
		if last == nil {
			return nil, fmt.Errorf("an mbox file must begin with a From line, not %q", line)
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		last.text = append(append(last.text, line...), "\r\n"...)
	}
	return all, nil
}

// fromDate reads the date after the sender of a From line, with or without a
// time zone.
func fromDate(line string) (time.Time, error) {
	_, date, _ := strings.Cut(strings.TrimSpace(line), " ")
	date = strings.Join(strings.Fields(date), " ")
	for _, layout := range []string{"Mon Jan 2 15:04:05 2006", "Mon Jan 2 15:04:05 2006 -0700"} {
		if t, err := time.Parse(layout, date); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("no date in the From line %q", line)
}
