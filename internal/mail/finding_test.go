package mail

import (
	"strings"
	"testing"
)

func TestFindingField(t *testing.T) {
	for _, c := range []struct {
		in   Finding
		want string
	}{
		{Finding{"X", 2, "two words"}, "X-Migiwa-Finding: X; 2.0; two words\r\n"},
		{Finding{"X", -0.55, "a\r\nBcc: b\x00\u0085水"}, "X-Migiwa-Finding: X; -0.6; a  Bcc: b  水\r\n"},
		{Finding{"X", 1, "a\xffb"}, "X-Migiwa-Finding: X; 1.0; a\ufffdb\r\n"},
	} {
		if got := c.in.Field(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	long := Finding{"X", 1, strings.Repeat("水", 1000)}.Field()
	if len(long) > 998 || !strings.HasSuffix(long, "水\r\n") {
		t.Errorf("%d octets: %q", len(long), long[len(long)-8:])
	}
}
