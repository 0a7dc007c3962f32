// Package child is the log store in a process of its own: the packages of
// VictoriaLogs behind a Unix socket. They end their process on an error of the
// disk and read their settings from the flags of the process, so nothing else
// may live beside them. Only the command `migiwa logstore` calls it;
// package logstore starts that command, watches it and talks to it.
package child

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert/insertutil"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlselect"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlstorage"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/appmetrics"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/logger"

	"github.com/migiwa/migiwa/internal/event/logstore"
)

// orphanTime is how long a child may go on whose supervisor is gone.
const orphanTime = 30 * time.Second

// Options are the settings that a supervisor gives.
type Options struct {
	Socket  string        // path of the Unix socket
	Dir     string        // where the data is
	Keep    time.Duration // age at which everything is deleted
	Memory  int64         // octets that the process should stay below
	MaxDisk int64         // octets of data above which the oldest day is deleted; 0: no limit
	MinFree int64         // octets of free disk below which nothing is taken
	Flush   time.Duration // after which what was taken is on disk
}

// flags gives the options as VictoriaLogs wants them.
func (o *Options) flags() map[string]string {
	return map[string]string{
		"storageDataPath": o.Dir,
		"retentionPeriod": strconv.FormatInt(int64(o.Keep/time.Hour)+24, 10) + "h", // it deletes whole days
		"futureRetention": strconv.FormatInt(int64(logstore.FutureRetention/time.Hour), 10) + "h",
		// Half for caches; the rest is for what is written and searched.
		"memory.allowedBytes":              strconv.FormatInt(o.Memory/2, 10),
		"retention.maxDiskSpaceUsageBytes": strconv.FormatInt(o.MaxDisk, 10),
		"storage.minFreeDiskSpaceBytes":    strconv.FormatInt(o.MinFree, 10),
		"inmemoryDataFlushInterval":        o.Flush.String(),
		"delete.enable":                    "true", // for kinds that are kept shorter than others
		"insert.maxLineSizeBytes":          strconv.Itoa(logstore.MaxLine),
		"defaultMsgValue":                  "",
		"search.maxConcurrentRequests":     "4", // each has memory of its own
		"search.logSlowQueryDuration":      "0", // what is searched for stands in an event, not in the log
		"loggerLevel":                      "WARN",
		"loggerFormat":                     "json",
		"loggerMaxArgLen":                  "200", // events that are dropped are among them
		"loggerWarnsPerSecondLimit":        "5",
	}
}

// Run serves until ctx or alive ends: the supervisor holds the other end of
// alive, so that its child does not outlive it.
func Run(ctx context.Context, o Options, alive io.Reader) error {
	if err := flag.CommandLine.Parse(nil); err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	for name, value := range o.flags() {
		if err := flag.Set(name, value); err != nil {
			return fmt.Errorf("log store: flag %s: %w", name, err)
		}
	}
	// The limit is no wall: near it, garbage is collected more often.
	debug.SetMemoryLimit(o.Memory)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		io.Copy(io.Discard, alive)
		stop()
		time.Sleep(orphanTime)
		os.Exit(1) // it hangs where it opens or closes its data
	}()
	logger.InitNoLogFlags()
	vlstorage.Init() // locks the directory: behind it, no other child has the socket
	vlselect.Init()
	insertutil.SetLogRowsStorage(&vlstorage.Storage{})
	vlinsert.Init()
	defer func() {
		vlinsert.Stop()
		vlselect.Stop()
		vlstorage.Stop()
	}()
	return serve(ctx, o.Socket)
}

func serve(ctx context.Context, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) { // of one that was killed
		return fmt.Errorf("log store: %w", err)
	}
	short, done, err := logstore.ShortPath(socket)
	if err != nil {
		return err
	}
	mask := syscall.Umask(0o177) // never open to others, not for a moment
	listener, err := net.Listen("unix", short)
	syscall.Umask(mask)
	done()
	if err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // by a name that is gone
	server := &http.Server{Handler: http.HandlerFunc(handle), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(ending) != nil {
			server.Close()
		}
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("log store: %w", err)
	}
	return nil
}

var started = time.Now()

// handle serves the paths of VictoriaLogs. The metrics get one of ours: theirs
// tells the start in whole seconds, and a child may be started twice in one.
func handle(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/metrics":
		appmetrics.WritePrometheusMetrics(w)
		fmt.Fprintf(w, "migiwa_logstore_start_nanoseconds %d\n", started.UnixNano())
	case vlinsert.RequestHandler(w, r), vlselect.RequestHandler(w, r), vlstorage.RequestHandler(w, r):
	default:
		http.NotFound(w, r)
	}
}
