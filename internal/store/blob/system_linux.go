package blob

import (
	"os"
	"syscall"
)

// fdatasync makes data, and the size needed to read them, durable; it spares
// the journal the file's times.
func fdatasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
