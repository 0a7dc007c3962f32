package bus

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	peerQueue = 4096            // notices that wait for one process
	sendLimit = 2 * time.Second // for one notice to one process
	partLimit = time.Second     // for all that waits when we leave
	longPath  = 100             // of 108 octets that a socket address holds
	// racy is how long after a change of the directory its list is not trusted:
	// file systems tell times in steps of some milliseconds.
	racy = 100 * time.Millisecond
)

// network is the part of a Bus that talks to other processes.
type network struct {
	dir     string
	handle  *os.File // of dir, for short names of sockets
	name    string   // our socket
	conn    *net.UnixConn
	deliver func(topic string, payload []byte)
	wg      sync.WaitGroup
	leaving atomic.Int64 // when sending ends, in Unix nanoseconds; 0: not leaving

	mu     sync.Mutex
	closed bool
	seen   time.Time // change time of dir when peers was read; zero: read again
	peers  map[string]*peer
}

// peer is another process.
type peer struct {
	queue chan []byte
	conn  *net.UnixConn
}

func join(dir string, deliver func(string, []byte)) (*network, error) {
	handle, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	n := &network{dir: dir, handle: handle, deliver: deliver, peers: map[string]*peer{},
		name: fmt.Sprintf("%d-%s.sock", os.Getpid(), strings.ToLower(rand.Text()[:12]))}
	n.conn, err = net.ListenUnixgram("unixgram", n.address(n.name))
	if err != nil {
		handle.Close()
		return nil, err
	}
	n.wg.Go(n.receive)
	return n, nil
}

// address names a socket, by way of the open directory when its path is longer
// than a socket address can hold.
func (n *network) address(name string) *net.UnixAddr {
	path := filepath.Join(n.dir, name)
	if len(path) > longPath {
		path = fmt.Sprintf("/proc/self/fd/%d/%s", n.handle.Fd(), name)
	}
	return &net.UnixAddr{Name: path, Net: "unixgram"}
}

// close sends what waits, for partLimit at most, and leaves: a command changes
// something and ends at once, and others must hear of it.
func (n *network) close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.leaving.Store(time.Now().Add(partLimit).UnixNano())
	for name, p := range n.peers {
		n.part(name, p)
	}
	n.mu.Unlock()
	os.Remove(filepath.Join(n.dir, n.name))
	err := n.conn.Close()
	n.wg.Wait()
	n.handle.Close()
	return err
}

func (n *network) receive() {
	buf := make([]byte, 1+maxTopic+MaxPayload)
	for {
		k, _, err := n.conn.ReadFromUnix(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if topic, payload, ok := parseDatagram(buf[:k]); ok {
			n.deliver(topic, payload)
		}
	}
}

// send queues a notice for every other process.
func (n *network) send(topic string, payload []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.refresh()
	if len(n.peers) == 0 {
		return
	}
	d := datagram(topic, payload)
	for _, p := range n.peers {
		select {
		case p.queue <- d:
		default: // lost to a process that does not listen
		}
	}
}

// refresh reads the list of peers when the directory has changed.
func (n *network) refresh() {
	st, err := os.Stat(n.dir)
	if err != nil || st.ModTime().Equal(n.seen) {
		return
	}
	n.seen = time.Time{}
	if time.Since(st.ModTime()).Abs() > racy {
		n.seen = st.ModTime()
	}
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		return
	}
	there := map[string]bool{}
	for _, e := range entries {
		if e.Type()&fs.ModeSocket == 0 || e.Name() == n.name || !strings.HasSuffix(e.Name(), ".sock") {
			continue
		}
		there[e.Name()] = true
		if n.peers[e.Name()] == nil {
			n.meet(e.Name())
		}
	}
	for name, p := range n.peers {
		if !there[name] {
			n.part(name, p)
		}
	}
}

// meet connects to another process, or removes what a dead one left.
func (n *network) meet(name string) {
	conn, err := net.DialUnix("unixgram", nil, n.address(name))
	if errors.Is(err, syscall.ECONNREFUSED) {
		os.Remove(filepath.Join(n.dir, name))
	}
	if err != nil {
		return
	}
	p := &peer{queue: make(chan []byte, peerQueue), conn: conn}
	n.peers[name] = p
	n.wg.Go(func() { n.feed(name, p) })
}

// part ends with a peer once it was sent what is queued.
func (n *network) part(name string, p *peer) {
	delete(n.peers, name)
	close(p.queue)
}

// feed sends what is queued for one peer.
func (n *network) feed(name string, p *peer) {
	defer p.conn.Close()
	for d := range p.queue {
		end := time.Now().Add(sendLimit)
		if t := n.leaving.Load(); t != 0 {
			end = time.Unix(0, t)
		}
		p.conn.SetWriteDeadline(end)
		_, err := p.conn.Write(d)
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.EPIPE) {
			continue // sent, lost to a slow process, or closed
		}
		os.Remove(filepath.Join(n.dir, name))
		n.mu.Lock()
		if n.peers[name] == p {
			n.part(name, p)
		}
		n.mu.Unlock()
	}
}
