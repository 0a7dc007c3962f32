package imapd

import (
	"errors"
	"io"
)

// A goroutine that waits inside TLS keeps a stack of 8 KB: its frames are large.
// Most connections wait most of the time, so they do it outside: a read of TLS
// that finds nothing gives errAsleep, and when its frames are gone nap waits.

// errAsleep is what a nap's Read gives where it would wait. TLS takes it for a
// moment's trouble and can be read from again.
var errAsleep error = asleep{}

type asleep struct{}

// Error gives the reason in words.
func (asleep) Error() string { return "nothing is there yet" }

// Timeout fulfils net.Error.
func (asleep) Timeout() bool { return true }

// Temporary fulfils net.Error.
func (asleep) Temporary() bool { return true }

// read reads from r, which reads from n, and waits between its calls.
func (n *nap) read(r io.Reader, p []byte) (int, error) {
	if n == nil {
		return r.Read(p)
	}
	for {
		n.light = true
		got, err := r.Read(p)
		n.light = false
		if !errors.Is(err, errAsleep) {
			return got, err
		}
		if err := n.wait(); err != nil {
			return 0, err
		}
	}
}
