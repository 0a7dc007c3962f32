//go:build !linux

package edge

import "unsafe"

// memory holds a table where there is no mmap of Linux's kind.
type memory []uint64

func allocate(size int) (memory, error) { return make(memory, (size+7)/8), nil }

func (m memory) base() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(m)) }

func (m memory) free() {}
