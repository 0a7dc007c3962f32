package main

import (
	"context"
	"io"
	"os"

	"github.com/migiwa/migiwa/internal/event/logstore/child"
)

// logstoreCmd is the log store's process. The serving process starts it, with
// all it must know in its arguments, and holds the other end of its standard
// input: the store ends with it.
type logstoreCmd struct {
	Socket string            `arg:"" help:"Unix socket to serve on." type:"path"`
	Flags  map[string]string `arg:"" help:"Flags of VictoriaLogs, NAME=VALUE." optional:""`
}

func (l *logstoreCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin) // ends with who started us, however that ends
		cancel()
	}()
	return child.Run(ctx, l.Socket, l.Flags)
}
