package smtpd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// maxProxyHeader bounds a version 2 header with its TLVs, in octets. Real ones
// stay far below; AWS adds some 100, a client certificate some 1,000.
const maxProxyHeader = 4096

// Proxy tells whose PROXY headers are believed.
type Proxy struct {
	// Trust lists the balancers. Their connections must begin with a PROXY
	// header, of version 1 or 2, or are closed.
	Trust []netip.Prefix
	// Required turns everybody else away. Without it others are served as if
	// there were no balancer; a header of theirs is other traffic.
	Required bool
}

// trusts tells whether addr is a balancer.
func (p *Proxy) trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, net := range p.Trust {
		if net.Contains(addr) {
			return true
		}
	}
	return false
}

// readProxy reads one PROXY header from r and not an octet more, since TLS may
// follow. The addresses are invalid when the balancer speaks for itself, as in
// a health check (LOCAL, UNKNOWN).
func readProxy(r io.Reader) (client, local netip.AddrPort, err error) {
	raw, err := rawProxy(r)
	if err != nil {
		return client, local, fmt.Errorf("reading a PROXY header: %w", err)
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(raw), maxProxyHeader))
	if err != nil {
		return client, local, fmt.Errorf("parsing a PROXY header: %w", err)
	}
	if h.Command.IsLocal() || h.TransportProtocol.IsUnspec() {
		return client, local, nil
	}
	src, dst, ok := h.TCPAddrs()
	if !ok {
		return client, local, fmt.Errorf("PROXY header for %v, not TCP", h.TransportProtocol)
	}
	return addrPort(src), addrPort(dst), nil
}

// rawProxy reads the octets of one header.
func rawProxy(r io.Reader) ([]byte, error) {
	// The shortest header of version 1 has 15 octets, the signature of
	// version 2 has 12.
	b := make([]byte, 12, 232)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(b, proxyproto.SIGV1):
		for len(b) < 107 && b[len(b)-1] != '\n' {
			b = append(b, 0)
			if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
				return nil, err
			}
		}
		return b, nil
	case bytes.Equal(b, proxyproto.SIGV2):
		b = b[:16]
		if _, err := io.ReadFull(r, b[12:]); err != nil {
			return nil, err
		}
		n := int(binary.BigEndian.Uint16(b[14:]))
		if n > maxProxyHeader-16 {
			return nil, fmt.Errorf("%d octets long", n)
		}
		b = append(b, make([]byte, n)...)
		_, err := io.ReadFull(r, b[16:])
		return b, err
	}
	return nil, proxyproto.ErrNoProxyProtocol
}

// addrPort converts an address of package net; invalid when it is none.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	if a == nil {
		return netip.AddrPort{}
	}
	p, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
