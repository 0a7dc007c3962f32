package learned

import (
	"net/netip"
	"net/url"
	"strings"
)

// link adds where a link leads and how its target is written; shown is what
// the reader sees in its place.
func (c *collector) link(target, shown string) {
	if c.links == maxLinks {
		return
	}
	c.links++
	target = strings.TrimSpace(target)
	scheme, rest, found := strings.Cut(target, ":")
	scheme = strings.ToLower(scheme)
	switch {
	case !found:
		return
	case scheme == "cid" || scheme == "mailto":
		c.add(kindLink, scheme)
		return
	}
	if len(scheme) <= 10 && !strings.ContainsAny(scheme, "/?#") {
		c.add(kindLink, scheme)
	}
	authority, after, _ := strings.Cut(strings.TrimLeft(rest, "/\\"), "/")
	authority, _, _ = strings.Cut(authority, "?")
	host := c.authority(authority)
	if host == "" {
		return
	}
	c.domain(kindHost, host)
	if strings.Contains(strings.ToLower(after), "http://") || strings.Contains(strings.ToLower(after), "http%3a") {
		c.add(kindLink, "leads on to another")
	}
	if named := shownHost(shown); named != "" && organisation(named) != organisation(host) {
		c.add(kindLink, "shows another host")
	}
}

// authority adds how the host is written, and gives it plain.
func (c *collector) authority(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		c.add(kindLink, "user name before the host")
		s = s[i+1:]
	}
	if strings.Contains(s, "%") {
		c.add(kindLink, "escaped host")
		if plain, err := url.PathUnescape(s); err == nil {
			s = plain
		}
	}
	host, port, found := strings.Cut(s, ":")
	if found && port != "" && port != "80" && port != "443" {
		c.add(kindLink, "port")
	}
	host = strings.ToLower(host)
	if strings.Contains(host, "xn--") || !ascii(host) {
		c.add(kindLink, "host in another script")
	}
	if _, err := netip.ParseAddr(host); err == nil || host != "" && strings.Trim(host, "0123456789.x") == "" {
		c.add(kindLink, "bare address")
		return ""
	}
	if !strings.Contains(host, ".") || strings.ContainsAny(host, " \"'<>") {
		return ""
	}
	return host
}

// shownHost gives the host that a link's text claims, "" when it claims none.
func shownHost(shown string) string {
	shown = strings.ToLower(strings.TrimSpace(shown))
	if rest, ok := strings.CutPrefix(shown, "http://"); ok {
		shown = rest
	} else if rest, ok := strings.CutPrefix(shown, "https://"); ok {
		shown = rest
	} else if !strings.HasPrefix(shown, "www.") {
		return ""
	}
	end := strings.IndexFunc(shown, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.')
	})
	if end >= 0 {
		shown = shown[:end]
	}
	return shown
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
