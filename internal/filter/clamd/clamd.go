// Package clamd asks ClamAV's daemon whether there is a virus in a message.
package clamd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Errors that callers tell apart. All others mean that clamd does not answer as
// it should.
var (
	// ErrTooLarge means that clamd does not take as much (StreamMaxLength).
	ErrTooLarge = errors.New("clamd: more than it takes")
)

// Client talks to one clamd. It is safe for concurrent use.
type Client struct {
	Address     string        // /run/clamav/clamd.ctl, or host:port
	Connections int           // scans at the same time; 0 is 4, more wait
	Timeout     time.Duration // of one scan; 0 is 15 s

	once sync.Once
	free chan struct{}

	mu      sync.Mutex
	version Version
	asked   time.Time
}

// Version is what clamd says of itself.
type Version struct {
	Engine     string // ClamAV 1.4.3
	Signatures string // number of the daily signatures, which grows
	Date       string // of them
}

const (
	chunkSize  = 64 << 10
	versionAge = time.Minute // then it is asked again, so that new signatures are noticed
	maxReply   = 4 << 10
)

// Scan gives the name of the signature that fits what r reads, "" when none
// does.
func (c *Client) Scan(ctx context.Context, r io.Reader) (signature string, err error) {
	reply, err := c.command(ctx, "zINSTREAM\x00", func(w io.Writer) error { return stream(w, r) })
	if err != nil {
		return "", err
	}
	return parse(reply)
}

// parse understands "stream: NAME FOUND", "stream: OK" and errors.
func parse(reply string) (string, error) {
	text, ok := strings.CutPrefix(reply, "stream: ")
	switch {
	case strings.Contains(reply, "size limit exceeded"):
		return "", ErrTooLarge
	case ok && text == "OK":
		return "", nil
	case ok && strings.HasSuffix(text, " FOUND"):
		return strings.TrimSuffix(text, " FOUND"), nil
	}
	return "", fmt.Errorf("clamd: said %.100q", reply)
}

// stream sends r in chunks, each behind its length, and an empty one at the end.
func stream(w io.Writer, r io.Reader) error {
	buf := make([]byte, 4+chunkSize)
	for {
		n, err := io.ReadFull(r, buf[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(buf, uint32(n))
			if _, err := w.Write(buf[:4+n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			_, err := w.Write(make([]byte, 4))
			return err
		}
		if err != nil {
			return &readError{err}
		}
	}
}

// readError is a fault of what was to be scanned, not of clamd.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// Ping tells whether clamd answers.
func (c *Client) Ping(ctx context.Context) error {
	reply, err := c.command(ctx, "zPING\x00", nil)
	if err == nil && reply != "PONG" {
		err = fmt.Errorf("clamd: said %.100q", reply)
	}
	return err
}

// Version gives what clamd uses, as of a minute ago at most.
func (c *Client) Version(ctx context.Context) (Version, error) {
	c.mu.Lock()
	v, fresh := c.version, time.Since(c.asked) < versionAge
	c.mu.Unlock()
	if fresh {
		return v, nil
	}
	reply, err := c.command(ctx, "zVERSION\x00", nil)
	if err != nil {
		return Version{}, err
	}
	parts := strings.SplitN(reply, "/", 3)
	v = Version{Engine: parts[0]}
	if len(parts) == 3 {
		v.Signatures, v.Date = parts[1], parts[2]
	}
	c.mu.Lock()
	c.version, c.asked = v, time.Now()
	c.mu.Unlock()
	return v, nil
}

// Signatures names the signatures in use.
func (c *Client) Signatures(ctx context.Context) (string, error) {
	v, err := c.Version(ctx)
	return v.Engine + "/" + v.Signatures + "/" + v.Date, err
}

// command sends one command on a connection of its own, as clamd wants it, and
// gives the reply.
func (c *Client) command(ctx context.Context, command string, send func(io.Writer) error) (string, error) {
	c.once.Do(func() {
		n := c.Connections
		if n <= 0 {
			n = 4
		}
		c.free = make(chan struct{}, n)
	})
	select {
	case c.free <- struct{}{}:
		defer func() { <-c.free }()
	case <-ctx.Done():
		return "", fmt.Errorf("clamd: waiting for a connection: %w", ctx.Err())
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = 15 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	network := "tcp"
	if strings.HasPrefix(c.Address, "/") {
		network = "unix"
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, c.Address)
	if err != nil {
		return "", fmt.Errorf("clamd: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	reply, err := converse(conn, command, send)
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("clamd: %w", context.Cause(ctx))
	}
	return reply, err
}

func converse(conn net.Conn, command string, send func(io.Writer) error) (string, error) {
	_, err := io.WriteString(conn, command)
	if err == nil && send != nil {
		err = send(conn)
	}
	var fault *readError
	if errors.As(err, &fault) {
		return "", fault.error
	}
	// clamd says why it hangs up before all was sent.
	reply, rerr := bufio.NewReader(io.LimitReader(conn, maxReply)).ReadString(0)
	if reply = strings.TrimRight(reply, "\x00\n"); reply != "" {
		return reply, nil
	}
	return "", fmt.Errorf("clamd: %w", errors.Join(err, rerr))
}
