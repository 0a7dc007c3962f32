package logstore

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/migiwa/migiwa/internal/event"
)

const (
	healthEvery  = 5 * time.Second
	unhealthy    = 4               // checks in a row without an answer: it hangs
	openTime     = 5 * time.Minute // from the start to the first answer
	goodTime     = 10 * time.Minute
	panicsToMove = 4 // panics, less than goodTime between each: its data is broken
	backoffMin   = time.Second
	backoffMax   = time.Minute
)

// Supervisor keeps a log store running as a child process. Set the fields, then
// call Start; only the serving process of a node does, the others use the
// socket.
//
// A store that ends is started again, after 1 second at first and 1 minute at
// most. One that does not answer for about a minute, or that has half as much
// again of memory as it may, is ended and started again. VictoriaLogs panics
// when its data is broken: after four panics, with less than ten minutes between
// each, the directory is moved aside to DATA.broken-TIME and an empty one begun.
// The one moved aside before is deleted, and so is this one when the disk has
// less room left than it takes. A full disk is not taken for broken data.
//
// Each start, end and beginning with empty data is an event.
type Supervisor struct {
	Exe     string   // empty: the running program
	Args    []string // before the socket; nil: the command logstore
	Socket  string   // path of its socket
	Data    string   // its directory
	Keep    time.Duration
	Memory  int64 // octets it may use, about
	MaxDisk int64 // octets above which it deletes its oldest day; 0: no bound
	MinFree int64 // octets of free room below which it takes no more
	Events  *event.Recorder
	Log     *slog.Logger
	Emptied func() // called when an empty directory was begun; may be nil

	client *Client
	stop   context.CancelFunc
	kill   context.CancelFunc
	done   chan struct{}
	health time.Duration // between checks; 0: healthEvery

	mu     sync.Mutex
	status Status
}

// Status is how a supervised store does.
type Status struct {
	Running  bool      // it answers
	Pid      int       // 0: there is no process
	Since    time.Time // when it was started
	Restarts int       // starts after the first
	Emptied  int       // how often its data was broken and it began with none
	Trouble  string    // why it ended last; empty: it did not
	Usage    Usage     // at the last check
}

// Status gives how the store does.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Supervisor) set(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}

// Start begins to keep the store running and returns at once.
func (s *Supervisor) Start() error {
	if s.Exe == "" {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("log store: %w", err)
		}
		s.Exe = exe
	}
	if s.Args == nil {
		s.Args = []string{"logstore"}
	}
	if s.health == 0 {
		s.health = healthEvery
	}
	s.client = NewSocketClient(s.Socket)
	s.done = make(chan struct{})
	var run, live context.Context
	run, s.stop = context.WithCancel(context.Background())
	live, s.kill = context.WithCancel(context.Background())
	go s.run(run, live)
	return nil
}

// Stop ends the store, which writes what it holds in memory to the disk. When
// ctx ends before, the store is killed. It returns when there is no process any
// more.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.stop()
	select {
	case <-s.done:
		s.kill()
		return nil
	case <-ctx.Done():
		s.kill()
		<-s.done
		return fmt.Errorf("log store: killed, it did not stop in time: %w", ctx.Err())
	}
}

// run starts the store again and again until ctx ends. With live, it is killed.
func (s *Supervisor) run(ctx, live context.Context) {
	defer close(s.done)
	wait, panics := backoffMin, 0
	for {
		began := time.Now()
		end := s.once(ctx, live)
		if ctx.Err() != nil {
			s.record(event.Lifecycle, "stop", "")
			return
		}
		if time.Since(began) > goodTime {
			wait, panics = backoffMin, 0
		}
		s.set(func(st *Status) { st.Restarts++; st.Trouble = end.why })
		s.record(event.Fault, "end", end.why)
		if end.broken {
			panics++
		}
		if panics >= panicsToMove {
			s.begin()
			wait, panics = backoffMin, 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, backoffMax)
	}
}

