package logstore

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
// kill of the store. VictoriaLogs holds rows for a second before they are a part
// in memory. A look each flush interval writes the parts older than that, so one
// may wait for nearly two, and for another when a merge has it at the moment.
const (
	FlushTime     = 30 * time.Second
	flushInterval = FlushTime / 6 // also the default of a server
)

const (
	checkTime  = 5 * time.Second
	patience   = 6           // questions without an answer, after which the child is not well
	goodTime   = time.Minute // after which a start was a good one
	soundTime  = time.Hour   // without a panic, after which the data is taken to be sound
	maxBackoff = time.Minute
	maxPanics  = 4 // less than soundTime apart, after which the data is taken to be damaged
	endTime    = 20 * time.Second
	openTime   = 5 * time.Minute // after which a child answers that opens its data
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
		if time.Since(begun) >= soundTime {
			bad = 0
		}
		if answered && time.Since(begun) >= goodTime {
			backoff = s.Backoff
		}
		if damaged(err) {
			bad++
		}
		s.fault("the log store ended and is started again", err)
		if bad >= maxPanics && s.room() > 0 {
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

// blameless are words of a panic whose cause lies outside the data. The last is
// that of a directory which another process serves.
var blameless = []string{
	syscall.ENOSPC.Error(), syscall.EDQUOT.Error(), syscall.EROFS.Error(), syscall.EACCES.Error(), syscall.EPERM.Error(),
	syscall.EMFILE.Error(), syscall.ENFILE.Error(), syscall.ENOMEM.Error(), "out of memory", "cannot create lock file",
}

// damaged tells whether a child ended as it does when its data is damaged: by a
// panic, or a fatal message about a file of it. A child that was killed, or that refused its settings, says nothing
// against the data.
func damaged(err error) bool {
	var end *ending
	if !errors.As(err, &end) || end.panic == "" {
		return false
	}
	return !slices.ContainsFunc(blameless, func(words string) bool { return strings.Contains(end.panic, words) })
}

// ending is the end of a child.
type ending struct {
	err   error  // its exit status
	panic string // what it said of a panic; may be empty
	last  string // otherwise the last it said; may be empty
}

func (e *ending) Error() string {
	said := cmp.Or(e.panic, e.last)
	switch {
	case e.err == nil:
		return cmp.Or(said, "without an error")
	case said == "":
		return e.err.Error()
	}
	return e.err.Error() + ": " + said
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
		"--max-disk", strconv.FormatInt(s.MaxDisk, 10), "--min-free", strconv.FormatInt(s.MinFree, 10), "--flush", flushInterval.String())...)
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
	over := make(chan error, 1)
	go func() {
		end := &ending{}
		end.panic, end.last = s.listen(said)
		end.err = cmd.Wait()
		over <- end
	}()
	defer s.running.Store(false)
	return s.watch(ctx, cmd.Process, over)
}

// watch asks the child how it is until it ends, or makes it end.
func (s *Supervisor) watch(ctx context.Context, child *os.Process, ended chan error) (answered bool, err error) {
	tick := time.NewTicker(s.Check)
	defer tick.Stop()
	client, begun := s.Client(), time.Now()
	for {
		why := s.check(ctx, client)
		if why == nil && !answered {
			answered = true
			s.Events.Record(event.Event{Kind: event.Lifecycle, Role: "logstore", Verb: "start"})
		}
		s.running.Store(why == nil)
		late := !answered && time.Since(begun) > openTime
		if ctx.Err() == nil && why != nil && (late || answered && errors.Is(why, errUnwell)) {
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

// listen passes on what the child says, JSON of VictoriaLogs and what the Go
// runtime writes, and gives what it said of a panic and its last words.
func (s *Supervisor) listen(said io.Reader) (panic, last string) {
	sc := bufio.NewScanner(said)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := struct{ Level, Msg string }{Level: "info", Msg: sc.Text()}
		if json.Unmarshal(sc.Bytes(), &line) != nil {
			line.Msg = sc.Text()
		}
		if len(line.Msg) > maxWords {
			line.Msg = strings.ToValidUTF8(line.Msg[:maxWords], "")
		}
		// Of some damage it ends by a fatal message that names the file.
		if strings.HasPrefix(line.Msg, "panic:") || strings.HasPrefix(line.Msg, "fatal error:") ||
			line.Level == "fatal" && strings.Contains(line.Msg, s.Dir+"/") {
			line.Level = "panic"
		}
		level := slog.LevelInfo
		switch line.Level {
		case "warn":
			level = slog.LevelWarn
		case "error", "fatal", "panic":
			level = slog.LevelError
		}
		if panic != "" {
			level = slog.LevelDebug // the stacks
		} else if line.Level == "panic" {
			panic = line.Msg
		}
		last = line.Msg
		s.Log.Log(context.Background(), level, "log store", "says", last)
	}
	io.Copy(io.Discard, said) // of a line that was too long
	return panic, last
}

const maxWords = 1000 // octets kept of a line

// room gives the octets that the disk of the data has left above what is to stay
// free; 0 or less when there is none.
func (s *Supervisor) room() int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(filepath.Dir(s.Dir), &st) != nil {
		return 0
	}
	return int64(st.Bavail)*st.Bsize - max(s.MinFree, 16<<20)
}

// sizeOf gives the octets of the files in dir, as far as they can be seen.
func sizeOf(dir string) (size int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be seen counts nothing
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	return size
}

// startAnew moves data aside that no child can open. The one moved before is
// deleted: two would fill the disk with what nobody can read. So is this one when it
// takes more room than is left.
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
	where := "the old data is in " + aside
	if size := sizeOf(aside); size > s.room() {
		os.RemoveAll(aside)
		where = "the old data was deleted, as room is short"
	}
	s.fault("the log store could not open its data, begins anew and gets what the journals have; "+where, nil)
	if s.Lost != nil {
		s.Lost()
	}
}
