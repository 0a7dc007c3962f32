//go:build !noevents

package node

import "github.com/migiwa/migiwa/internal/event"

func openJournal(o event.Options) (*event.Recorder, error) { return event.Open(o) }