// record makes an event of what happened to the store.
func (s *Supervisor) record(kind event.Kind, verb, why string) {
	s.Events.Record(event.Event{Kind: kind, Role: "logstore", Verb: verb, Reason: why})
	level := slog.LevelInfo
	if kind == event.Fault {
		level = slog.LevelError
	}
	s.Log.Log(context.Background(), level, "log store: "+verb, "reason", why)
}

// begin moves broken data aside and lets the next start find none.
func (s *Supervisor) begin() {
	aside := s.Data + ".broken-" + time.Now().UTC().Format("20060102T150405")
	old, _ := filepath.Glob(s.Data + ".broken-*") // the pattern is good
	for _, dir := range old {
		os.RemoveAll(dir)
	}
	why := "its data cannot be read and was moved to " + aside
	if err := os.Rename(s.Data, aside); err != nil {
		s.record(event.Fault, "broken", "its data cannot be read nor moved away: "+err.Error())
		return
	}
	if free, size := freeRoom(filepath.Dir(s.Data)), dirSize(aside); free-s.MinFree < size {
		os.RemoveAll(aside)
		why = "its data could not be read and was deleted, as room is short"
	}
	s.set(func(st *Status) { st.Emptied++ })
	s.record(event.Fault, "broken", why)
	if s.Emptied != nil {
		s.Emptied()
	}
}

// once runs one process to its end.
func (s *Supervisor) once(ctx, live context.Context) ending {
	if err := os.MkdirAll(filepath.Dir(s.Data), 0o700); err != nil {
		return ending{why: err.Error()}
	}
	cmd := exec.Command(s.Exe, append(append([]string{}, s.Args...), s.arguments()...)...)
	cmd.Env = s.environment()
	stdin, err := cmd.StdinPipe() // the store ends with it: when we stop it and when we die
	if err != nil {
		return ending{why: err.Error()}
	}
	said := &words{log: s.Log}
	cmd.Stderr, cmd.Stdout = said, said
	if err := cmd.Start(); err != nil {
		return ending{why: err.Error()}
	}
	s.set(func(st *Status) { st.Pid, st.Since = cmd.Process.Pid, time.Now() })
	ended := make(chan struct{})
	go func() {
		cmd.Wait() // ProcessState tells the same
		close(ended)
	}()
	check, stopChecks := context.WithCancel(ctx)
	sick := make(chan string, 1)
	go s.watch(check, sick)
	why := ""
	select {
	case <-ended:
	case <-ctx.Done():
		stdin.Close()
		select {
		case <-ended:
		case <-live.Done():
		}
	case why = <-sick:
	}
	stopChecks()
	stdin.Close()
	cmd.Process.Kill() // it may have ended
	<-ended
	s.set(func(st *Status) { st.Pid, st.Running = 0, false })
	return said.ending(cmd.ProcessState, why)
}

// watch checks the store until ctx ends, and says to sick why it must end.
func (s *Supervisor) watch(ctx context.Context, sick chan<- string) {
	opened, silent, deadline := false, 0, time.Now().Add(openTime)
	tick := time.NewTicker(min(s.health, 100*time.Millisecond)) // until it answers
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		usage, err := s.client.Usage(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			silent = 0
			s.set(func(st *Status) { st.Usage, st.Running = usage, true })
			if !opened {
				opened = true
				tick.Reset(s.health)
				s.record(event.Lifecycle, "start", "")
			}
			if usage.Memory > s.Memory+s.Memory/2 {
				sick <- fmt.Sprintf("it was ended: it has %d MiB of memory and may use %d", usage.Memory>>20, s.Memory>>20)
				return
			}
		case opened:
			if silent++; silent >= unhealthy {
				sick <- "it was ended: it does not answer: " + err.Error()
				return
			}
			s.set(func(st *Status) { st.Running = false })
		case time.Now().After(deadline):
			sick <- "it was ended: it does not answer after its start: " + err.Error()
			return
		}
	}
}
