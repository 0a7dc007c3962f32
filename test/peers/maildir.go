package peers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Maildir is the directory of one mailbox as the peers write it: one file a
// message below new and cur.
type Maildir string

// Count returns how many messages are delivered. A mailbox that does not exist
// yet holds none.
func (m Maildir) Count() (int, error) {
	n := 0
	for _, sub := range []string{"new", "cur"} {
		names, err := m.names(sub)
		if err != nil {
			return 0, err
		}
		n += len(names)
	}
	return n, nil
}

// Messages returns the delivered messages as they lie on disk, the new ones
// first, each kind in the order of its file names.
func (m Maildir) Messages() ([]string, error) {
	var messages []string
	for _, sub := range []string{"new", "cur"} {
		names, err := m.names(sub)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(string(m), sub, name))
			if err != nil {
				return nil, err
			}
			messages = append(messages, string(text))
		}
	}
	return messages, nil
}

// Wait waits until at least n messages are delivered or ctx is done.
func (m Maildir) Wait(ctx context.Context, n int) error {
	return waitFor(ctx, n, m.Count)
}

// waitFor polls count until it reaches n.
func waitFor(ctx context.Context, n int, count func() (int, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		have, err := count()
		if err != nil {
			return err
		}
		if have >= n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d messages of %d have come: %w", have, n, context.Cause(ctx))
		}
	}
}

func (m Maildir) names(sub string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(m), sub))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// mailboxes is the part that all peers with mailboxes share: a Maildir for
// each address, DIR/mail/DOMAIN/LOCAL.
type mailboxes struct {
	root      string
	addresses []string
}

// Mailbox returns the Maildir of one of the peer's mailboxes.
func (b mailboxes) Mailbox(address string) Maildir {
	return Maildir(filepath.Join(b.root, mailboxPath(address)))
}

// Messages returns the messages of all mailboxes, in the order in which the
// mailboxes were given.
func (b mailboxes) Messages() ([]string, error) {
	var all []string
	for _, a := range b.addresses {
		messages, err := b.Mailbox(a).Messages()
		if err != nil {
			return nil, err
		}
		all = append(all, messages...)
	}
	return all, nil
}

// mailboxPath is the directory of an address below the mail root.
func mailboxPath(address string) string {
	local, domain := splitAddress(address)
	return filepath.Join(domain, local)
}

// splitAddress cuts at the last @. The addresses of tests are simple ones.
func splitAddress(address string) (local, domain string) {
	i := strings.LastIndexByte(address, '@')
	return address[:max(i, 0)], address[i+1:]
}
