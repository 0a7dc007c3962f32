package mail

import (
	"strings"
)

// NewMessageID gives a Message-ID with its angle brackets that no other host
// and no later call will give (RFC 5322 section 3.6.4).
func NewMessageID(host Domain) string {
	return "<" + string(NewTraceID()) + "@" + string(host) + ">"
}

// MessageIDs gives the message identifiers in the value of Message-ID,
// In-Reply-To or References, in their order, each with its angle brackets.
// Words between them (RFC 822 allowed phrases) are left out, white space
// inside one too, as folding puts it there.
func MessageIDs(value string) []string {
	var out []string
	for {
		start := strings.IndexByte(value, '<')
		if start < 0 {
			return out
		}
		value = value[start:]
		end := strings.IndexByte(value, '>')
		if end < 0 {
			return out
		}
		id := value[:end+1]
		if again := strings.LastIndexByte(id, '<'); again > 0 {
			id = id[again:]
		}
		if id = strings.Join(strings.Fields(id), ""); len(id) > len("<>") && len(id) <= maxLine {
			out = append(out, id)
		}
		value = value[end+1:]
	}
}
