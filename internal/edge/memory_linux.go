package edge

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is a piece of it outside Go's heap: the garbage collector neither
// reads it nor counts it as a reason to run. Pages cost nothing until they are
// used.
type memory []byte

func allocate(size int) (memory, error) {
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("memory for a table of %d octets: %w", size, err)
	}
	if size >= hugeFrom {
		_ = unix.Madvise(m, unix.MADV_HUGEPAGE) // a matter of speed only
	}
	return m, nil
}

// hugeFrom is the size from which large pages pay; smaller tables would only
// take more memory by them.
const hugeFrom = 256 << 20

func (m memory) base() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(m)) }

func (m memory) free() {
	if m != nil {
		_ = unix.Munmap(m)
	}
}
