package imapd

import "testing"

// writes counts calls of Write.
type writes int

func (w *writes) Write(p []byte) (int, error) { *w++; return len(p), nil }

// TestDeflaterWritesOnce: a second write could be a second record of TLS, which
// holds nothing to read.
func TestDeflaterWritesOnce(t *testing.T) {
	for _, text := range []string{"+ idling\r\n", "* 1 EXISTS\r\n", string(make([]byte, 4096))} {
		var n writes
		if _, err := (deflater{&n}).Write([]byte(text)); err != nil || n != 1 {
			t.Errorf("%.10q: %d writes, %v", text, n, err)
		}
	}
}
