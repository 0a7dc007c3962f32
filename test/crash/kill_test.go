package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/config"
	"github.com/migiwa/migiwa/internal/node"
	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/test/peers"
)

// width is how many connections the queue may have to the sink at once.
const width = 4

// settings are those of the kill tests.
func settings(k *sink, dsn string) string {
	text := fmt.Sprintf("[queue]\nretry_first = \"1s\"\nretry_max = \"2s\"\nper_destination = %d\n\n"+
		"[[route]]\ndomain = %q\nto = %q\ntls = \"none\"\nrelay = true\nrecipients = \"any\"\n", width, remote, k.Addr)
	if dsn != "" {
		text += fmt.Sprintf("\n[store]\ndsn = %q\n", dsn)
	}
	return text
}

// TestKill ends migiwa by SIGKILL again and again while mail comes in, goes
// out, and is fetched and deleted.
func TestKill(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testKill(t, "") })
	t.Run("postgres", func(t *testing.T) { testKill(t, peers.Postgres(t)) })
}

func testKill(t *testing.T, dsn string) {
	k := startSink(t)
	s := install(t, filepath.Join(t.TempDir(), "node"), settings(k, dsn), "alice", "bob", "carol")
	l := newLedger()
	kills := 12
	if long() {
		kills = 80
	}
	for n := range kills {
		s.serve()
		ctx, cancel := context.WithCancel(t.Context())
		wait := l.load(ctx, s, fmt.Sprint(n), 8)
		time.Sleep(50*time.Millisecond + rand.N(1950*time.Millisecond))
		s.kill()
		cancel()
		wait()
	}
	s.serve()
	again := finish(t, s, l, k)
	t.Logf("%d kills: %v; %d copies sent again; slowest start %v", kills, l, again, s.slowest)
	if most := kills * width * 2; again > most {
		t.Errorf("the sink got %d copies again, at most %d were on their way", again, most)
	}
	if l.count() < kills {
		t.Errorf("only %d messages were acknowledged: the test tests nothing", l.count())
	}
}

// finish waits until the queue is empty, compares all with the ledger, and
// sees that deleted mail leaves nothing on the disk.
func finish(t *testing.T, s *server, l *ledger, k *sink) (again int) {
	t.Helper()
	eventually(t, 60*time.Second, "everything is delivered", func() bool { return l.delivered(k) })
	eventually(t, 60*time.Second, "the queue is empty", func() bool {
		return strings.TrimSpace(s.run("", "queue", "list", "--json")) == ""
	})
	s.run("", "mailbox", "check")
	again = l.verify(t, s, k)
	for _, user := range []string{"alice", "bob", "carol"} {
		if _, _, err := deleteSome(s, user, func(int, int) bool { return true }); err != nil {
			t.Fatalf("deleting %s's mail: %v", user, err)
		}
	}
	s.run("", "mailbox", "check")
	s.stop()
	nothingLeft(t, s)
	return again
}

// nothingLeft collects at once what the server would in time.
func nothingLeft(t *testing.T, s *server) {
	t.Helper()
	cfg, err := config.Load(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	rooms, err := node.OpenRooms(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer rooms.Close()
	rooms.Bodies.Grace = time.Nanosecond
	for more := true; more; {
		if err := rooms.Blobs.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		c, err := rooms.Bodies.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		more = c.More || c.Files+c.Segments+c.Moved > 0
	}
	for _, table := range []string{"body", "message", "queue_message", "queue_recipient"} {
		var n int
		err := rooms.DB.Read(t.Context(), func(tx *db.Tx) error { return tx.Row("SELECT count(*) FROM " + table).Scan(&n) })
		if err != nil || n > 0 {
			t.Errorf("%d rows are left in %s, %v", n, table, err)
		}
	}
	for _, kind := range []string{"segments", "files"} {
		entries, err := os.ReadDir(filepath.Join(cfg.DataDir, "bodies", kind))
		if err != nil || len(entries) > 0 {
			t.Errorf("%d %s of bodies are left, %v", len(entries), kind, err)
		}
	}
}
