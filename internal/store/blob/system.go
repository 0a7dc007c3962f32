package blob

import (
	"os"
	"syscall"
)

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// lock takes the lock of a segment, and fails or waits when it is taken. It
// ends with the file descriptor, and so with the process.
func lock(f *os.File, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			return os.NewSyscallError("flock", err)
		}
	}
}

// freeOctets is what a user without privileges may still write to the disk of
// dir. A file system that cannot tell is taken to be empty: writing shows it.
func freeOctets(dir string) int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 1 << 62
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
