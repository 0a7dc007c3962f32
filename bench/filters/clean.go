package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// leaks are the header fields that tell where a message was collected, which
// way it came or what another filter thought of it, and so its label. A name
// that ends in "-" is a prefix.
var leaks = []string{
	"x-spam-", "x-barracuda-", "x-asg-", "x-rc-", "x-virus", "x-bogosity", "x-keywords", "status", "x-status", "x-uidl",
	"list-", "precedence", "errors-to", "x-beenthere", "x-mailman-", "sender", "resent-", "x-loop", "old-return-path",
	"in-reply-to", "references", "received", "return-path", "delivered-to", "x-original-to", "message-id",
	"x-foff-", "x-greylist", "x-ms-exchange-", "x-eop", "x-sid-", "x-microsoft-antispam", "x-sender-ip",
	"x-message-", "received-spf", "authentication-results", "message-id-hash", "x-mailfrom", "archived-at",
	"x-egroups-", "mailing-list", "x-mailing-list", "x-pyzor", "x-list-", "x-archive-", "x-original-date", "date", "replied", "forwarded",
	"x-spamd-", "x-habeas-", "thread-index", "thread-topic", "delivery-date", "envelope-to", "lines", "x-apparently-to",
}

var (
	tag     = regexp.MustCompile(`(?im)^(subject:\s*(?:(?:re|fwd?|aw):\s*)*)\[[^\]\r\n]{1,40}\]\s*`)
	places  = regexp.MustCompile(`(?i)[\w.-]*(?:spamassassin\.taint\.org|netnoteinc\.com|csmining\.org|linux\.ie|redhat\.com|slashnull\.org|jmason\.org|example\.sourceforge\.net|xent\.com)`)
	readers = regexp.MustCompile(`(?i)\b(?:zzzz|yyyy|zzzzteana)\b[\w.-]*`)
	rule    = regexp.MustCompile(`(?m)^[_=-]{10,}[ \t]*\r?$`)
	about   = regexp.MustCompile(`(?i)mailing list|listinfo|/lists/|-unsubscribe@|sf\.net email|yahoo! groups|-request@`)
)

// clean takes away what leaks the label: header fields, the tag of a list in
// the subject, the footer of a list, the hosts of the collectors. All filters
// that are compared get what is left.
func clean(raw []byte) []byte { return strip(raw, leaking) }

// cleanButWay leaves the fields that every message has for its way. Filters with
// rules about them take a message without them for a forgery; one that learns
// could learn the label from them.
func cleanButWay(raw []byte) []byte {
	return strip(raw, func(name string) bool {
		return leaking(name) && name != "received" && name != "date" && name != "message-id"
	})
}

func strip(raw []byte, leaking func(name string) bool) []byte {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	head, body, _ := bytes.Cut(raw, []byte("\n\n"))
	var kept []string
	keep := false
	for line := range strings.Lines(string(head) + "\n") {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, found := strings.Cut(line, ":")
			keep = found && !strings.Contains(name, " ") && !leaking(strings.ToLower(name))
		}
		if keep {
			kept = append(kept, line)
		}
	}
	cleanHead := tag.ReplaceAllString(strings.Join(kept, ""), "$1")
	out := append([]byte(cleanHead), '\n')
	out = append(out, withoutFooter(body)...)
	return readers.ReplaceAll(places.ReplaceAll(out, []byte("example.com")), []byte("reader"))
}

func leaking(name string) bool {
	return slices.ContainsFunc(leaks, func(l string) bool {
		return name == l || strings.HasSuffix(l, "-") && strings.HasPrefix(name, l)
	})
}

// withoutFooter cuts at the first ruled line of the last 2,000 octets behind
// which a list speaks of itself.
func withoutFooter(body []byte) []byte {
	start := max(0, len(body)-2000)
	for _, at := range rule.FindAllIndex(body[start:], -1) {
		if about.Match(body[start+at[0]:]) {
			return body[:start+at[0]]
		}
	}
	return body
}
