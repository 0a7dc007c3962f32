package imapd

import (
	"bytes"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// corpora are the folders of the test material that hold messages, and
// longCorpora those of the long tests.
var corpora, longCorpora = []string{"05-mime", "11-japanese"}, []string{"06-spam", "07-bounce"}

var lineEnds = regexp.MustCompile(`\r*\n`)

// maxCorpusMessage leaves out the few files that take long and tell nothing.
const maxCorpusMessage = 4 << 20

// corpus gives the messages of the test material, which is kept outside the
// project, with line ends as the wire has them. What is no message is one with
// a strange header, and as good. It skips the test where there is no material.
func corpus(t testing.TB) iter.Seq2[string, string] {
	t.Helper()
	dir := os.Getenv("MIGIWA_TESTDATA")
	if dir == "" {
		_, file, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(file), "..", "..", "..", "..", "shared", "data")
	}
	var paths []string
	folders := corpora
	if os.Getenv("MIGIWA_LONG") == "1" {
		folders = slices.Concat(corpora, longCorpora)
	}
	for _, c := range folders {
		paths = append(paths, messages(t, filepath.Join(dir, c))...)
	}
	if len(paths) == 0 {
		t.Skipf("SKIPPED, NOT TESTED: no test material in %s (set MIGIWA_TESTDATA)", dir)
	}
	slices.Sort(paths)
	return func(yield func(string, string) bool) {
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// Dovecot loses a CR that is the last octet, or before a line end.
			raw = bytes.TrimRight(lineEnds.ReplaceAll(raw, []byte("\r\n")), "\r")
			if len(raw) > 0 && len(raw) < maxCorpusMessage && bytes.IndexByte(raw, 0) < 0 && !yield(path, string(raw)) {
				return
			}
		}
	}
}

// messages gives the files below dir; archives are opened first.
func messages(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || e.IsDir() || e.Name() == "SOURCE.txt" || strings.HasPrefix(e.Name(), "charset-texts"):
		case strings.HasSuffix(path, ".tar.zst"):
			to := t.TempDir()
			cmd := exec.Command("sh", "-c", `zstd -dc --long=27 "$1" | tar x -C "$2"`, "sh", path, to)
			if msg, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("cannot unpack %s: %v %s", path, err, msg)
			}
			out = append(out, messages(t, to)...)
		case e.Type().IsRegular():
			out = append(out, path)
		}
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return out
}
