package smtpd

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// readLine reads a command line and gives it without its CR LF, good until the
// next read. Replies are flushed before it waits. Idle runs from the start of
// the line, so that a peer cannot hold the connection with an octet a minute.
// Errors are a breach or the connection's.
func (c *conn) readLine() ([]byte, error) {
	waiting := false
	for seen := 0; ; {
		b := c.in.bytes()
		line, n, err := c.cutLine(b, seen)
		if n > 0 || err != nil {
			c.in.skip(n)
			return line, err
		}
		seen = len(b)
		if !waiting {
			waiting = true
			if !c.flush() {
				return nil, c.cause
			}
			c.in.shrink()
			c.readBy(time.Now().Add(c.srv.limits.Idle))
		}
		if err := c.in.fill(c.nc); err != nil {
			if errors.Is(err, io.ErrShortBuffer) {
				err = &breach{LongLine, replyLongCommand}
			}
			return nil, err
		}
	}
}

// cutLine finds a line at the start of b, of which the first seen octets are
// known to hold no LF, and gives it with the octets it took; 0 octets and no
// error say that its end has not come.
func (c *conn) cutLine(b []byte, seen int) ([]byte, int, error) {
	if len(b) == 0 {
		return nil, 0, nil
	}
	if b[0] < ' ' && b[0] != '\r' && b[0] != '\n' || b[0] >= 0x7f {
		// TLS and SSL begin like that, and no command does.
		return nil, 0, &breach{OtherTraffic, replyTraffic}
	}
	end := bytes.IndexByte(b[seen:], '\n')
	if end < 0 {
		if len(b) > c.lineLimit(b) {
			return nil, 0, &breach{LongLine, replyLongCommand}
		}
		if i := bytes.IndexByte(b, '\r'); i >= 0 && i < len(b)-1 {
			return nil, 0, &breach{BareNewline, replyBareNewline}
		}
		return nil, 0, nil
	}
	end += seen
	if end == 0 || bytes.IndexByte(b[:end], '\r') != end-1 {
		return nil, 0, &breach{BareNewline, replyBareNewline}
	}
	if end+1 > c.lineLimit(b) {
		return nil, 0, &breach{LongLine, replyLongCommand}
	}
	return b[:end-1], end + 1, nil
}

// lineLimit tells how long a line that begins with b may be.
func (c *conn) lineLimit(b []byte) int {
	if c.responding || len(b) >= 5 && bytes.EqualFold(b[:5], []byte("AUTH ")) {
		return c.srv.limits.AuthLine
	}
	return c.srv.limits.CommandLine
}
