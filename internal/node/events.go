package node

import (
	"time"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/event"
)

// journalLimits gives the bounds of this node's own files of events.
func journalLimits(cfg *config.Config) *event.Limits {
	j := &cfg.Log.Journal
	l := &event.Limits{
		File:  int64(j.File),
		Shelf: map[event.Shelf]int64{event.Sessions: int64(j.Sessions), event.Messages: int64(j.Messages), event.Audit: int64(j.Audit)},
		Keep:  map[event.Kind]time.Duration{},
	}
	for kind, keep := range cfg.Log.Keep.ByKind() {
		l.Keep[event.Kind(kind)] = min(keep, j.Keep.D())
	}
	return l
}
