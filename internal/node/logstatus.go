package node

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/logstore"
	"github.com/migiwa/migiwa/internal/event/ship"
)

// LogState tells where the events of a node are.
type LogState struct {
	Journal []ShelfState    `json:"journal"`
	Store   *logstore.Usage `json:"store,omitempty"` // nil: there is none, or it could not be asked
	Error   string          `json:"error,omitempty"` // why it could not
}

// ShelfState is the state of a shelf of the journal.
type ShelfState struct {
	Shelf       event.Shelf `json:"shelf"`
	Files       int         `json:"files"`
	Size        int64       `json:"size"` // octets on disk
	Oldest      time.Time   `json:"oldest"`
	Unconfirmed int64       `json:"unconfirmed"` // octets that the store is not known to have on its disk
}

// LogStatus looks where the events of a node are.
func LogStatus(ctx context.Context, cfg *config.Config) (*LogState, error) {
	dir := filepath.Join(cfg.DataDir, JournalName)
	segments, err := event.Segments(dir)
	if err != nil {
		return nil, err
	}
	client, err := logClient(cfg)
	if err != nil {
		return nil, err
	}
	places := ship.ReadPlaces(shippedFile(cfg))
	state := &LogState{}
	for _, shelf := range event.Shelves {
		s := ShelfState{Shelf: shelf}
		for _, seg := range segments {
			st, err := os.Stat(seg.Path(dir))
			if err != nil || seg.Shelf != shelf {
				continue
			}
			if s.Files == 0 {
				s.Oldest = seg.Begun
			}
			s.Files, s.Size = s.Files+1, s.Size+st.Size()
			if client != nil {
				s.Unconfirmed += places.Behind(seg, st.Size())
			}
		}
		state.Journal = append(state.Journal, s)
	}
	if client == nil {
		return state, nil
	}
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if usage, err := client.Usage(within); err != nil {
		state.Error = err.Error()
	} else {
		state.Store = &usage
	}
	return state, nil
}
