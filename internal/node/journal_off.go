//go:build noevents

package node

import "github.com/migiwa/migiwa/internal/event"

// openJournal opens none: a build to measure what events cost (bench/accept).
func openJournal(event.Options) (*event.Recorder, error) { return nil, nil }
