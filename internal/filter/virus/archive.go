package virus

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// packed looks at a file that is packed by itself.
func (a *attachments) packed(name, kind string, r io.Reader, depth int) error {
	names := []string{unpackedName(name)}
	look := a.open
	var err error
	switch kind {
	case "gzip":
		var z *gzip.Reader
		if z, err = gzip.NewReader(r); err == nil && z.Name != "" {
			names = append(names, z.Name)
		}
		r = z
	case "bzip2":
		r = bzip2.NewReader(r)
	case "xz":
		x := &xzReader{r: bufio.NewReader(r), dictionary: func(size int64) (func(), error) { return a.dictionary(name, size) }}
		defer x.Close()
		r = x
	case "zstd":
		look = a.unseen
		var done func()
		if r, done, err = a.zstd(name, r); err == nil {
			defer done()
		}
	}
	if err != nil {
		return a.damaged(name, err, depth+1)
	}
	return look(names, a.counted(r), depth+1)
}

// zstd unpacks Zstandard; done is called after its use.
func (a *attachments) zstd(name string, r io.Reader) (_ io.Reader, done func(), err error) {
	const window = maxDictionary / 2
	release, err := a.dictionary(name, window)
	if err != nil {
		return nil, nil, err
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		release()
		return nil, nil, err
	}
	return z, func() { z.Close(); release() }, nil
}

// unpackedName is what programs call the file that comes out of one that is
// packed by itself.
func unpackedName(name string) string {
	switch ext := extension(name); ext {
	case "gz", "bz2", "xz", "zst", "tgz", "tbz", "tbz2", "txz", "tzst":
		return name[:strings.LastIndexByte(name, '.')]
	}
	return name
}

func (a *attachments) tar(name string, r io.Reader, depth int) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return a.damaged(name, err, depth+1)
		}
		if !a.entry() {
			return nil
		}
		if err := a.open([]string{h.Name}, t, depth+1); err != nil {
			return err
		}
	}
}
