package edge

import (
	"encoding/binary"
	"net/netip"
)

// Source is a client address as the engine knows it. Make one a connection.
type Source struct {
	key    uint64 // IPv4: the address; IPv6: the /64
	narrow uint64 // of the /24, or /56
	wide   uint64 // of the /16, or /48
}

// Marks of what a prefix key stands for. Those of IPv4 lie in bits that are
// free: an IPv4 key has its upper half empty, and ::/8, where IPv6 keys would
// look like IPv4 ones, is not routed. Those of IPv6 have a low octet that tells
// the size, and the highest bit turned, by which they look like addresses that
// nobody has (isNetwork).
const (
	mark24 = 1 << 40
	mark16 = 1 << 41
	mark56 = 1<<63 | 0x56
	mark48 = 1<<63 | 0x48
)

// isNetwork tells the key of a /56 or /48 from that of a /64: global unicast
// addresses are 2000::/3, local ones fc00::/6, those of translators 64:ff9b::/32.
func isNetwork(key uint64) bool {
	top := key >> 56
	return top>>5 == 0xa0>>5 || top>>2 == 0x7c>>2 || top == 0x80
}

// isWide tells the key of a /16 or /48 from that of a smaller network.
func isWide(key uint64) bool { return key>>41 == 1 || isNetwork(key) && key&0xff == mark48&0xff }

// SourceOf gives the source of an address; that of an IPv4-mapped address is
// the IPv4 one's. A key is never 0, which is an empty place in tables: 0.0.0.0
// and ::/64 pass for 0.0.0.1.
func SourceOf(a netip.Addr) Source {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		ip := uint64(binary.BigEndian.Uint32(b[:]))
		return Source{key: max(ip, 1), narrow: ip>>8 | mark24, wide: ip>>16 | mark16}
	}
	b := a.As16()
	hi := binary.BigEndian.Uint64(b[:8])
	return Source{key: max(hi, 1), narrow: hi&^0xff ^ mark56, wide: hi&^0xffff ^ mark48}
}

// isIPv4 tells the family.
func (s Source) isIPv4() bool { return s.key>>32 == 0 }

// Prefix gives the network the source stands for: a /32 or a /64.
func (s Source) Prefix() netip.Prefix { return prefixOf(s.key) }

// Narrow gives the /24 or /56 around the source.
func (s Source) Narrow() netip.Prefix { return prefixOf(s.narrow) }

// Wide gives the /16 or /48 around the source.
func (s Source) Wide() netip.Prefix { return prefixOf(s.wide) }

// prefixOf turns a key back into the network it was made of.
func prefixOf(key uint64) netip.Prefix {
	v4 := func(ip uint64, bits int) netip.Prefix {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(ip))
		return netip.PrefixFrom(netip.AddrFrom4(b), bits)
	}
	v6 := func(hi uint64, bits int) netip.Prefix {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], hi)
		return netip.PrefixFrom(netip.AddrFrom16(b), bits)
	}
	switch {
	case key>>32 == 0:
		return v4(key, 32)
	case key>>42 == 0 && key&mark24 != 0:
		return v4(key&^mark24<<8, 24)
	case key>>42 == 0:
		return v4(key&^mark16<<16, 16)
	case isNetwork(key) && key&0xff == mark48&0xff:
		return v6(key&^0xffff^1<<63, 48)
	case isNetwork(key):
		return v6(key&^0xff^1<<63, 56)
	}
	return v6(key, 64)
}
