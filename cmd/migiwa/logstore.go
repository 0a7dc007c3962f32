package main

import (
	"context"
	"os"
	"time"

	"github.com/migiwa/migiwa/internal/event/logstore/child"
)

// logstoreCommand gives the command line that makes this program a log store;
// nil when it cannot be found, and then there is none.
func logstoreCommand() []string {
	exe, err := os.Executable()
	if err != nil {
		return nil
	}
	return []string{exe, "logstore"}
}

// logstoreCmd is the child process that the serving one starts; see package
// logstore.
type logstoreCmd struct {
	Socket  string        `required:"" help:"Unix socket to serve on." type:"path"`
	Dir     string        `required:"" help:"Where the data is." type:"path"`
	Keep    time.Duration `required:"" help:"Age at which everything is deleted."`
	Memory  int64         `required:"" help:"Octets of memory to stay below."`
	MaxDisk int64         `help:"Octets of data above which the oldest day is deleted; 0: no limit."`
	MinFree int64         `help:"Octets of free disk below which nothing is taken."`
	Flush   time.Duration `default:"5s" help:"After which what was taken is on disk."`
}

func (l *logstoreCmd) Run(ctx context.Context) error {
	return child.Run(ctx, child.Options{Socket: l.Socket, Dir: l.Dir, Keep: l.Keep, Memory: l.Memory, MaxDisk: l.MaxDisk, MinFree: l.MinFree,
		Flush: l.Flush}, os.Stdin)
}
