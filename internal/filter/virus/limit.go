package virus

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// errLimit ends what a limit forbids; a finding has told which one.
var errLimit = errors.New("more than is looked at")

var errTruncated = errors.New("truncated")

// turns bounds for how many messages at a time there are dictionaries.
var turns = make(chan struct{}, 4)

// dictionaries counts what is unpacked by means of large dictionaries.
type dictionaries struct {
	used int64
	made int64
	turn bool
}

// done gives the message's turn back.
func (d *dictionaries) done() {
	if d.turn {
		d.turn = false
		<-turns
	}
}

// dictionary asks for memory before it is taken, since an archive may ask for
// gigabytes. When there is no error, the caller calls release after its use.
func (a *attachments) dictionary(name string, size int64) (release func(), err error) {
	d := &a.memory
	if size < 0 || size > maxDictionary-d.used {
		a.say("ARCHIVE_LIMIT", quoted(name)+" needs more memory than is given to it")
		return nil, errLimit
	}
	if d.made += size; d.made > maxDictionaries {
		a.say("ARCHIVE_LIMIT", quoted(name)+" needs memory too many times")
		return nil, errLimit
	}
	if !d.turn {
		select {
		case turns <- struct{}{}:
			d.turn = true
		case <-a.ctx.Done():
			return nil, a.ctx.Err()
		}
	}
	d.used += size
	return func() { d.used -= size }, nil
}

// entry counts a file in an archive; false means that there are too many.
func (a *attachments) entry() bool {
	if a.entries++; a.entries <= maxEntries {
		return true
	}
	a.say("ARCHIVE_LIMIT", "more than "+fmt.Sprint(maxEntries)+" files in archives")
	return false
}

// counted bounds what all archives of a message give together, and the time.
func (a *attachments) counted(r io.Reader) io.Reader { return &counter{a, r} }

type counter struct {
	a *attachments
	r io.Reader
}

func (c *counter) Read(p []byte) (int, error) {
	if c.a.unpacked > maxUnpacked {
		c.a.say("ARCHIVE_LIMIT", "archives give more than is looked at")
		return 0, errLimit
	}
	n, err := (&timed{c.a.ctx, c.r}).Read(p)
	c.a.unpacked += int64(n)
	if err == io.ErrUnexpectedEOF {
		err = errTruncated // the file is short of its own, not of what was asked for
	}
	return n, err
}

// timed reads until the context ends.
type timed struct {
	ctx context.Context
	r   io.Reader
}

func (t *timed) Read(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	return t.r.Read(p)
}
