package imapd

import (
	"bufio"
	"net/url"
	"strconv"
	"strings"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// messageURL is an IMAP URL of a message or of part of one (RFC 5092).
type messageURL struct {
	mailbox  string // "": the selected one
	validity uint32 // 0: not said
	uid      uint32
	section  section
	partial  partial
}

// parseURL reads a URL as CATENATE has it: of this server, or relative to it or
// to the selected mailbox. The user that a full one names is not looked at:
// rights are those of who asks.
func parseURL(s, hostname string) (u messageURL, err error) {
	if rest, ok := cutFold(s, "imap://"); ok {
		authority, path, slash := strings.Cut(rest, "/")
		_, host, found := strings.Cut(authority, "@")
		if !found {
			host = authority
		}
		host, _, _ = strings.Cut(host, ":")
		if !slash || !strings.EqualFold(host, hostname) {
			return u, errURL
		}
		s = "/" + path
	}
	box, message := splitFold(s, "/;UID=")
	if rest, ok := cutFold(s, ";UID="); ok {
		box, message = "", rest
	} else if box == s || !strings.HasPrefix(box, "/") || len(box) < 2 {
		return u, errURL
	}
	box, validity := splitFold(strings.TrimPrefix(box, "/"), ";UIDVALIDITY=")
	message, part := splitFold(message, "/;PARTIAL=")
	uid, spec := splitFold(message, "/;SECTION=")
	if u.mailbox, err = url.PathUnescape(box); err != nil {
		return u, errURL
	}
	if u.validity, err = parseNumber(validity, validity == ""); err != nil {
		return u, errURL
	}
	if u.uid, err = parseNumber(strings.TrimSuffix(uid, "/"), false); err != nil {
		return u, errURL
	}
	if u.section, err = urlSection(spec); err != nil {
		return u, errURL
	}
	u.partial, err = urlPartial(part)
	return u, err
}

// cutFold is strings.CutPrefix whatever the case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// splitFold is strings.Cut whatever the case.
func splitFold(s, sep string) (before, behind string) {
	for i := range s {
		if rest, ok := cutFold(s[i:], sep); ok {
			return s[:i], rest
		}
	}
	return s, ""
}

func parseNumber(s string, none bool) (uint32, error) {
	if none {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, errURL
	}
	return uint32(n), nil
}

// urlSection reads a section in the words of FETCH.
func urlSection(s string) (section, error) {
	s, err := url.PathUnescape(strings.TrimSuffix(s, "/"))
	if err != nil || strings.ContainsAny(s, "\r\n{") {
		return section{}, errURL
	}
	if s == "" {
		return section{}, nil
	}
	d := &wire.Decoder{R: bufio.NewReader(strings.NewReader(s + "\r\n"))}
	found := parseSection(d, d.Word())
	if d.End() != nil {
		return section{}, errURL
	}
	return found, nil
}

// urlPartial reads "offset" or "offset.length".
func urlPartial(s string) (p partial, err error) {
	if s == "" {
		return p, nil
	}
	from, length, bounded := strings.Cut(s, ".")
	p.given, p.length = true, 1<<63-1
	if p.offset, err = strconv.ParseInt(from, 10, 64); err == nil && bounded {
		p.length, err = strconv.ParseInt(length, 10, 64)
	}
	if err != nil || p.offset < 0 || p.length < 0 {
		return p, errURL
	}
	return p, nil
}
