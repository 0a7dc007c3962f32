package access

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of an imported text.
const (
	maxLine   = 4096  // octets
	maxErrors = 1_000 // that are told one by one
)

// QuarantineWeight is the weight of what sendmail would have set aside or
// dropped, in points: below Block, since neither told the sender anything.
const QuarantineWeight = 8

// LineError is what is wrong with one line of an imported text.
type LineError struct {
	Line int
	// Warning: the line was taken, though it means something else here.
	Warning bool
	Err     error
}

// Error gives "line 3: …".
func (e *LineError) Error() string {
	if e.Warning {
		return fmt.Sprintf("line %d: warning: %v", e.Line, e.Err)
	}
	return fmt.Sprintf("line %d: %v", e.Line, e.Err)
}

// Unwrap gives the error without its line.
func (e *LineError) Unwrap() error { return e.Err }

// ParseSendmail reads the text of a sendmail access database, as makemap does:
// a key, white space, a value; # begins a comment line. What can be used is in
// the list, which is never nil; each error is a *LineError, but for the last
// when reading itself fails.
func ParseSendmail(r io.Reader) (*List, []error) {
	l, errs := &List{}, []error(nil)
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	n := 0
	for s.Scan() {
		n++
		e, err, warning := parseLine(s.Text())
		tell := func(err error, warning bool) {
			if err != nil && len(errs) < maxErrors {
				errs = append(errs, &LineError{n, warning, err})
			}
		}
		tell(err, false)
		if err != nil || e.Action == "" {
			tell(warning, true)
			continue
		}
		e.Line = n
		if err := l.Add(e); err != nil {
			tell(err, false)
			continue
		}
		tell(warning, true)
	}
	if err := s.Err(); err != nil {
		errs = append(errs, fmt.Errorf("reading after line %d: %w", n, err))
	}
	return l, errs
}

// parseLine gives an entry without an action for a line that says nothing.
func parseLine(line string) (e Entry, err, warning error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return e, nil, nil
	}
	cut := strings.IndexAny(line, " \t")
	if cut < 0 {
		return e, fmt.Errorf("%q has no value", line), nil
	}
	name, value := line[:cut], strings.TrimSpace(line[cut:])
	spam, err := e.key(name)
	if err != nil {
		return e, err, nil
	}
	if e.Tag == "?" {
		return Entry{}, nil, fmt.Errorf("%s is no list of mail; nothing was taken", name)
	}
	if spam {
		return e.spam(value)
	}
	warning, err = e.value(value)
	return e, err, warning
}

// Tags of sendmail that set other things than who may send mail. A text that
// is in use often holds some.
const otherTags = "|tls_srv|tls_clt|tls_rcpt|try_tls|srv_features|clt_features|auth|authinfo|" +
	"clientrate|clientconn|greetpause|tls_rcpt_sess|"

// key takes the tag off. Tags are written in any case.
func (e *Entry) key(name string) (spam bool, err error) {
	tag, pattern, ok := strings.Cut(name, ":")
	if !ok || strings.EqualFold(tag, "IPv6") || strings.Trim(tag, "0123456789abcdefABCDEF") == "" {
		e.Pattern = name
		return false, nil
	}
	e.Pattern = pattern
	switch tag = strings.ToLower(tag); {
	case tag == "connect":
		e.Tag = Connect
	case tag == "from":
		e.Tag = From
	case tag == "to":
		e.Tag = To
	case tag == "spam":
		e.Tag = To
		return true, nil
	case strings.Contains(otherTags, "|"+tag+"|"):
		e.Tag = "?"
	default:
		return false, fmt.Errorf("unknown tag %q", tag)
	}
	return false, nil
}

// spam reads the value of a recipient who wants all mail, or none of the checks.
func (e *Entry) spam(value string) (_ Entry, err, warning error) {
	switch strings.ToUpper(value) {
	case "FRIEND":
		e.Action = Allow
		return *e, nil, nil
	case "HATER":
		return Entry{}, nil, errors.New("HATER: recipients choose their filters themselves; nothing was taken")
	}
	return *e, fmt.Errorf("%q is neither FRIEND nor HATER", value), nil
}

func (e *Entry) value(value string) (warning, err error) {
	word, rest, _ := strings.Cut(value, ":")
	switch strings.ToUpper(strings.TrimSpace(word)) {
	case "OK":
		e.Action = Allow
	case "RELAY":
		return e.relay(), nil
	case "REJECT":
		e.Action = Block
	case "SKIP":
		e.Action = Skip
	case "DISCARD":
		e.Action, e.Weight = Label, QuarantineWeight
		e.Note = "sendmail discarded such mail"
		return errors.New("DISCARD: mail is never discarded here; taken as a label that is enough for quarantine"), nil
	case "QUARANTINE":
		e.Action, e.Weight, e.Note = Label, QuarantineWeight, note(rest)
		return errors.New("QUARANTINE: taken as a label; each recipient says whether it means quarantine"), nil
	case "TEMPFAIL", "TEMP", "<TMPF>":
		return e.temporary(rest), nil
	case "ERROR":
		return e.failure(rest)
	default:
		if !isCode(value) {
			return nil, fmt.Errorf("unknown value %q", value)
		}
		return e.failure(value)
	}
	return nil, nil
}

// relay is an entry of a host or domain that may relay: sendmail then takes its
// mail as well. For recipients it would switch filters off for a whole domain,
// which nobody meant.
func (e *Entry) relay() error {
	if e.Tag == To {
		e.Action = ""
		return errors.New("RELAY for recipients: relaying is not set here; nothing was taken")
	}
	e.Action = Allow
	return errors.New("RELAY: taken as OK; relaying is not set here")
}

func (e *Entry) temporary(text string) error {
	e.Action, e.Weight, e.Note = Label, LabelWeight, note(text)
	return errors.New("a temporary refusal: taken as a label")
}

// failure reads "550 text", "550 5.7.1 text" and, after ERROR:, "5.7.1:550 text".
func (e *Entry) failure(s string) (warning, err error) {
	s = strings.Trim(strings.TrimSpace(s), `"`)
	if dsn, rest, ok := strings.Cut(s, ":"); ok && strings.Count(dsn, ".") == 2 && strings.Trim(dsn, "0123456789.") == "" {
		s = strings.Trim(rest, `"`)
		if !isCode(s) { // the code may be left out then
			s = dsn[:1] + "50 " + s
		}
	}
	if !isCode(s) {
		return nil, fmt.Errorf("%q does not begin with a reply code of 4xx or 5xx", s)
	}
	if s[0] == '4' {
		return e.temporary(s[3:]), nil
	}
	e.Action, e.Note = Block, note(s[3:])
	return nil, nil
}

func isCode(s string) bool {
	return len(s) >= 3 && (s[0] == '4' || s[0] == '5') && digit(s[1]) && digit(s[2]) && (len(s) == 3 || s[3] == ' ' || s[3] == '\t')
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// maxNote keeps the text of an entry to a line of evidence.
const maxNote = 200

func note(s string) string {
	s = strings.Trim(strings.TrimSpace(s), `"`)
	return strings.ToValidUTF8(s[:min(len(s), maxNote)], "")
}
