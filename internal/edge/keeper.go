package edge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/event"
)

// Keeper looks after the engine of a serving process: it writes snapshots,
// watches the weather, and does what commands ask for over the bus. Its fields
// are set before use.
type Keeper struct {
	Engine *Engine
	Clock  *Clock
	Path   string // of the snapshot; its last part names the engine on the bus
	Bus    *bus.Bus
	Events *event.Recorder
	Role   string        // of the events, default "edge"
	Deed   string        // what counts against unproven sources, in the words of events; default "met unknown recipients"
	Every  time.Duration // between two snapshots, default 5 min

	saved atomic.Int64 // when the newest snapshot was written, in Unix seconds
}

// The topics of the bus: what commands ask, and what the serving process says
// to it. A question is heard at once and done when it is done.
const (
	askTopic   = "edge ask"
	heardTopic = "edge heard"
	doneTopic  = "edge done"
)

// question is what a command asks of the serving process: to write its
// snapshot, after it forgave what is named.
type question struct {
	ID      string `json:"id"`
	Engine  string `json:"engine"` // the last part of Keeper.Path
	Forgive string `json:"forgive,omitempty"`
}

type answer struct {
	ID    string `json:"id"`
	Count int    `json:"count"` // entries forgotten
	Error string `json:"error,omitempty"`
}

const (
	saveEvery    = 5 * time.Minute
	observeEvery = 5 * time.Second
	questions    = 16 // that may wait; more are not heard
)

// Recover loads the snapshot at path into an engine that is not in use yet, and
// gives the time before which its clock must not start. Without a snapshot, or
// with a damaged one, the engine starts empty; the latter is an event.
func Recover(e *Engine, path string, events *event.Recorder) Time {
	newest, err := e.LoadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		events.Record(event.Event{Kind: event.Fault, Role: "edge", Reason: err.Error() + "; the edge starts without memory"})
	}
	return newest
}

// Run works until ctx ends, and then writes a last snapshot.
func (k *Keeper) Run(ctx context.Context) {
	asked := make(chan question, questions)
	defer k.Bus.Subscribe(askTopic, func(payload []byte) {
		var q question
		if json.Unmarshal(payload, &q) != nil || q.Engine != filepath.Base(k.Path) {
			return
		}
		select {
		case asked <- q:
			k.say(heardTopic, answer{ID: q.ID})
		default:
		}
	})()
	save := time.NewTicker(cmp.Or(k.Every, saveEvery))
	defer save.Stop()
	observe := time.NewTicker(max(min(observeEvery, k.Clock.Span(observeEvery)), time.Millisecond))
	defer observe.Stop()
	for {
		select {
		case q := <-asked:
			k.say(doneTopic, k.do(q))
		case <-observe.C:
			k.observe()
		case <-save.C:
			k.save()
		case <-ctx.Done():
			k.save()
			return
		}
	}
}

func (k *Keeper) say(topic string, a answer) {
	if payload, err := json.Marshal(a); err == nil { // answer has no type that cannot be encoded
		k.Bus.Publish(topic, payload)
	}
}

// do answers one question.
func (k *Keeper) do(q question) answer {
	a := answer{ID: q.ID}
	var err error
	if q.Forgive != "" {
		a.Count, err = k.Engine.Forgive(q.Forgive)
	}
	if err = errors.Join(err, k.save()); err != nil {
		a.Error = err.Error()
	}
	return a
}

// save writes a snapshot and tells when it cannot.
func (k *Keeper) save() error {
	err := k.Engine.SaveFile(k.Path, k.Clock.Now())
	if err != nil {
		k.Events.Record(event.Event{Kind: event.Fault, Role: cmp.Or(k.Role, "edge"), Reason: err.Error()})
		return err
	}
	k.saved.Store(time.Now().Unix())
	return nil
}

// Saved gives when the newest snapshot was written, zero when none was.
func (k *Keeper) Saved() time.Time {
	if t := k.saved.Load(); t != 0 {
		return time.Unix(t, 0)
	}
	return time.Time{}
}

// observe tells when the weather changes.
func (k *Keeper) observe() {
	level, changed := k.Engine.Observe(k.Clock.Now())
	if !changed {
		return
	}
	st := k.Engine.Status(k.Clock)
	k.Events.Record(event.Event{Kind: event.Edge, Role: cmp.Or(k.Role, "edge"), Verb: level.String(), Evidence: fmt.Sprintf(
		"%.0f %% of sources without a history lately %s; %.0f %% of the disclosure budget is left",
		100*st.Unknown, cmp.Or(k.Deed, "met unknown recipients"), 100*max(st.Disclosure, 0))})
}
