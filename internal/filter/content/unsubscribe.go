package content

import (
	"regexp"
	"strings"
)

// angled is a URI of List-Unsubscribe (RFC 2369 section 3.2).
var angled = regexp.MustCompile(`(?i)<\s*((?:https?|mailto):[^<>\s]{1,1000})\s*>`)

// unsubscribe notices that a message can be answered by leaving its list. It
// counts nothing: to be sent to many is no fault, and spam says so too. A reader's
// rules can sort by it, and the way out stands in one place.
func (c *checks) unsubscribe() {
	uris := angled.FindAllStringSubmatch(strings.Join(c.m.Header.Values("List-Unsubscribe"), " "), 10)
	if len(uris) == 0 {
		return
	}
	oneClick := strings.EqualFold(strings.TrimSpace(c.m.Header.Get("List-Unsubscribe-Post")), "List-Unsubscribe=One-Click")
	for _, uri := range uris {
		if oneClick && strings.HasPrefix(strings.ToLower(uri[1]), "https:") { // RFC 8058
			c.add("LIST_UNSUBSCRIBE", "can be left by one click: "+cut(uri[1]))
			return
		}
	}
	c.add("LIST_UNSUBSCRIBE", "can be left: "+cut(uris[0][1]))
}
