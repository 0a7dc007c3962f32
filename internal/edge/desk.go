package edge

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
)

// Desk is where commands, which are processes of their own, see what the engine
// of the serving process knows, and act on it. Where nothing serves they see
// and change the last snapshot.
type Desk struct {
	Path  string // of the snapshot
	Bus   *bus.Bus
	Rules Rules
	Scale float64 // of the engine's clock
}

// View is an engine as its snapshot has it. It must be closed.
type View struct {
	*Engine
	Clock   *Clock
	Written time.Time // when the snapshot was
	Live    bool      // a process serves, and has just written it
}

// How long a command waits: for a serving process to say that it is there, and
// for it to end its work.
const (
	heardWithin = 1500 * time.Millisecond
	doneWithin  = 2 * time.Minute
)

// ErrNoMemory is the answer where there is neither a serving process nor a
// snapshot.
var ErrNoMemory = errors.New("nothing is known of clients yet: no process serves here, and none has left a snapshot")

// View asks the serving process to write its snapshot and loads it.
func (d *Desk) View(ctx context.Context) (*View, error) {
	_, live, err := d.ask(ctx, question{})
	if err != nil {
		return nil, err
	}
	return d.open(live)
}

func (d *Desk) open(live bool) (*View, error) {
	st, err := os.Stat(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoMemory
	}
	if err != nil {
		return nil, fmt.Errorf("find snapshot: %w", err)
	}
	e, newest, err := OpenFile(d.Path, d.Rules)
	if err != nil {
		return nil, err
	}
	return &View{Engine: e, Clock: NewClock(d.Scale, newest), Written: st.ModTime(), Live: live}, nil
}

// Forgive brings a source, a network or an identity back to the initial state
// (Engine.Forgive) and gives how many entries were forgotten: in the serving
// process, or where there is none in the snapshot.
func (d *Desk) Forgive(ctx context.Context, what string) (int, error) {
	n, live, err := d.ask(ctx, question{Forgive: what})
	if err != nil || live {
		return n, err
	}
	v, err := d.open(false)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	if n, err = v.Engine.Forgive(what); err != nil || n == 0 {
		return n, err
	}
	return n, v.SaveFile(d.Path, v.Clock.Now())
}

// ask puts a question to the serving process and tells whether there is one.
func (d *Desk) ask(ctx context.Context, q question) (count int, live bool, err error) {
	q.ID, q.Engine = rand.Text(), filepath.Base(d.Path)
	heard, done := make(chan answer, 4), make(chan answer, 4)
	defer d.listen(heardTopic, q.ID, heard)()
	defer d.listen(doneTopic, q.ID, done)()
	payload, err := json.Marshal(q)
	if err != nil {
		return 0, false, fmt.Errorf("ask the serving process: %w", err)
	}
	if len(payload) > bus.MaxPayload {
		return 0, false, errors.New("too long for any source or sender")
	}
	d.Bus.Publish(askTopic, payload)
	select {
	case <-heard:
	case <-time.After(heardWithin):
		return 0, false, nil
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
	select {
	case a := <-done:
		if a.Error != "" {
			return 0, true, errors.New(a.Error)
		}
		return a.Count, true, nil
	case <-time.After(doneWithin):
		return 0, true, fmt.Errorf("the serving process has not answered for %v", doneWithin)
	case <-ctx.Done():
		return 0, true, ctx.Err()
	}
}

// listen hands the answers to one question on.
func (d *Desk) listen(topic, id string, to chan<- answer) (cancel func()) {
	return d.Bus.Subscribe(topic, func(payload []byte) {
		var a answer
		if json.Unmarshal(payload, &a) != nil || a.ID != id {
			return
		}
		select {
		case to <- a:
		default:
		}
	})
}
