package senderauth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var errTags = errors.New("malformed tag list")

// tags is a list of tags such as "v=1; a=rsa-sha256" (RFC 6376 section 3.2).
type tags map[string]string

var tagName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// parseTags reads a list; a tag that stands twice makes all of it invalid.
func parseTags(text string) (tags, error) {
	t := tags{}
	parts := strings.Split(text, ";")
	for i, part := range parts {
		if strings.TrimSpace(part) == "" && i == len(parts)-1 {
			break
		}
		name, value, found := strings.Cut(part, "=")
		name = strings.Trim(name, " \t\r\n")
		if !found || !tagName.MatchString(name) {
			return nil, errTags
		}
		if _, twice := t[name]; twice {
			return nil, fmt.Errorf("%w: %.20q twice", errTags, name)
		}
		t[name] = strings.Trim(value, " \t\r\n")
	}
	return t, nil
}

// compact gives a value without its folding.
func (t tags) compact(name string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, t[name])
}

// list gives the items of a list with colons between them.
func (t tags) list(name string) []string {
	if t.compact(name) == "" {
		return nil
	}
	return strings.Split(t.compact(name), ":")
}

func (t tags) octets(name string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(t.compact(name))
}

// withoutTag gives a field's text as it was before the value of a tag was put
// in: signatures do not cover themselves.
func withoutTag(raw, name string) string {
	field, value, _ := strings.Cut(raw, ":")
	end := ""
	if trimmed := strings.TrimRight(value, "\r\n"); trimmed != value {
		value, end = trimmed, "\r\n"
	}
	parts := strings.Split(value, ";")
	for i, part := range parts {
		if n, _, found := strings.Cut(part, "="); found && strings.Trim(n, " \t\r\n") == name {
			parts[i] = n + "="
		}
	}
	return field + ":" + strings.Join(parts, ";") + end
}

// unquote undoes the quoted-printable of DKIM (RFC 6376 section 2.11).
func unquote(s string) string {
	if !strings.Contains(s, "=") {
		return s
	}
	return quotedOctet.ReplaceAllStringFunc(s, func(q string) string {
		n, _ := strconv.ParseUint(q[1:], 16, 8)
		return string([]byte{byte(n)})
	})
}

var quotedOctet = regexp.MustCompile(`=[0-9A-F]{2}`)
