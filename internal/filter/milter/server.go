package milter

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Times and bounds of one server.
const (
	defaultConnect = 5 * time.Second
	defaultReply   = 10 * time.Second
	// MaxPacket is the longest packet that is taken, in octets.
	MaxPacket = 1 << 20
	// MaxReply is the most that is taken on one message, in octets: a server
	// may replace the body.
	MaxReply = 64 << 20
)

// Server is one mail filter.
type Server struct {
	// Name stands for it in findings and errors.
	Name string
	// Address is as sendmail writes it: unix:/run/opendkim.sock,
	// inet:8891@localhost, inet6:8891@[::1].
	Address string
	// Connect and Reply bound the wait for a connection and for one reply; 0
	// is 5 s and 10 s. The deadline of the message ends all.
	Connect, Reply time.Duration
	// Required makes it a finding of its own when the server cannot be asked,
	// for sites that would rather have mail sent again. Otherwise the message
	// goes on without it; either way it is an error of the filter.
	Required bool
}

// parseAddress reads sendmail's form.
func parseAddress(s string) (network, address string, err error) {
	kind, rest, ok := strings.Cut(s, ":")
	switch {
	case !ok || rest == "":
		return "", "", fmt.Errorf("milter address %q: not unix:PATH or inet:PORT@HOST", s)
	case kind == "unix" || kind == "local":
		return "unix", rest, nil
	case kind == "inet" || kind == "inet6":
		port, host, ok := strings.Cut(rest, "@")
		if n, err := strconv.ParseUint(port, 10, 16); !ok || host == "" || err != nil || n == 0 {
			return "", "", fmt.Errorf("milter address %q: not %s:PORT@HOST", s, kind)
		}
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if kind == "inet6" {
			return "tcp6", net.JoinHostPort(host, port), nil
		}
		return "tcp", net.JoinHostPort(host, port), nil
	}
	return "", "", fmt.Errorf("milter address %q: unknown kind %q", s, kind)
}

func (s *Server) validate() error {
	if s.Name == "" {
		return fmt.Errorf("milter %q has no name", s.Address)
	}
	if s.Connect < 0 || s.Reply < 0 {
		return fmt.Errorf("milter %s: a time below zero", s.Name)
	}
	_, _, err := parseAddress(s.Address)
	return err
}

func (s *Server) reply() time.Duration {
	if s.Reply == 0 {
		return defaultReply
	}
	return s.Reply
}

// dialer connects for one message, and closes the connection when the time of
// that message is over, whatever the protocol is waiting for.
type dialer struct {
	ctx     context.Context
	timeout time.Duration
}

// Dial implements the library's Dialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	timeout := d.timeout
	if timeout == 0 {
		timeout = defaultConnect
	}
	nd := net.Dialer{Timeout: timeout}
	conn, err := nd.DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &guarded{Conn: conn, stop: context.AfterFunc(d.ctx, func() { conn.Close() })}, nil
}

// guarded looks at the lengths of packets before the library believes them: it
// would set aside half a gigabyte, and takes a packet to have a first octet.
type guarded struct {
	net.Conn
	stop  func() bool
	head  [4]byte
	have  int    // octets of head
	left  uint32 // octets of the packet's content to come
	total int
}

// Read reads no further than a packet's head or content.
func (g *guarded) Read(b []byte) (int, error) {
	if g.left == 0 {
		n, err := g.Conn.Read(b[:min(len(b), 4-g.have)])
		copy(g.head[g.have:], b[:n])
		if g.have += n; g.have == 4 {
			g.have, g.left = 0, binary.BigEndian.Uint32(g.head[:])
			g.total += int(min(g.left, MaxReply+1))
			if g.left == 0 || g.left > MaxPacket || g.total > MaxReply {
				return 0, fmt.Errorf("a packet of %d octets, %d in all", g.left, g.total)
			}
		}
		return n, err
	}
	n, err := g.Conn.Read(b[:min(uint32(min(len(b), MaxPacket)), g.left)])
	g.left -= uint32(n)
	return n, err
}

// Close implements net.Conn.
func (g *guarded) Close() error {
	g.stop()
	return g.Conn.Close()
}
