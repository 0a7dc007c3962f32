package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/edge"
	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/node"
)

// edgeCmd shows what the edge knows of strangers. It never needs care:
// penalties end by themselves.
type edgeCmd struct {
	Show    edgeShowCmd    `cmd:"" help:"What is known of a client or a sender, and what it would be answered now."`
	Top     edgeTopCmd     `cmd:"" help:"Clients, senders and networks that carry most evidence."`
	Status  edgeStatusCmd  `cmd:"" help:"How things stand: level, shares, budget, memory, decisions."`
	Forgive edgeForgiveCmd `cmd:"" help:"Bring a client or a sender back to the initial state."`
	Replay  edgeReplayCmd  `cmd:"" help:"Run other rules over recorded events: who would have been delayed, how much attackers told."`
}

type edgeShowCmd struct {
	What string `arg:"" help:"A client's address, a sender's domain (or address, where many share the domain), or the six characters of \"Try again later (ref ......)\"." placeholder:"SOURCE|DOMAIN|REF"`
}

// edgeShown is what show prints as JSON.
type edgeShown struct {
	Live     bool         `json:"live"`               // a process serves, and was asked
	Written  time.Time    `json:"written"`            // when what is shown was
	Recorded *event.Event `json:"recorded,omitempty"` // the attempt that was asked for, or the last one of the client
	edge.Explanation
}

