package imapd

import (
	"context"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/mailbox"
)

// leaving notes which messages a command is about to take away, so that it can
// be told when it has: "deleted by its reader" is what most often became of mail
// that somebody misses. Nothing fails for it.
func (c *conn) leaving(ctx context.Context, folder mailbox.Folder, set []mailbox.Range, marked bool) (tell func(verb, to string, gone int)) {
	if c.srv.Events == nil {
		return func(string, string, int) {}
	}
	origins, err := c.srv.Mailboxes.Origins(ctx, folder.ID, set, marked, mailbox.MaxOrigins)
	if err != nil {
		c.srv.Logger.Warn("events will not tell what a command removes", "trace", string(c.trace), "err", err)
	}
	return func(verb, to string, gone int) {
		for _, o := range origins[:min(len(origins), gone)] {
			e := c.event(event.Remove)
			if o.Trace != "" {
				e.Session, e.Trace = c.trace, o.Trace
			}
			e.Verb, e.Mailbox, e.Size, e.Text = verb, folder.Name, o.Size, to
			c.srv.Events.Record(e)
		}
		if more := gone - len(origins); more > 0 {
			e := c.event(event.Remove)
			e.Verb, e.Mailbox, e.Count, e.Text = verb, folder.Name, int64(more), to
			c.srv.Events.Record(e)
		}
	}
}
