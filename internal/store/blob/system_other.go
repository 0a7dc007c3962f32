//go:build !linux

package blob

import "os"

func fdatasync(f *os.File) error { return f.Sync() }
