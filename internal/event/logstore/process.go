package logstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// arguments are those of the child: its socket and flags of VictoriaLogs.
func (s *Supervisor) arguments() []string {
	day := 24 * time.Hour
	flags := [][2]string{
		{"storageDataPath", s.Data},
		// A day more: it deletes whole days.
		{"retentionPeriod", fmt.Sprintf("%dd", (s.Keep+2*day-1)/day)},
		{"futureRetention", fmt.Sprintf("%dd", FutureRetention/day)},
		{"inmemoryDataFlushInterval", FlushInterval.String()},
		// For caches and for rows that wait to be written; the heap is the rest.
		{"memory.allowedBytes", strconv.FormatInt(s.Memory/4, 10)},
		{"retention.maxDiskSpaceUsageBytes", strconv.FormatInt(s.MaxDisk, 10)},
		{"storage.minFreeDiskSpaceBytes", strconv.FormatInt(s.MinFree, 10)},
		{"insert.maxLineSizeBytes", strconv.Itoa(MaxLine)},
		{"insert.maxQueueDuration", (4 * insertTimeout).String()}, // it would drop what waited longer, see insertTimeout
		{"defaultMsgValue", ""},
		{"delete.enable", "true"},
		{"search.maxConcurrentRequests", "4"},
		{"search.maxQueryDuration", "30s"},
		{"search.logSlowQueryDuration", "0"}, // queries are no one else's to read
		{"loggerFormat", "json"},
		{"loggerLevel", "INFO"},
		{"loggerMaxArgLen", "200"}, // lines it drops are among them
		{"loggerWarnsPerSecondLimit", "5"},
		{"loggerErrorsPerSecondLimit", "5"},
	}
	args := []string{s.Socket}
	for _, f := range flags {
		args = append(args, f[0]+"="+f[1])
	}
	return args
}

// environment is ours with bounds for the child's Go runtime. Near its memory
// limit the runtime collects garbage more often; the limit is no wall.
func (s *Supervisor) environment() []string {
	return append(os.Environ(), "GOMEMLIMIT="+strconv.FormatInt(s.Memory*3/4, 10), "GOGC=50")
}

// ending is how a process ended.
type ending struct {
	why    string
	broken bool // its data may be the cause
}

// blameless are causes of a panic that lie outside the data.
var blameless = []string{
	syscall.ENOSPC.Error(), syscall.EDQUOT.Error(), syscall.EROFS.Error(), syscall.EACCES.Error(), syscall.EPERM.Error(),
	syscall.EMFILE.Error(), syscall.ENFILE.Error(), syscall.ENOMEM.Error(), "out of memory", "cannot create lock file",
}

// words takes what the child says, line by line, makes log lines of it, and
// keeps the reason of a panic.
type words struct {
	log *slog.Logger

	mu    sync.Mutex
	rest  []byte // of a line
	fatal string // the first words of a panic
	last  string // line that is no trace
	spare bool   // one of blameless was said
}

const maxWords = 8 << 10 // octets of one line

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			break
		}
		w.line(w.rest[:i])
		w.rest = w.rest[i+1:]
	}
	if len(w.rest) > maxWords {
		w.rest = w.rest[:maxWords]
	}
	return len(p), nil
}

// line takes one line: JSON of VictoriaLogs, or what the Go runtime says.
func (w *words) line(line []byte) {
	line = line[:min(len(line), maxWords)]
	var said struct{ Level, Msg string }
	if json.Unmarshal(line, &said) != nil {
		said.Level, said.Msg = "trace", strings.TrimSpace(string(line))
		if strings.HasPrefix(said.Msg, "panic:") || strings.HasPrefix(said.Msg, "fatal error:") {
			said.Level = "panic"
		}
	}
	if said.Msg == "" {
		return
	}
	for _, b := range blameless {
		w.spare = w.spare || strings.Contains(said.Msg, b) && said.Level != "info" && said.Level != "warn"
	}
	if said.Level == "panic" && w.fatal == "" {
		w.fatal = said.Msg
	}
	switch said.Level {
	case "panic", "fatal", "error":
		w.log.Error("log store: " + said.Msg)
	case "warn":
		w.log.Warn("log store: " + said.Msg)
	default:
		w.log.Debug("log store: " + said.Msg)
	}
	if said.Level != "trace" || strings.HasPrefix(said.Msg, "migiwa:") {
		w.last = said.Msg
	}
}

// ending gives how the process ended; why is our reason when we ended it.
func (w *words) ending(state *os.ProcessState, why string) ending {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := ending{why: why, broken: w.fatal != "" && why == "" && !w.spare}
	switch {
	case why != "":
	case w.fatal != "":
		e.why = w.fatal
	default:
		e.why = state.String()
		if w.last != "" && state.ExitCode() > 0 {
			e.why += ": " + w.last
		}
	}
	if len(e.why) > 500 {
		e.why = strings.ToValidUTF8(e.why[:500], "")
	}
	return e
}

// freeRoom gives the free octets of the disk of dir; 0 when it cannot be asked.
func freeRoom(dir string) int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// dirSize gives the octets of the files in dir, as far as they can be seen.
func dirSize(dir string) (size int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	return size
}
