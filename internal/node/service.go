package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// server is what smtpd.Server, pop3d.Server and the metrics server share.
type server interface {
	// Serve accepts connections from l until Shutdown.
	Serve(l net.Listener) error
	// Shutdown ends sessions politely until ctx ends, then by force.
	Shutdown(ctx context.Context) error
}

// service is one server with its open listeners.
type service struct {
	name      string
	server    server
	listeners []net.Listener
}

// services opens all listeners before any of them serves, so that a port that
// is taken stops the start and nobody is turned away by half a node.
type services struct {
	list   []*service
	failed chan error // gets the first listener that ended by itself
	wg     sync.WaitGroup
}

func newServices() *services { return &services{failed: make(chan error, 1)} }

// open adds a server and opens its addresses. Without addresses it is left out.
func (s *services) open(name string, addresses []string, srv server) error {
	if len(addresses) == 0 {
		return nil
	}
	// Every server bounds how long it waits for a client: no need of probes.
	listen := net.ListenConfig{KeepAlive: -1}
	sv := &service{name: name, server: srv}
	s.list = append(s.list, sv)
	for _, a := range addresses {
		l, err := listen.Listen(context.Background(), "tcp", a)
		if err != nil {
			return fmt.Errorf("listen for %s: %w", name, err)
		}
		sv.listeners = append(sv.listeners, l)
	}
	return nil
}

// addresses gives where the service of that name listens.
func (s *services) addresses(name string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, sv := range s.list {
		for _, l := range sv.listeners {
			if a, ok := l.Addr().(*net.TCPAddr); ok && sv.name == name {
				out = append(out, a.AddrPort())
			}
		}
	}
	return out
}

// serve starts everything that is open. ended is the error by which each
// server says that it was shut down.
func (s *services) serve(ended ...error) {
	for _, sv := range s.list {
		for _, l := range sv.listeners {
			s.wg.Go(func() {
				err := sv.server.Serve(l)
				for _, e := range ended {
					if errors.Is(err, e) {
						return
					}
				}
				if err != nil {
					select {
					case s.failed <- fmt.Errorf("serve %s: %w", sv.name, err):
					default:
					}
				}
			})
		}
	}
}

// close closes listeners that never served.
func (s *services) close() {
	for _, sv := range s.list {
		for _, l := range sv.listeners {
			l.Close()
		}
	}
}

// shutdown drains all servers side by side.
func (s *services) shutdown(ctx context.Context) error {
	errs := make([]error, len(s.list))
	var wg sync.WaitGroup
	for i, sv := range s.list {
		wg.Go(func() {
			if err := sv.server.Shutdown(ctx); err != nil {
				errs[i] = fmt.Errorf("stop %s: %w", sv.name, err)
			}
		})
	}
	wg.Wait()
	s.wg.Wait()
	return errors.Join(errs...)
}
