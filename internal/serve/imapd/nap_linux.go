package imapd

import (
	"io"
	"net"
	"os"
	"syscall"
)

// nap is a TCP connection whose reader can be told not to wait in Read.
type nap struct {
	net.Conn
	socket syscall.RawConn
	light  bool // Read gives errAsleep rather than wait; its reader's goroutine alone uses it
}

// newNap gives nil for what is no TCP connection of the system.
func newNap(nc net.Conn) *nap {
	t, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	socket, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	return &nap{Conn: nc, socket: socket}
}

// Read fulfils io.Reader.
func (n *nap) Read(p []byte) (got int, err error) {
	if !n.light {
		return n.Conn.Read(p)
	}
	bad := n.socket.Read(func(fd uintptr) bool {
		for {
			if got, err = syscall.Read(int(fd), p); err != syscall.EINTR {
				return true
			}
		}
	})
	switch {
	case bad != nil:
		return 0, bad
	case err == syscall.EAGAIN:
		return 0, errAsleep
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case got == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return got, nil
}

// wait waits until something can be read, or the connection's deadline.
func (n *nap) wait() error {
	var octet [1]byte
	return n.socket.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), octet[:], syscall.MSG_PEEK)
		return err != syscall.EAGAIN
	})
}
