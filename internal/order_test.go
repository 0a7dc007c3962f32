// Package internal_test holds the tests of the whole: the order of the rooms.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/migiwa/migiwa/"

// rooms lists the packages from the words up to the ends. A package may import
// only packages listed above it; sub-packages stand with their room unless
// they are listed themselves.
var rooms = []string{
	"internal/mail",
	"internal/config",
	"internal/dns",
	"internal/cert",
	"internal/senderauth",
	"internal/store/db",
	"internal/store/blob",
	"internal/store/body",
	"internal/bus",
	"internal/event",
	"internal/directory",
	"internal/queue",
	"internal/mailbox",
	"internal/edge",
	"internal/filter",
	"internal/deliver",
	"internal/report",
	"internal/admin",
	"internal/serve/sasl",
	"internal/serve/listen",
	"internal/serve/smtpd",
	"internal/serve/receive",
	"internal/serve/mx",
	"internal/serve/submission",
	"internal/serve/foreign",
	"internal/serve/edgepolicy",
	"internal/serve/edgemilter",
	"internal/serve/pop3d",
	"internal/serve/imapd",
	"internal/node",
	"cmd/migiwa",
}

// floor gives the place of a package in rooms, or -1.
func floor(pkg string) int {
	for i, room := range rooms {
		if pkg == room || strings.HasPrefix(pkg, room+"/") {
			return i
		}
	}
	return -1
}

// TestImportOrder keeps the one reading direction: nothing imports a room
// below it. Test files are free to.
func TestImportOrder(t *testing.T) {
	files := 0
	walk := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		pkg := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
		here := floor(pkg)
		if here < 0 {
			t.Errorf("%s: package %s has no place in the list of rooms", path, pkg)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			other, ours := strings.CutPrefix(name, module)
			if !ours {
				continue
			}
			if there := floor(other); there < 0 || there > here {
				t.Errorf("%s imports %s, which is below it", path, other)
			}
		}
		return nil
	}
	for _, root := range []string{"../internal", "../cmd"} {
		if err := filepath.WalkDir(root, walk); err != nil {
			t.Fatal(err)
		}
	}
	if files < 10 {
		t.Fatalf("looked at %d files only", files)
	}
}
