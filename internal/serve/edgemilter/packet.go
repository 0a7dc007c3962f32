package edgemilter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

// maxPacket bounds a packet, its code included. Without bodies and headers the
// longest is a set of macros.
const maxPacket = 64 << 10

// conn hands packets on once they are whole and of a form that the library can
// read; it takes packets of half a gigabyte and of no octets otherwise, and
// trusts that strings end.
type conn struct {
	net.Conn
	server *Server
	once   sync.Once
	rest   []byte
}

// Read gives octets of packets that have passed. Deadlines hold for a packet.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		packet, err := readPacket(c.Conn)
		if err != nil {
			return 0, err
		}
		c.rest = packet
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Close closes the connection, and counts it once.
func (c *conn) Close() error {
	c.once.Do(func() { c.server.open.Add(-1) })
	return c.Conn.Close()
}

// readPacket reads one packet with its length in front.
func readPacket(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxPacket {
		return nil, fmt.Errorf("a milter packet of %d octets", n)
	}
	packet := make([]byte, 4+n)
	copy(packet, head[:])
	if _, err := io.ReadFull(r, packet[4:]); err != nil {
		return nil, err
	}
	if !whole(packet[4], packet[5:]) {
		return nil, fmt.Errorf("a milter packet %q that ends too early", packet[4])
	}
	return packet, nil
}

// whole tells whether a packet has the strings that its code asks for.
func whole(code byte, data []byte) bool {
	end := bytes.IndexByte(data, 0)
	switch code {
	case 'C': // the name, and behind it the family
		return end >= 0 && end+1 < len(data)
	case 'H', 'M', 'R':
		return end >= 0
	}
	return true
}
