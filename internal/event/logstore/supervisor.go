package logstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

// Supervisor keeps a log store running as a child process. Its fields are set
// before Run.
type Supervisor struct {
	Command []string      // program and first arguments: migiwa logstore
	Dir     string        // where the data is
	Socket  string        // where the child serves
	Keep    time.Duration // age at which everything is deleted
	Memory  int64         // octets that the child should stay below; well over it, it is restarted
	MaxDisk int64         // octets of data above which the oldest day is deleted; 0: no limit
	MinFree int64         // octets of free disk below which nothing is taken
	Events  *event.Recorder
	Log     *slog.Logger

	// Lost is called when the data was moved aside, because no child could open
	// it, and an empty store begins.
	Lost func()

	// How long is waited; zero values are the usual ones.
	Check   time.Duration // between two questions whether the child is well
	Backoff time.Duration // before the second start; it doubles

	restarts atomic.Int64
	running  atomic.Bool
	usage    atomic.Pointer[Usage]
}

// FlushTime is how long after its acknowledgement an event may be lost by a
// kill of the store: what it waits with writing, twice, for good measure.
const FlushTime = 10 * time.Second

const (
	checkTime  = 5 * time.Second
	patience   = 6           // questions without an answer, after which the child is not well
	goodTime   = time.Minute // after which a start was a good one
	maxBackoff = time.Minute
	badStarts  = 4 // in a row, after which the data is taken to be damaged
	endTime    = 20 * time.Second
)

// Restarts counts the ends of children that nobody asked for.
func (s *Supervisor) Restarts() int64 { return s.restarts.Load() }

// Running tells whether a child is there that has answered.
func (s *Supervisor) Running() bool { return s.running.Load() }

// Usage tells what the child used when it was last asked; zero before.
func (s *Supervisor) Usage() Usage {
	if u := s.usage.Load(); u != nil {
		return *u
	}
	return Usage{}
}

// Client talks to the child.
func (s *Supervisor) Client() *Client { return NewSocketClient(s.Socket) }

// Run starts the child, and again when it ends, until ctx ends.
func (s *Supervisor) Run(ctx context.Context) {
	s.setDefaults()
	backoff, bad := s.Backoff, 0
	for {
		begun := time.Now()
		answered, err := s.once(ctx)
		if ctx.Err() != nil {
			return
		}
		s.restarts.Add(1)
		switch {
		case answered && time.Since(begun) >= goodTime:
			backoff, bad = s.Backoff, 0
		case !answered || !signaled(err):
			bad++
		}
		s.fault("the log store ended and is started again", err)
		if bad >= badStarts && s.roomFor() {
			s.startAnew()
			bad = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff + rand.N(backoff/4+1)):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (s *Supervisor) setDefaults() {
	if s.Check == 0 {
		s.Check = checkTime
	}
	if s.Backoff == 0 {
		s.Backoff = time.Second
	}
}

// signaled tells whether the child was ended from outside, which says nothing
// against its data.
func signaled(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() < 0
}

func (s *Supervisor) fault(what string, err error) {
	if err != nil {
		what += ": " + err.Error()
	}
	s.Log.Warn(what)
	s.Events.Record(event.Event{Kind: event.Fault, Role: "logstore", Verb: "restart", Reason: what})
}

// once runs one child to its end, and tells whether it ever answered and why
// it ended.
func (s *Supervisor) once(ctx context.Context) (answered bool, err error) {
	cmd := exec.Command(s.Command[0], append(slices.Clone(s.Command[1:]),
		"--socket", s.Socket, "--dir", s.Dir, "--keep", s.Keep.String(), "--memory", strconv.FormatInt(s.Memory, 10),
		"--max-disk", strconv.FormatInt(s.MaxDisk, 10), "--min-free", strconv.FormatInt(s.MinFree, 10), "--flush", (FlushTime/2).String())...)
	alive, err := cmd.StdinPipe() // closed by our end, however that comes
	if err != nil {
		return false, err
	}
	defer alive.Close()
	said, err := cmd.StderrPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() {
		last := s.listen(said)
		err := cmd.Wait()
		if last != "" {
			err = fmt.Errorf("%w: %s", errors.Join(err), last)
		}
		ended <- err
	}()
	defer s.running.Store(false)
	return s.watch(ctx, cmd.Process, ended)
}

// watch asks the child how it is until it ends, or makes it end.
func (s *Supervisor) watch(ctx context.Context, child *os.Process, ended chan error) (answered bool, err error) {
	tick := time.NewTicker(s.Check)
	defer tick.Stop()
	client := s.Client()
	for {
		why := s.check(ctx, client)
		if why == nil && !answered {
			answered = true
			s.Events.Record(event.Event{Kind: event.Lifecycle, Role: "logstore", Verb: "start"})
		}
		s.running.Store(why == nil)
		if answered && why != nil && ctx.Err() == nil && errors.Is(why, errUnwell) {
			child.Kill()
			return answered, errors.Join(why, <-ended)
		}
		select {
		case err := <-ended:
			return answered, err
		case <-ctx.Done():
			return answered, end(child, ended)
		case <-tick.C:
		}
	}
}

// errUnwell is a child that has to be replaced.
var errUnwell = errors.New("the log store is not well")

// check asks the child how it is.
func (s *Supervisor) check(ctx context.Context, client *Client) error {
	ctx, cancel := context.WithTimeout(ctx, patience*s.Check)
	defer cancel()
	usage, err := client.Usage(ctx)
	if err == nil {
		s.usage.Store(&usage)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", errUnwell, err)
	case err != nil:
		return err // not there yet, or just ended
	case usage.Memory > 2*s.Memory:
		return fmt.Errorf("%w: it has %d octets of memory, %d were meant", errUnwell, usage.Memory, s.Memory)
	}
	return nil
}

// end asks the child to end, so that it writes what it has, and kills it when it
// does not.
func end(child *os.Process, ended chan error) error {
	child.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		return err
	case <-time.After(endTime):
		child.Kill()
		return <-ended
	}
}

// listen passes on what the child says, and gives its last words.
func (s *Supervisor) listen(said io.Reader) (last string) {
	sc := bufio.NewScanner(said)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		last = sc.Text()
		if len(last) > 500 {
			last = last[:500]
		}
		s.Log.Info("log store", "says", last)
	}
	io.Copy(io.Discard, said) // of a line that was too long
	return last
}

// roomFor tells whether the disk of the data has room: a child that fails
// without room has no damaged data.
func (s *Supervisor) roomFor() bool {
	var st syscall.Statfs_t
	return syscall.Statfs(filepath.Dir(s.Dir), &st) == nil && int64(st.Bavail)*st.Bsize > max(s.MinFree, 16<<20)
}

// startAnew moves data aside that no child can open. The one moved before is
// deleted: two would fill the disk with what nobody can read.
func (s *Supervisor) startAnew() {
	aside := s.Dir + ".broken"
	err := os.RemoveAll(aside)
	if err == nil {
		err = os.Rename(s.Dir, aside)
	}
	if err != nil {
		s.fault("the log store cannot open its data, which cannot be moved aside", err)
		return
	}
	s.fault("the log store could not open its data, begins anew and gets what the journals have; the old data is in "+aside, nil)
	if s.Lost != nil {
		s.Lost()
	}
}
