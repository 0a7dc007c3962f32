package node

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// smtpPort is where mail exchangers are reached (RFC 5321 section 4.5.4.2).
const smtpPort = 25

// ownAddresses gives the addresses at which other hosts reach the MX service
// that listens at listeners: those at port 25 as they are, and for a listener
// on all addresses those of interfaces that are more than local. Addresses
// that a router in front translates are not known here; what leads to them is
// still found by the host name.
func ownAddresses(listeners []netip.AddrPort, interfaces []netip.Addr) []netip.Addr {
	var own []netip.Addr
	for _, l := range listeners {
		ip := l.Addr().Unmap()
		switch {
		case l.Port() != smtpPort:
		case !ip.IsUnspecified():
			own = append(own, ip.WithZone(""))
		default:
			for _, i := range interfaces {
				// Listening on "::" takes IPv4 as well.
				if i = i.Unmap(); i.IsGlobalUnicast() && (i.Is4() || ip.Is6()) {
					own = append(own, i)
				}
			}
		}
	}
	slices.SortFunc(own, netip.Addr.Compare)
	return slices.Compact(own)
}

// interfaceAddresses gives the addresses of this machine.
func interfaceAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("find out our own addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out, nil
}
