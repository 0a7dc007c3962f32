package virus

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dangerous makes "file.zip" of the messages that hide it a program, as each spells it.
var dangerous = strings.NewReplacer(
	"zip", "exe", "z(.gif)ip", "e(.gif)xe", "z()ip", "e()xe", "%7A%69%70", "%65%78%65",
	"%00z%00i%00p", "%00e%00x%00e", "z%00i%00p%00", "e%00x%00e%00",
	base64.StdEncoding.EncodeToString([]byte("file.zip")), base64.StdEncoding.EncodeToString([]byte("file.exe")),
	base64.StdEncoding.EncodeToString([]byte("\x00f\x00i\x00l\x00e\x00.\x00z\x00i\x00p")), base64.StdEncoding.EncodeToString([]byte("\x00f\x00i\x00l\x00e\x00.\x00e\x00x\x00e")),
	base64.StdEncoding.EncodeToString([]byte("f\x00i\x00l\x00e\x00.\x00z\x00i\x00p\x00")), base64.StdEncoding.EncodeToString([]byte("f\x00i\x00l\x00e\x00.\x00e\x00x\x00e\x00")),
)

// The name of a program that is hidden by how the header is put together is seen, or the
// message is called what it is.
func TestHiddenNames(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(testdata(), "05-mime/mime-is-broken-*/hide-filename.d/*/*"))
	if len(files) == 0 {
		t.Skip("no test material (MIGIWA_TESTDATA names its place)")
	}
	seen, unreadable, harmless := 0, 0, 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, subject, _ := strings.Cut(string(raw), "Subject: ")
		subject, _, _ = strings.Cut(subject, " 20")
		found, _ := symbols(t, &Filter{TempDir: t.TempDir()}, []byte(dangerous.Replace(string(raw))))
		switch {
		case found["ATTACHMENT_RUNS"] != "":
			seen++
		case found[Unreadable] != "":
			unreadable++
		case strings.HasSuffix(subject, ".png"): // these two hide nothing
			harmless++
		default:
			t.Errorf("%s passes as harmless: %s %v", filepath.Base(file), subject, found)
		}
	}
	t.Logf("%d messages: the program seen in %d, %d called unreadable, %d hide nothing", len(files), seen, unreadable, harmless)
}