func (s *edgeShowCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	v, err := rooms.Edge.View(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	shown := edgeShown{Live: v.Live, Written: v.Written.UTC()}
	a, err := s.attempt(v, filepath.Join(rooms.Config.DataDir, node.JournalName), &shown)
	if err != nil {
		return err
	}
	shown.Explanation = v.Explain(v.Clock, &a)
	if a.Identity.Key != 0 {
		shown.Identity = s.What
		if shown.Recorded != nil {
			shown.Identity = shown.Recorded.Identity
		}
	}
	if out.json {
		return out.object(shown)
	}
	t := out.table(s.What, snapshotAge(v))
	if r := shown.Recorded; r != nil {
		t.row("recorded", fmt.Sprintf("%s %s %s to %s: %s, %s %s", r.Time.Format(time.DateTime), r.Remote(), r.From, r.To, r.Verdict, r.Why, r.Truth))
		t.row("client", fmt.Sprintf("name %s, SPF %s", cmp.Or(r.Name, "unknown"), cmp.Or(r.SPF, "unknown")))
	}
	for _, l := range shown.Lines(time.Now()) {
		t.row(l.Label, l.Text)
	}
	return t.end()
}

// attempt finds out what was asked for.
func (s *edgeShowCmd) attempt(v *edge.View, journal string, shown *edgeShown) (a edge.Attempt, err error) {
	if addr, err := netip.ParseAddr(s.What); err == nil {
		// Who comes from there is told by its last attempt, while the journal has it.
		mark := []byte(`"ip":` + strconv.Quote(addr.Unmap().String()))
		shown.Recorded, err = lastAttempt(journal, mark, func(e *event.Event) bool { return e.Verdict != "" })
		if err != nil {
			return a, err
		}
		if shown.Recorded != nil {
			a, _ = v.Recorded(shown.Recorded)
		}
		a.Source = edge.SourceOf(addr)
		return a, nil
	}
	if strings.ContainsAny(s.What, ".@") {
		return v.Identified(s.What)
	}
	ref := strings.ToLower(s.What)
	shown.Recorded, err = lastAttempt(journal, []byte(`"ref":`+strconv.Quote(ref)), func(e *event.Event) bool { return e.Ref == ref })
	if err != nil {
		return a, err
	}
	if shown.Recorded == nil {
		return a, fmt.Errorf("the journal has no attempt with ref %s", ref)
	}
	a, ok := v.Recorded(shown.Recorded)
	if !ok {
		return a, fmt.Errorf("the attempt with ref %s cannot be judged again", ref)
	}
	return a, nil
}

// journalLimit is how much of the journal is looked through for an attempt, the
// newest files first, in octets.
const journalLimit = 1 << 30

// lastAttempt gives the last event of kind rcpt whose line has mark in it and
// for which is holds; nil when there is none.
func lastAttempt(journal string, mark []byte, is func(*event.Event) bool) (*event.Event, error) {
	files, err := event.Files(journal)
	if err != nil {
		return nil, err
	}
	size := int64(0)
	for _, name := range files {
		if st, err := os.Stat(name); err == nil {
			size += st.Size()
		}
		if e, err := lastIn(name, mark, is); e != nil || err != nil || size > journalLimit {
			return e, err
		}
	}
	return nil, nil
}

func lastIn(file string, mark []byte, is func(*event.Event) bool) (last *event.Event, err error) {
	f, err := event.OpenFile(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := event.NewReader(f)
	r.Match = func(line []byte) bool { return bytes.Contains(line, mark) }
	for {
		e, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return last, nil
		case err != nil:
			return nil, err
		case e.Kind == event.Rcpt && is(&e):
			last = &e
		}
	}
}

// snapshotAge says how new what is shown is.
func snapshotAge(v *edge.View) string {
	if v.Live {
		return "as the serving process knows it now"
	}
	return fmt.Sprintf("nothing serves here: as it was %s ago", time.Since(v.Written).Round(time.Second))
}

type edgeTopCmd struct {
	Limit int `help:"So many of each." default:"20"`
}

func (s *edgeTopCmd) Run(ctx context.Context, c *cli, out *output) error {
	if s.Limit < 1 || s.Limit > 10_000 {
		return misuseError("--limit is from 1 to 10000")
	}
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	v, err := rooms.Edge.View(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	top := v.Top(v.Clock, s.Limit)
	if err := nameIdentities(v, filepath.Join(rooms.Config.DataDir, node.JournalName), top.Identities); err != nil {
		return err
	}
	if out.json {
		return out.object(top)
	}
	fmt.Fprintln(out.w, snapshotAge(v))
	for _, list := range []struct {
		heading string
		rows    []edge.Suspect
	}{{"CLIENT", top.Sources}, {"SENDER", top.Identities}} {
		t := out.table(list.heading, "EVIDENCE", "UNKNOWN", "WANTED", "STRIKES", "PENALTY ENDS", "SEEN")
		for _, r := range list.rows {
			t.row(r.Who, fmt.Sprintf("%+.1f", r.Evidence), strconv.Itoa(r.Unknown), strconv.Itoa(r.Wanted), strconv.Itoa(r.Strikes),
				minuteOf(r.Penalty), minuteOf(r.Seen))
		}
		t.row()
		if err := t.end(); err != nil {
			return err
		}
	}
	t := out.table("NETWORK", "VOTES AGAINST", "SHARE", "UNKNOWN", "ADDRESSES", "HALF-LIFE")
	for _, n := range top.Networks {
		t.row(n.Network, fmt.Sprintf("%.1f", n.Bad), fmt.Sprintf("%.0f %%", 100*n.Share), strconv.Itoa(n.Unknown), strconv.Itoa(n.Sources), fmt.Sprint(n.Hours, " h"))
	}
	return t.end()
}

func minuteOf(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// nameIdentities finds the names of identities, which the engine knows by a
// hash only, in the journal.
func nameIdentities(v *edge.View, journal string, list []edge.Suspect) error {
	wanted := map[uint64]*edge.Suspect{}
	for i := range list {
		wanted[list[i].Key] = &list[i]
	}
	if len(wanted) == 0 {
		return nil
	}
	_, err := lastAttempt(journal, []byte(`"identity":`), func(e *event.Event) bool {
		if a, ok := v.Recorded(e); ok && wanted[a.Identity.Key] != nil {
			wanted[a.Identity.Key].Who = e.Identity
			delete(wanted, a.Identity.Key)
		}
		return false
	})
	return err
}

type edgeStatusCmd struct{}

// edgeStatus is what status prints as JSON.
type edgeStatus struct {
	Live    bool      `json:"live"`    // a process serves, and was asked
	Written time.Time `json:"written"` // when what is shown was
	edge.Status
	Population edge.Population    `json:"clients"`
	Realms     []edge.RealmStatus `json:"domains"` // of ours, those that most sources without a history come to first
}

func (edgeStatusCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	v, err := rooms.Edge.View(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	st := edgeStatus{Live: v.Live, Written: v.Written.UTC(), Status: v.Status(v.Clock), Population: v.Population(v.Clock)}
	if st.Realms, err = realms(ctx, rooms, v); err != nil {
		return err
	}
	if out.json {
		return out.object(st)
	}
	return st.print(out, snapshotAge(v))
}

// realms tells of our domains.
func realms(ctx context.Context, rooms *node.Rooms, v *edge.View) ([]edge.RealmStatus, error) {
	domains, err := rooms.Admin.Domains(ctx)
	if err != nil {
		return nil, err
	}
	list := []edge.RealmStatus{}
	for _, d := range domains {
		if r, ok := v.Realm(v.Clock, string(d.Name)); ok {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b edge.RealmStatus) int {
		return cmp.Or(cmp.Compare(b.Sources*b.Unknown, a.Sources*a.Unknown), cmp.Compare(a.Domain, b.Domain))
	})
	return list[:min(len(list), 20)], nil
}

func (st *edgeStatus) print(out *output, age string) error {
	t := out.table("level", st.Level+", "+age)
	t.row("clients without a history", fmt.Sprintf("%.0f %% lately met unknown recipients: as if %.0f %% guessed", 100*st.Unknown, 100*st.Guessers))
	for _, r := range st.Realms {
		t.row("  those that write to "+r.Domain, fmt.Sprintf("%.0f lately: %.0f %%, as if %.0f %% guessed", r.Sources, 100*r.Unknown, 100*r.Guessers))
	}
	t.row("those that proved to be mail servers", fmt.Sprintf("%.0f %% of what they were told was \"unknown\"", 100*st.Retried))
	t.row("disclosure budget", fmt.Sprintf("%.0f %% left; newcomers with a score above %.1f wait", 100*st.Disclosure, st.GateAt))
	p := st.Population
	t.row("clients known", fmt.Sprintf("%d: %d proven, %d admitted, %d waiting, %d in penalty, %d on parole",
		p.Known, p.Proven, p.Admitted, p.Waiting, p.Penalty, p.Parole))
	for r := edge.Calm; int(r) < len(st.Decisions); r++ {
		verdict := "answered"
		if r.Defers() {
			verdict = "deferred"
		}
		t.row(verdict+", "+r.String(), strconv.FormatInt(st.Decisions[r.String()], 10))
	}
	for _, f := range st.Tables {
		t.row("memory, "+f.Table, fmt.Sprintf("%d of %d, %d made room for others", f.Live, f.Slots, f.Evicted))
	}
	return t.end()
}

type edgeForgiveCmd struct {
	What string `arg:"" help:"A client's address, a network, or a sender's domain or address." placeholder:"SOURCE|NETWORK|DOMAIN"`
}

func (s *edgeForgiveCmd) Run(ctx context.Context, c *cli, out *output) error {
	rooms, err := c.rooms(ctx)
	if err != nil {
		return err
	}
	defer rooms.Close()
	n, err := rooms.Admin.Forgive(ctx, actor, s.What)
	if err != nil {
		return err
	}
	if out.json {
		return out.object(map[string]any{"forgiven": s.What, "entries": n})
	}
	if n == 0 {
		_, err = fmt.Fprintf(out.w, "nothing is held against %s\n", s.What)
		return err
	}
	_, err = fmt.Fprintf(out.w, "%s is forgiven (entries: %d)\n", s.What, n)
	return err
}
