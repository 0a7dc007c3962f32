package imapd

import (
	"context"
	"strings"

	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// parseIdle is RFC 2177. While the client idles its reader waits for DONE
// and holds no lock.
func (c *conn) parseIdle(d *wire.Decoder) task {
	d.End()
	return task{run: func(ctx context.Context) (string, error) {
		c.push.idling.Store(true)
		err := c.proceed("idling")
		if err == nil && c.sel != nil {
			// What came before; a mailbox that is gone is told of afterwards.
			c.sel.tell(ctx, c, true, newest)
			err = c.out.flush()
		}
		c.work.Unlock()
		var line string
		if err == nil {
			line, err = c.answer()
		}
		c.work.Lock()
		c.push.idling.Store(false)
		switch {
		case err != nil:
			return "", &broken{err}
		case !strings.EqualFold(strings.TrimSpace(line), "DONE"):
			return "", bad("Expected DONE")
		}
		return "", nil
	}}
}
