package fulltext

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
	"github.com/migiwa/migiwa/internal/store/db/dbtest"
)

// realMail gives messages of the test material that is kept outside the
// project, or skips the test.
func realMail(t testing.TB) (messages []string) {
	t.Helper()
	root := os.Getenv("MIGIWA_TESTDATA")
	if root == "" {
		_, file, _, _ := runtime.Caller(0)
		root = filepath.Join(filepath.Dir(file), "..", "..", "..", "..", "shared", "data")
	}
	dir := t.TempDir()
	for _, name := range []string{"06-spam/sa-publiccorpus-dev.tar.zst", "11-japanese/japanese-messages-dev.tar.zst"} {
		archive := filepath.Join(root, name)
		if _, err := os.Stat(archive); err != nil {
			t.Skipf("no test material: %v (set MIGIWA_TESTDATA)", err)
		}
		cmd := exec.Command("sh", "-c", `zstd -dc --long=27 "$1" | tar x -C "$2"`, "sh", archive, dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("cannot unpack %s: %v %s", archive, err, out)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		messages = append(messages, string(text))
		return err
	})
	if err != nil || len(messages) == 0 {
		t.Fatalf("%d messages, %v", len(messages), err)
	}
	return messages
}

// TestRealMail looks for pieces of real messages, in bodies and in headers.
func TestRealMail(t *testing.T) {
	messages := realMail(t)
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := newHouse(t, d)
		var octets, size int64
		for part := messages; len(part) > 0; part = part[min(500, len(part)):] {
			for i, uid := range h.deliverRaw(t, part[:min(500, len(part))]...) {
				texts, whole, err := normalTexts(strings.NewReader(part[i]))
				if err != nil || !whole {
					t.Fatalf("message %d: whole %v, %v", uid, whole, err)
				}
				h.texts[uid] = strings.Join(texts, "\x00")
				octets += int64(len(h.texts[uid]))
			}
		}
		begin := time.Now()
		h.agrees(t, "unsubscribe")
		took := time.Since(begin)
		err := d.Read(t.Context(), func(tx *db.Tx) error {
			return tx.Row(`SELECT CAST(sum(size) AS BIGINT) FROM fulltext_segment WHERE mailbox = ? AND state = 1`, h.folder).Scan(&size)
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d messages, %d octets of text, taken in in %v, %.3f octets of index for each", len(messages), octets, took, float64(size)/float64(octets))
		r := rand.New(rand.NewPCG(1, 2))
		for n := range 120 {
			if n == 60 {
				h.tend(t)
			}
			text := []rune(h.texts[uint32(1+r.IntN(len(messages)))])
			if len(text) == 0 {
				continue
			}
			from := r.IntN(len(text))
			piece, _, _ := strings.Cut(string(text[from:min(len(text), from+1+r.IntN(40))]), "\x00")
			h.agrees(t, piece)
		}
		piecesOfHeaders(t, h, messages)
	})
}

func piecesOfHeaders(t *testing.T, h *house, messages []string) {
	heads := map[uint32]string{}
	for i := range messages {
		var err error
		if heads[uint32(i+1)], _, err = Header(strings.NewReader(messages[i])); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		head := []rune(heads[uint32(1+r.IntN(len(messages)))])
		from := r.IntN(len(head))
		agreesInHeaders(t, h, heads, string(head[from:min(len(head), from+1+r.IntN(20))]))
	}
}

func agreesInHeaders(t *testing.T, h *house, heads map[uint32]string, what string) {
	t.Helper()
	r, err := h.FindHeader(t.Context(), h.folder, what)
	if err != nil {
		t.Fatal(err)
	}
	known := map[uint32]bool{}
	for _, uid := range r.Has {
		known[uid] = true
	}
	for _, uid := range r.May {
		known[uid] = strings.Contains(heads[uid], what)
	}
	for uid, head := range heads {
		if uid <= r.Upto && known[uid] != strings.Contains(head, what) {
			t.Fatalf("%q in header %d: %v", what, uid, known[uid])
		}
	}
}
