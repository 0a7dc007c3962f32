package digest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// printSize and inboxSize are those of a notice, in octets.
const (
	printSize  = 17
	inboxSize  = printSize + 8 + 32
	changeSize = 3*8 + 3 // without prints and inboxes
)

// Notices writes changes down for nodes of this version, in pieces of at most
// limit octets, which must be 1200 or more. A change with many deliveries
// becomes several.
func Notices(changes []Change, limit int) [][]byte {
	var out [][]byte
	e := encoder{&bytes.Buffer{}}
	put := func(c Change) {
		size := changeSize + printSize*len(c.Prints) + inboxSize*len(c.Inboxes)
		if e.b.Len() > 0 && e.b.Len()+size > limit {
			out = append(out, e.b.Bytes())
			e.b = &bytes.Buffer{}
		}
		e.change(c)
	}
	room := min((limit-changeSize)/inboxSize, 255)
	for _, c := range changes {
		for len(c.Inboxes) > room {
			part := c
			part.Inboxes, c.Inboxes = c.Inboxes[:room], c.Inboxes[room:]
			put(part)
		}
		put(c)
	}
	if e.b.Len() > 0 {
		out = append(out, e.b.Bytes())
	}
	return out
}

func (e *encoder) change(c Change) {
	e.numbers(uint64(c.At.UnixNano()), c.Reporter, c.Domain)
	spam := byte(0)
	if c.Spam {
		spam = 1
	}
	e.b.Write([]byte{spam, byte(len(c.Prints)), byte(len(c.Inboxes))})
	for _, p := range c.Prints {
		e.print(p)
	}
	for _, b := range c.Inboxes {
		e.print(b.Print)
		e.numbers(uint64(b.Epoch))
		e.numbers(b.Set[:]...)
	}
}

// ParseNotice reads a piece that Notices wrote.
func ParseNotice(p []byte) ([]Change, error) {
	d := &decoder{r: bufio.NewReader(bytes.NewReader(p)), sum: sha256.New()}
	var out []Change
	for d.err == nil {
		if _, err := d.r.Peek(1); errors.Is(err, io.EOF) {
			return out, nil
		}
		out = append(out, d.change())
	}
	return nil, fmt.Errorf("digest: reading a notice: %w", d.err)
}

func (d *decoder) change() Change {
	c := Change{At: d.time(), Reporter: d.number(), Domain: d.number()}
	var counts [3]byte
	d.bytes(counts[:])
	c.Spam = counts[0] == 1
	for range counts[1] {
		c.Prints = append(c.Prints, d.print())
	}
	for range counts[2] {
		c.Inboxes = append(c.Inboxes, Inbox{d.print(), int64(d.number()), d.set()})
	}
	return c
}
