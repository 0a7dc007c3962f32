package mail

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// testData gives the path of a folder of test material that is kept outside
// the project, or skips the test.
func testData(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("MIGIWA_TESTDATA")
	if dir == "" {
		_, file, _, _ := runtime.Caller(0)
		dir = filepath.Join(filepath.Dir(file), "..", "..", "..", "shared", "data")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no test material: %v (set MIGIWA_TESTDATA)", err)
	}
	return path
}

// unpack opens a .tar.zst of test material in a directory of the test.
func unpack(t testing.TB, name string) string {
	t.Helper()
	archive, dir := testData(t, name), t.TempDir()
	cmd := exec.Command("sh", "-c", `zstd -dc --long=27 "$1" | tar x -C "$2"`, "sh", archive, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("cannot unpack %s: %v %s", name, err, out)
	}
	return dir
}

// files gives all regular files below dirs; none is a failure.
func files(t testing.TB, dirs ...string) []string {
	t.Helper()
	var out []string
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				out = append(out, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no files below %v", dirs)
	}
	return out
}
