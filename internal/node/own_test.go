package node

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestOwnAddresses(t *testing.T) {
	interfaces := []netip.Addr{}
	for _, a := range []string{"127.0.0.1", "::1", "192.0.2.1", "10.0.0.1", "2001:db8::1", "fe80::1", "169.254.1.1"} {
		interfaces = append(interfaces, netip.MustParseAddr(a))
	}
	for listen, want := range map[string]string{
		"":                                "[]",
		"0.0.0.0:25":                      "[10.0.0.1 192.0.2.1]",
		"[::]:25":                         "[10.0.0.1 192.0.2.1 2001:db8::1]",
		"0.0.0.0:25 [::]:25":              "[10.0.0.1 192.0.2.1 2001:db8::1]",
		"[::]:2525":                       "[]", // port 25 is somebody else's
		"192.0.2.1:25 198.51.100.7:25":    "[192.0.2.1 198.51.100.7]",
		"[::ffff:192.0.2.1]:25":           "[192.0.2.1]",
		"127.0.0.1:10025":                 "[]",
		"127.0.0.3:25":                    "[127.0.0.3]",
		"192.0.2.1:2525 [2001:db8::1]:25": "[2001:db8::1]",
	} {
		var listeners []netip.AddrPort
		for _, l := range strings.Fields(listen) {
			listeners = append(listeners, netip.MustParseAddrPort(l))
		}
		if got := fmt.Sprint(ownAddresses(listeners, interfaces)); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}

func TestInterfaceAddresses(t *testing.T) {
	all, err := interfaceAddresses()
	if err != nil || len(all) == 0 {
		t.Errorf("%v, %v", all, err)
	}
}
