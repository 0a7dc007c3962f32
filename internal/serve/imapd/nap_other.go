//go:build !linux

package imapd

import "net"

// nap is for Linux only.
type nap struct {
	net.Conn
	light bool
}

func newNap(net.Conn) *nap { return nil }

func (n *nap) wait() error { return nil }
