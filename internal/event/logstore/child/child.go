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
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert/insertutil"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlselect"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlstorage"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/appmetrics"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/logger"
)

// drain is how long requests may go on when the store stops.
const drain = 5 * time.Second

// Run serves on the Unix socket at path, which only the user of the process may
// open, until ctx ends; then it writes what it holds in memory to the disk. The
// flags are those of VictoriaLogs, without the dashes of the command line:
// {"storageDataPath": DIR}.
//
// A process that serves holds a lock on the file beside the socket, PATH.lock,
// so what it finds at path is nobody's, and two never share their data. An
// error of the data is none of Run's: VictoriaLogs panics.
func Run(ctx context.Context, path string, flags map[string]string) error {
	started := time.Now()
	if err := flag.CommandLine.Parse(nil); err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	for name, value := range flags {
		if err := flag.Set(name, value); err != nil {
			return fmt.Errorf("log store: flag %s: %w", name, err)
		}
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	logger.InitNoLogFlags()
	vlstorage.Init()
	vlselect.Init()
	insertutil.SetLogRowsStorage(&vlstorage.Storage{})
	vlinsert.Init()
	err = serve(ctx, path, started)
	vlinsert.Stop()
	vlselect.Stop()
	vlstorage.Stop()
	return err
}

// acquire takes the lock that one process has while it lives.
func acquire(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("log store: another process serves it (%s: %w)", path, err)
	}
	return f, nil
}

// serve answers requests until ctx ends. It opens the socket only now, with the
// data open: who can connect is answered.
func serve(ctx context.Context, path string, started time.Time) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("log store: %w", err)
	}
	mask := syscall.Umask(0o177)
	listener, err := net.Listen("unix", path)
	syscall.Umask(mask)
	if err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	requests, cancel := context.WithCancel(context.Background()) // those that follow new events never end by themselves
	defer cancel()
	server := &http.Server{
		Handler:           handler(started),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("log store: %w", err)
	case <-ctx.Done():
	}
	cancel()
	end, cancelEnd := context.WithTimeout(context.Background(), drain)
	defer cancelEnd()
	if server.Shutdown(end) != nil {
		server.Close()
	}
	return nil
}

// handler serves the paths of VictoriaLogs. Its metrics get one of ours: its
// own start time has whole seconds only.
func handler(started time.Time) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/metrics":
			appmetrics.WritePrometheusMetrics(w)
			fmt.Fprintf(w, "migiwa_logstore_start_nanoseconds %d\n", started.UnixNano())
		case vlinsert.RequestHandler(w, r), vlselect.RequestHandler(w, r), vlstorage.RequestHandler(w, r):
		default:
			http.NotFound(w, r)
		}
	}
}
