package order

import "strings"

// BaseSubject gives the base subject of a decoded Subject (RFC 5256 section
// 2.1), and whether what was taken off says that the message is a reply or
// was forwarded.
func BaseSubject(subject string) (base string, reply bool) {
	s := oneSpace(subject)
	for {
		s = dropTrailers(s, &reply) // step 2
		s = dropLeaders(s, &reply)  // steps 3 to 5
		inner, ok := forwarded(s)   // step 6
		if !ok {
			return s, reply
		}
		s, reply = inner, true
	}
}

// oneSpace is step 1: runs of white space become one space.
func oneSpace(s string) string {
	plain := true
	for i := range len(s) {
		if s[i] == '\t' || s[i] == '\r' || s[i] == '\n' || s[i] == ' ' && i > 0 && s[i-1] == ' ' {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n':
			if i == 0 || !strings.ContainsRune(" \t\r\n", rune(s[i-1])) {
				b.WriteByte(' ')
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// dropTrailers takes subj-trailer off the end as often as it stands there.
func dropTrailers(s string, reply *bool) string {
	for {
		s = strings.TrimRight(s, " ")
		if !hasSuffixFold(s, "(fwd)") {
			return s
		}
		s, *reply = s[:len(s)-len("(fwd)")], true
	}
}

// dropLeaders takes subj-leader off the beginning, and subj-blob where that
// leaves something, until neither stands there.
func dropLeaders(s string, reply *bool) string {
	for {
		s = strings.TrimLeft(s, " ")
		if rest, ok := leader(s); ok {
			s, *reply = rest, true
			continue
		}
		rest, ok := blob(s)
		if !ok || rest == "" {
			return s
		}
		s = rest
	}
}

// leader reads *subj-blob subj-refwd.
func leader(s string) (rest string, ok bool) {
	for {
		after, ok := blob(s)
		if !ok {
			break
		}
		s = after
	}
	switch {
	case hasPrefixFold(s, "re"):
		s = s[2:]
	case hasPrefixFold(s, "fwd"):
		s = s[3:]
	case hasPrefixFold(s, "fw"):
		s = s[2:]
	default:
		return "", false
	}
	s = strings.TrimLeft(s, " ")
	if after, ok := blob(s); ok {
		s = after
	}
	return strings.CutPrefix(s, ":")
}

// blob reads "[" *BLOBCHAR "]" *WSP.
func blob(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return "", false
	}
	end := strings.IndexAny(s[1:], "[]")
	if end < 0 || s[1+end] == '[' {
		return "", false
	}
	return strings.TrimLeft(s[end+2:], " "), true
}

// forwarded reads subj-fwd.
func forwarded(s string) (inner string, ok bool) {
	if !hasPrefixFold(s, "[fwd:") || !strings.HasSuffix(s, "]") {
		return "", false
	}
	return s[len("[fwd:") : len(s)-1], true
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
