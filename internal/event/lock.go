package event

import (
	"os"

	"golang.org/x/sys/unix"
)

// Whoever writes to a segment holds a shared lock on it. Who compresses it wants
// an exclusive one, so no line is written into a file that is being replaced.

// holdLock waits for the shared lock. A file system without locks has one
// process alone as its writer, or segments that are never replaced.
func holdLock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_SH) }

// tryLock tells whether nobody writes to f any more.
func tryLock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}
