// Package child is the log store in a process of its own: the packages of
// VictoriaLogs behind a Unix socket. They end their process on an error of the
// disk and read their settings from the flags of the process, so nothing else
// may live beside them. Only the command `migiwa logstore` calls it;
// package logstore starts that command, watches it and talks to it.
package child

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"

	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlinsert/insertutil"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlselect"
	"github.com/VictoriaMetrics/VictoriaLogs/app/vlstorage"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/appmetrics"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/logger"
)

// Run serves on the Unix socket at path until ctx ends. The flags are those of
// VictoriaLogs, without the dashes of the command line: {"storageDataPath": DIR}.
func Run(ctx context.Context, path string, flags map[string]string) error {
	if err := flag.CommandLine.Parse(nil); err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	for name, value := range flags {
		if err := flag.Set(name, value); err != nil {
			return fmt.Errorf("log store: flag %s: %w", name, err)
		}
	}
	logger.Init()
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	vlstorage.Init()
	vlselect.Init()
	insertutil.SetLogRowsStorage(&vlstorage.Storage{})
	vlinsert.Init()
	server := &http.Server{Handler: http.HandlerFunc(handle)}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.Serve(listener); ctx.Err() == nil {
		return fmt.Errorf("log store: %w", err)
	}
	vlinsert.Stop()
	vlselect.Stop()
	vlstorage.Stop()
	return nil
}

func handle(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/metrics":
		appmetrics.WritePrometheusMetrics(w)
	case vlinsert.RequestHandler(w, r), vlselect.RequestHandler(w, r), vlstorage.RequestHandler(w, r):
	default:
		http.NotFound(w, r)
	}
}
