package peers

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
)

// SMTPSinkOptions say what an smtp-sink does besides swallowing mail.
type SMTPSinkOptions struct {
	// Keep keeps the messages, so that Messages can return them.
	Keep bool
	// Args are further options of smtp-sink(1), such as "-q", "rcpt".
	Args []string
}

// SMTPSinkServer is a running smtp-sink.
type SMTPSinkServer struct {
	*process
	// Addr is the host:port of its SMTP listener.
	Addr string

	counter *sinkCounter
}

// SMTPSink starts Postfix's smtp-sink for a test.
func SMTPSink(t testing.TB, o SMTPSinkOptions) *SMTPSinkServer {
	t.Helper()
	p, err := StartSMTPSink(o)
	return started(t, "smtp-sink", p, err)
}

// StartSMTPSink starts smtp-sink on a free port. It is ready on return.
func StartSMTPSink(o SMTPSinkOptions) (*SMTPSinkServer, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	return StartSMTPSinkAt(loopback(port), o)
}

// StartSMTPSinkAt starts smtp-sink on host:port, for a destination that comes
// back after it was away. It is ready on return.
func StartSMTPSinkAt(addr string, o SMTPSinkOptions) (*SMTPSinkServer, error) {
	dir, err := newDir("sink")
	if err != nil {
		return nil, err
	}
	nobody, err := lookupAccount("nobody")
	if err != nil {
		return nil, err
	}
	args := []string{"-c", "-h", "sink.test"}
	if os.Geteuid() == 0 { // it refuses to stay root
		args = append(args, "-u", nobody.name)
	} else {
		nobody.uid, nobody.gid = os.Getuid(), os.Getgid()
	}
	if err := mkdirs(dir, nobody, "mail"); err != nil {
		return nil, err
	}
	if o.Keep {
		args = append(args, "-d", filepath.Join(dir, "mail", "m."))
	}
	args = append(append(args, o.Args...), addr, "1024")
	sink, err := PostfixTool("smtp-sink", args...)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", sinkScript, "guard"}, sink.Args...)...)
	cmd.Env = sink.Env
	s := &SMTPSinkServer{Addr: addr, counter: new(sinkCounter)}
	cmd.Stdout = s.counter
	if s.process, err = startProcess(dir, cmd, syscall.SIGTERM, nil); err != nil {
		return nil, err
	}
	return s, s.waitReady(greets(s.Addr, "220 "))
}

// sinkScript runs smtp-sink and ends it on SIGTERM. The kernel would not: a
// process that changes its user is no longer told of its parent's death.
const sinkScript = `
trap 'kill "$p"' TERM
"$@" &
p=$!
wait "$p"
`

// Count returns how many messages it has answered with 250.
func (s *SMTPSinkServer) Count() (int, error) { return int(s.counter.messages.Load()), nil }

// Wait waits until it has at least n messages or ctx is done.
func (s *SMTPSinkServer) Wait(ctx context.Context, n int) error {
	return waitFor(ctx, n, s.Count)
}

// Messages returns the messages it has kept. smtp-sink puts headers of its own
// before each: X-Client-Addr, X-Client-Proto, X-Helo-Args, X-Mail-Args and
// X-Rcpt-Args, with the envelope.
func (s *SMTPSinkServer) Messages() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(s.dir, "mail", "m.*"))
	if err != nil {
		return nil, err
	}
	var messages []string
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		messages = append(messages, string(text))
	}
	return messages, nil
}

// sinkCounter reads what smtp-sink -c prints after each event:
// "sess=1 quit=0 mesg=1\r".
type sinkCounter struct {
	rest     []byte // the beginning of a record that is still being written
	messages atomic.Int64
}

var _ io.Writer = (*sinkCounter)(nil)

func (c *sinkCounter) Write(b []byte) (int, error) {
	c.rest = append(c.rest, b...)
	end := bytes.LastIndexByte(c.rest, '\r')
	if end < 0 {
		return len(b), nil
	}
	last := c.rest[:end]
	if i := bytes.LastIndex(last, []byte("mesg=")); i >= 0 {
		if n, err := strconv.ParseInt(string(last[i+len("mesg="):]), 10, 64); err == nil {
			c.messages.Store(n)
		}
	}
	c.rest = append(c.rest[:0], c.rest[end+1:]...)
	return len(b), nil
}
