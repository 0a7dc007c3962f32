package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/filter/digest"
	"github.com/migiwa/migiwa/internal/store/db"
)

// reportsTopic is where processes tell one another what was reported to them.
const reportsTopic = "digest"

// tellReports is how long a report waits to be told to other processes.
const tellReports = time.Second

// gossip tells the other processes of the data directory what users report
// here, and hears of them. What is lost on the way is told by the next report
// of the same mail: it is evidence, not a record.
func (n *Node) gossip(run context.Context, m *digest.Memory) {
	own := n.Bus.Subscribe(reportsTopic, func(notice []byte) {
		changes, err := digest.ParseNotice(notice)
		if err = errors.Join(err, m.Merge(changes)); err != nil {
			n.Log.Warn("a report of another process", "err", err)
		}
	})
	_, told, _ := m.Changes(0) // what comes from now on is news
	n.background.Go(func() {
		defer own()
		for tick := time.NewTicker(tellReports); ; {
			select {
			case <-run.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			var changes []digest.Change
			changes, told, _ = m.Changes(told)
			for _, notice := range digest.Notices(changes, bus.MaxPayload) {
				n.Bus.Publish(reportsTopic, notice)
			}
		}
	})
}

// saveReports is how often the reports of users are written to disk.
const saveReports = 5 * time.Minute

// newReports reads what users have reported, keeps it on disk and exchanges it
// with other processes of this installation.
func (n *Node) newReports(run context.Context, cfg *config.Config) (*digest.Memory, error) {
	key, err := n.Directory.Secret(run, "digest", 32)
	if err != nil {
		return nil, err
	}
	m := &digest.Memory{Key: key}
	if err := n.countDomains(run, m); err != nil {
		return nil, err
	}
	path := filepath.Join(cfg.DataDir, "reports.state")
	file, err := os.Open(path)
	switch {
	case err == nil:
		err = m.Restore(file)
		file.Close()
		if err != nil {
			n.Events.Record(event.Event{Kind: event.Fault, Reason: "reports of spam begin anew: " + err.Error()})
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	n.gossip(run, m)
	n.background.Go(func() { n.keepReports(run, m, path) })
	return m, nil
}

// countDomains says how many domains must agree: where there is one, no other
// could.
func (n *Node) countDomains(ctx context.Context, m *digest.Memory) error {
	return n.DB.Read(ctx, func(tx *db.Tx) error {
		var domains int
		err := tx.Row(`SELECT count(*) FROM domain`).Scan(&domains)
		if err == nil {
			m.SetMinDomains(min(max(domains, 1), 2))
		}
		return err
	})
}

// keepReports saves what was reported, at the end too.
func (n *Node) keepReports(run context.Context, m *digest.Memory, path string) {
	tick := time.NewTicker(saveReports)
	defer tick.Stop()
	for done := false; !done; {
		var err error
		select {
		case <-run.Done():
			done = true
		case <-tick.C:
			err = n.countDomains(run, m)
		}
		if err = errors.Join(err, saveState(path, m)); err != nil {
			n.Events.Record(event.Event{Kind: event.Fault, Reason: "saving reports of spam: " + err.Error()})
		}
	}
}

// saveState writes beside the old file and renames; other processes may do so
// at the same time.
func saveState(path string, m *digest.Memory) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // once renamed it is gone
	if err := errors.Join(m.Snapshot(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
