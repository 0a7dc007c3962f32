package node

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/bus"
	"github.com/migiwa/migiwa/internal/filter/digest"
)

// What is reported to one process, another knows within seconds.
func TestReportsReachOtherProcesses(t *testing.T) {
	run, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	var reports [2]digest.Memory
	for i := range reports {
		b, err := bus.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		n := &Node{Rooms: &Rooms{Bus: b}, Log: slog.Default()}
		reports[i].Key, reports[i].MinDomains = []byte("key"), 1
		n.gossip(run, &reports[i])
		t.Cleanup(func() { cancel(); n.background.Wait(); b.Close() })
	}
	prints := []digest.Print{{Kind: digest.Text, Value: [16]byte{1}}}
	for _, account := range []string{"a@a.test", "b@a.test", "c@a.test"} {
		if err := reports[0].Report(t.Context(), account, prints, true); err != nil {
			t.Fatal(err)
		}
	}
	want, err := reports[0].Lookup(t.Context(), "d@a.test", prints)
	if err != nil || want.Spam != 3 {
		t.Fatalf("where they were reported: %+v %v", want, err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got, err := reports[1].Lookup(t.Context(), "d@a.test", prints)
		if err != nil {
			t.Fatal(err)
		}
		if got.Spam == want.Spam && got.Confidence == want.Confidence {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the other process has %+v, want %+v", got, want)
		}
	}
}
