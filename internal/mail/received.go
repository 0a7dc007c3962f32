package mail

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"time"
)

// Received is what a trace field tells (RFC 5321 section 4.4).
type Received struct {
	Helo string     // as the client said it; any octets
	IP   netip.Addr // of the client; not valid for local submission
	PTR  string     // forward-confirmed name of IP, "" when there is none
	By   Domain     // this host
	With string     // ProtocolName
	ID   string     // trace or queue ID
	For  Address    // the only recipient; zero when there are more, lest blind copies show
	TLS  *tls.ConnectionState
	Date time.Time
}

// Field writes the field folded, with its CRLF. Nothing the client said can
// leave its place: HELO text that is no domain or address literal stands in a
// comment, with all but harmless characters replaced.
func (r Received) Field() string {
	var lines []string
	if r.IP.IsValid() || r.Helo != "" {
		lines = append(lines, "from "+r.from())
	}
	if r.TLS != nil {
		lines = append(lines, "(using "+tls.VersionName(r.TLS.Version)+" with cipher "+tls.CipherSuiteName(r.TLS.CipherSuite)+")")
	}
	by := "by " + string(r.By)
	if r.With != "" {
		by += " with " + safeToken(r.With)
	}
	if r.ID != "" {
		by += " id " + safeToken(r.ID)
	}
	lines = append(lines, by)
	// UTF-8 in a header needs the receiver's consent (RFC 6532).
	if !r.For.IsNull() && (!r.For.UTF8() || strings.HasPrefix(r.With, "UTF8")) {
		lines = append(lines, "for "+r.For.Path())
	}
	return "Received: " + strings.Join(lines, "\r\n\t") + ";\r\n\t" + FormatDate(r.Date) + "\r\n"
}

func (r Received) from() string {
	peer := ""
	if r.IP.IsValid() {
		peer = Literal(r.IP)
		if d, err := ParseDomain(r.PTR); err == nil {
			peer = string(d) + " " + peer
		}
	}
	d, err := ParseDomain(r.Helo)
	switch {
	case err == nil && peer == "":
		return string(d)
	case err == nil:
		return string(d) + " (" + peer + ")"
	case peer == "":
		return "unknown (helo=" + safeToken(r.Helo) + ")"
	}
	return Literal(r.IP) + " (" + peer + " helo=" + safeToken(r.Helo) + ")"
}

// Literal writes an address literal, "[192.0.2.1]" or "[IPv6:2001:db8::1]".
func Literal(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.String() + "]"
}

// safeToken keeps what can stand in a comment or as an atom; at most 100
// octets of it.
func safeToken(s string) string {
	if s == "" {
		return "?"
	}
	b := []byte(s[:min(len(s), 100)])
	for i, c := range b {
		if c >= 0x80 || !isAtext(c) && strings.IndexByte(".:[]@", c) < 0 {
			b[i] = '?'
		}
	}
	return string(b)
}

// ProtocolName gives the "with" keyword (RFC 3848, RFC 6531 section 4.3) of a
// session: base is "SMTP" (after HELO), "ESMTP" or "LMTP".
func ProtocolName(base string, utf8, tls, auth bool) string {
	name := base
	if base != "LMTP" && (utf8 || tls || auth) {
		name = "ESMTP"
	}
	if utf8 {
		name = "UTF8" + strings.TrimPrefix(name, "E")
	}
	if tls {
		name += "S"
	}
	if auth {
		name += "A"
	}
	return name
}

// CountReceived counts Received fields: above some tens a message goes round
// in a loop (RFC 5321 section 6.3 asks for a limit of at least 100).
func CountReceived(h *Header) int {
	n := 0
	for f := range h.All() {
		if f.Is("Received") {
			n++
		}
	}
	return n
}
