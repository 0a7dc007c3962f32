package imapd

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"io"
	"sync"

	"github.com/migiwa/migiwa/internal/serve/imapd/inflate"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// COMPRESS=DEFLATE (RFC 4978). A compressor takes more than a megabyte, so a
// connection has one only while it writes, and what is flushed does not refer
// to what was before: idle connections have none, and lose little, for large
// responses are flushed rarely. What reads takes 38 KB for the whole time.

// compressor is a writer with what it has made: it writes in crumbs, each of
// which would become a TLS record.
type compressor struct {
	*flate.Writer
	made bytes.Buffer
}

var compressors = sync.Pool{New: func() any {
	z := &compressor{}
	var err error
	if z.Writer, err = flate.NewWriter(&z.made, flate.BestSpeed); err != nil {
		panic(err) // the level is one of the package's
	}
	return z
}}

// deflater compresses each Write for itself, up to a sync flush, and writes it at
// once: the flush's last octets in a record of TLS of their own would wake a
// client for nothing (Thunderbird in IDLE then waits for a line and hangs).
type deflater struct{ w io.Writer }

// Write fulfils io.Writer.
func (d deflater) Write(p []byte) (int, error) {
	z := compressors.Get().(*compressor)
	defer compressors.Put(z)
	z.made.Reset()
	z.Reset(&z.made)
	n, err := z.Write(p)
	if err == nil {
		err = z.Flush()
	}
	if err == nil {
		_, err = d.w.Write(z.made.Bytes())
	}
	return n, err
}

func (c *conn) parseCompress(d *wire.Decoder) task {
	d.SP()
	algorithm := d.Word()
	d.End()
	return task{sync: syncNone, run: func(context.Context) (string, error) {
		switch {
		case algorithm != "DEFLATE":
			return "", no("CANNOT", "Only DEFLATE is known")
		case c.compressed:
			return "", no("COMPRESSIONACTIVE", "Compression is active already")
		}
		return "Compression begins", errCompress
	}}
}

// compress ends COMPRESS: what follows its response is compressed, both ways.
func (c *conn) compress(tag, text string) error {
	c.line(tag + " OK " + text)
	if err := c.out.flush(); err != nil {
		return err
	}
	c.compressed = true
	// What the client has sent already is compressed.
	ahead, err := c.in.buf.Peek(c.in.buf.Buffered())
	if err != nil {
		return err
	}
	below := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(ahead)), source{c}), 512)
	c.in.release()
	c.in.r = inflate.NewReader(below)
	c.out.init(deflater{deadlineWriter{c}})
	return nil
}
