// Package stranger is an SMTP client that appears under any address and name,
// so that one machine can show a server thousands of clients. It believes
// nothing and mends nothing: what the server said, and when, is all it gives.
package stranger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Way is how a connection tells the server where it claims to come from.
type Way string

// The ways. Bind really comes from the address, which must be in 127.0.0.0/8
// or be the machine's own; Plain claims nothing.
const (
	Proxy1  Way = "proxy1"
	Proxy2  Way = "proxy2"
	XClient Way = "xclient"
	Bind    Way = "bind"
	Plain   Way = "plain"
)

// ParseWay reads a Way.
func ParseWay(s string) (Way, error) {
	switch w := Way(s); w {
	case Proxy1, Proxy2, XClient, Bind, Plain:
		return w, nil
	}
	return "", fmt.Errorf("%q is none of proxy1, proxy2, xclient, bind, plain", s)
}

// Host is who a connection claims to be.
type Host struct {
	Addr  netip.Addr
	Name  string // what the address's PTR record says; empty: there is none
	Hello string // what it says in EHLO
}

// Dialer opens sessions with one server.
type Dialer struct {
	Server  string // host:port
	Way     Way
	Timeout time.Duration // of a whole session, default 60 s
}

// port is the one that a claimed client address has.
const port = 40000

// connect opens a connection on which the claim of h was made, as far as that
// is done before the greeting.
func (d *Dialer) connect(h Host) (net.Conn, error) {
	timeout := d.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	dialer := net.Dialer{Timeout: timeout}
	if d.Way == Bind {
		dialer.LocalAddr = &net.TCPAddr{IP: h.Addr.AsSlice()}
	}
	c, err := dialer.Dial("tcp", d.Server)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	header, err := d.header(h, c.RemoteAddr())
	if err == nil && header != nil {
		_, err = c.Write(header)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// header is the PROXY header of h, nil with the other ways.
func (d *Dialer) header(h Host, server net.Addr) ([]byte, error) {
	if d.Way != Proxy1 && d.Way != Proxy2 {
		return nil, nil
	}
	to, err := netip.ParseAddrPort(server.String())
	if err != nil {
		return nil, err
	}
	local := to.Addr().Unmap()
	if h.Addr.Is6() {
		local = netip.IPv6Loopback() // both must be of one family
	}
	if d.Way == Proxy1 {
		family := "TCP4"
		if h.Addr.Is6() {
			family = "TCP6"
		}
		return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, h.Addr, local, port, to.Port()), nil
	}
	b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11")
	if h.Addr.Is6() {
		b[len(b)-1] = 0x21
	}
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(h.Addr.AsSlice())+4))
	b = append(append(b, h.Addr.AsSlice()...), local.AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, port)
	return binary.BigEndian.AppendUint16(b, to.Port()), nil
}

// xclient is the command by which h is claimed after EHLO.
func xclient(h Host) string {
	name, addr := h.Name, h.Addr.String()
	if name == "" {
		name = "[UNAVAILABLE]"
	}
	if h.Addr.Is6() {
		addr = "IPV6:" + addr
	}
	return "XCLIENT NAME=" + name + " ADDR=" + addr
}
