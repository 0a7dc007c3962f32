package event

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/mail"
)

// appendJSON appends e as encoding/json writes it, without escaping HTML, in a
// fifth of the time: it is done for each event, in the goroutine of who records
// it. A score that is no number is left out.
func (e *Event) appendJSON(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	b = appendText(b, "node", e.Node)
	b = append(b, `,"kind":`...)
	b = appendString(b, string(e.Kind))
	for _, f := range [...]struct {
		name  string
		trace mail.TraceID
	}{{"trace", e.Trace}, {"session", e.Session}, {"next", e.Next}} {
		b = appendText(b, f.name, string(f.trace))
	}
	b = appendText(b, "role", e.Role)
	if e.IP.IsValid() {
		b = append(b, `,"ip":"`...)
		b = append(e.IP.AppendTo(b), '"')
	}
	b = appendNumber(b, "port", int64(e.Port))
	for _, f := range [...]struct{ name, value string }{
		{"helo", e.Helo}, {"tls", e.TLS}, {"account", e.Account}, {"actor", e.Actor}, {"from", e.From}, {"to", e.To},
		{"message_id", e.MessageID}, {"subject", e.Subject}, {"mailbox", e.Mailbox},
	} {
		b = appendText(b, f.name, f.value)
	}
	b = appendNumber(b, "queue", e.Queue)
	b = appendNumber(b, "size", e.Size)
	b = appendText(b, "host", e.Host)
	b = appendNumber(b, "code", int64(e.Code))
	for _, f := range [...]struct{ name, value string }{
		{"enhanced", e.Enhanced}, {"text", e.Text}, {"verb", e.Verb}, {"reason", e.Reason}, {"query", e.Query},
	} {
		b = appendText(b, f.name, f.value)
	}
	b = appendNumber(b, "count", e.Count)
	b = appendNumber(b, "millis", e.Millis)
	for _, f := range [...]struct{ name, value string }{
		{"verdict", e.Verdict}, {"why", e.Why}, {"truth", e.Truth}, {"ref", e.Ref}, {"name", e.Name}, {"spf", e.SPF}, {"identity", e.Identity},
	} {
		b = appendText(b, f.name, f.value)
	}
	b = appendScore(b, e.Score)
	b = appendText(b, "evidence", e.Evidence)
	return append(b, '}', '\n')
}

func appendName(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendText(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(appendName(b, name), value)
}

func appendNumber(b []byte, name string, value int64) []byte {
	if value == 0 {
		return b
	}
	return strconv.AppendInt(appendName(b, name), value, 10)
}

// appendScore writes as encoding/json does, which is shorter for very large and
// very small numbers.
func appendScore(b []byte, score float32) []byte {
	abs := math.Abs(float64(score))
	switch {
	case score == 0 || math.IsNaN(abs) || math.IsInf(abs, 0):
		return b
	case abs >= 1e-6 && abs < 1e21:
		return strconv.AppendFloat(appendName(b, "score"), float64(score), 'f', -1, 32)
	}
	text, _ := json.Marshal(score) // cannot fail for a number
	return append(appendName(b, "score"), text...)
}

const hex = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if c >= utf8.RuneSelf && (r != utf8.RuneError || size > 1) && r != '\u2028' && r != '\u2029' {
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		b = appendEscaped(b, r)
		i += size
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// appendEscaped writes what stands in a string of JSON by an escape only.
func appendEscaped(b []byte, r rune) []byte {
	short := map[rune]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}
	if c, ok := short[r]; ok {
		return append(b, '\\', c)
	}
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
