package mail

import (
	"fmt"
	"strings"
)

// Finding is what one check says of a message. It never decides by itself what
// becomes of the message.
type Finding struct {
	Symbol   string  // stable name in capitals, UNSIGNED_BOUNCE
	Score    float64 // above 0 speaks against the message
	Evidence string  // why, in words for people
}

// maxEvidence keeps a field within the line limit of RFC 5322 section 2.1.1.
const maxEvidence = 900

// Field gives the header field that makes f visible to the recipient, one line
// that ends in CRLF: "X-Migiwa-Finding: SYMBOL; score; evidence". Whatever is
// in the evidence cannot break out of it.
func (f Finding) Field() string {
	evidence := strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return ' '
		}
		return c
	}, f.Evidence)
	if len(evidence) > maxEvidence {
		evidence = evidence[:maxEvidence]
	}
	return fmt.Sprintf("X-Migiwa-Finding: %s; %.1f; %s\r\n", f.Symbol, f.Score, strings.ToValidUTF8(evidence, ""))
}
