package virus

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/filter/clamd"
	"github.com/migiwa/migiwa/test/peers"
)

// symbols gives what is found in a message.
func symbols(t testing.TB, f *Filter, raw []byte) (map[string]string, []filter.Failure) {
	t.Helper()
	m, err := filter.FromBytes(filter.Envelope{}, raw)
	if err != nil {
		t.Fatal(err)
	}
	p := filter.Pipeline{Filters: []filter.Filter{f}}
	result := p.Run(t.Context(), m, []filter.Recipient{{}}, func(int, string) bool { return true })
	found := map[string]string{}
	for _, f := range result.Findings[0] {
		found[f.Symbol] = f.Evidence
	}
	return found, result.Failures
}

// letter has one attachment.
func letter(name string, content []byte) []byte {
	return []byte("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello.\r\n--b\r\nContent-Type: application/octet-stream\r\n" +
		"Content-Disposition: attachment; filename=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		wrapped(content) + "--b--\r\n")
}

func wrapped(content []byte) string {
	text := base64.StdEncoding.EncodeToString(content)
	var b strings.Builder
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	return b.String() + text + "\r\n"
}

func zipped(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(content)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(content []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(content)
	z.Close()
	return b.Bytes()
}

func tarred(name string, content []byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o600})
	w.Write(content)
	w.Close()
	return b.Bytes()
}

func TestAttachments(t *testing.T) {
	program := append([]byte("MZ\x90\x00"), make([]byte, 600)...)
	encrypted := zipped(t, map[string][]byte{"secret.doc": []byte("x")})
	encrypted[6] |= 1 // in the file's own header
	encrypted[bytes.LastIndex(encrypted, []byte("PK\x01\x02"))+8] |= 1
	for _, test := range []struct {
		name, file string
		content    []byte
		want       string
	}{
		{"a picture", "a.jpg", []byte("\xff\xd8\xff\xe0 picture"), ""},
		{"a document", "a.docx", zipped(t, map[string][]byte{"word/document.xml": []byte("<x/>")}), ""},
		{"program by name", "a.exe", []byte("x"), "ATTACHMENT_RUNS"},
		{"program, dot and blank behind", "a.EXE. ", []byte("x"), "ATTACHMENT_RUNS"},
		{"two endings", "invoice.pdf.js", []byte("x"), "ATTACHMENT_RUNS ATTACHMENT_DISGUISED"},
		{"blanks", "invoice.pdf          .scr", []byte("x"), "ATTACHMENT_RUNS ATTACHMENT_DISGUISED"},
		{"quotes that are none", "'a.exe'", []byte("x"), "ATTACHMENT_RUNS"},
		{"comment", "a.e(.gif)xe", []byte("x"), "ATTACHMENT_RUNS"},
		{"a version, not two endings", "report.v1.2.pdf", []byte("%PDF"), ""},
		{"program named as picture", "a.jpg", program, "ATTACHMENT_RUNS ATTACHMENT_DISGUISED"},
		{"in a zip", "a.zip", zipped(t, map[string][]byte{"b.scr": []byte("x")}), "ATTACHMENT_RUNS"},
		{"in a zip in a tar.gz", "a.tar.gz", gzipped(tarred("c.zip", zipped(t, map[string][]byte{"b.txt": program}))), "ATTACHMENT_RUNS ATTACHMENT_DISGUISED"},
		{"macros, new form", "a.docx", zipped(t, map[string][]byte{"word/vbaProject.bin": []byte("x")}), "ATTACHMENT_MACROS"},
		{"macros, old form", "a.doc", append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), append(make([]byte, 70_000), vbaProject...)...), "ATTACHMENT_MACROS"},
		{"encrypted", "a.zip", encrypted, "ARCHIVE_ENCRYPTED"},
		{"cab", "a.bin", []byte("MSCF\x00"), "ARCHIVE_CLOSED"},
		{"damaged", "a.zip", []byte("PK\x03\x04 nonsense"), "ARCHIVE_DAMAGED"},
	} {
		found, failures := symbols(t, &Filter{TempDir: t.TempDir()}, letter(test.file, test.content))
		if len(failures) > 0 {
			t.Errorf("%s: %v", test.name, failures)
		}
		for _, symbol := range strings.Fields(test.want) {
			if _, ok := found[symbol]; !ok {
				t.Errorf("%s: no %s in %v", test.name, symbol, found)
			}
			delete(found, symbol)
		}
		if len(found) > 0 {
			t.Errorf("%s: also %v", test.name, found)
		}
	}
}

// silent is a scanner that does not answer.
type silent struct{}

func (silent) Scan(context.Context, io.Reader) (string, error) { return "", errors.New("no clamd") }

// counting finds nothing, and counts how often it looked.
type counting struct{ scans int }

func (c *counting) Scan(_ context.Context, r io.Reader) (string, error) {
	c.scans++
	_, err := io.Copy(io.Discard, r)
	return "", err
}

// What was not scanned is not called clean.
func TestManyPartsAreNotClean(t *testing.T) {
	var b strings.Builder
	b.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for range maxLeaves + 10 {
		b.WriteString("--b\r\nContent-Type: application/octet-stream\r\n\r\nx\r\n")
	}
	c := &counting{}
	found, _ := symbols(t, &Filter{Scanner: c, TempDir: t.TempDir()}, []byte(b.String()+"--b--\r\n"))
	if _, ok := found[Unscanned]; !ok || c.scans > maxLeaves+1 {
		t.Errorf("%d scans, %v", c.scans, found)
	}
}

// Attachments that cannot be looked at do not keep the scanner from its work.
func TestNoRoomForAttachments(t *testing.T) {
	c := &counting{}
	f := &Filter{Scanner: c, TempDir: "/nonexistent/directory"}
	found, failures := symbols(t, f, letter("a.zip", zipped(t, map[string][]byte{"b": []byte("x")})))
	if _, ok := found[Unscanned]; !ok || c.scans == 0 || len(failures) == 0 {
		t.Errorf("%d scans, %v, %v", c.scans, found, failures)
	}
}

func TestNoScannerIsNotClean(t *testing.T) {
	found, failures := symbols(t, &Filter{Scanner: silent{}}, []byte("Subject: x\r\n\r\nx\r\n"))
	if _, ok := found[Unscanned]; !ok || len(failures) != 1 {
		t.Errorf("%v, %v", found, failures)
	}
}

// testdata is where collections of test mail are.
func testdata() string {
	if root := os.Getenv("MIGIWA_TESTDATA"); root != "" {
		return root
	}
	return "../../../../shared/data"
}

// A virus that is hidden by how the message is put together is found, or the
// message is called what it is; it is never clean.
func TestHiddenByMIME(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(testdata(), "05-mime/mime-is-broken-*/hide-content.d/*/*"))
	if len(files) == 0 {
		t.Skip("no test material (MIGIWA_TESTDATA names its place)")
	}
	daemon := peers.Clamd(t, nil)
	f := &Filter{Scanner: &clamd.Client{Address: daemon.Socket}, TempDir: t.TempDir()}
	viruses, unreadable, clean := 0, 0, 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found, failures := symbols(t, f, raw)
		if len(failures) > 0 {
			t.Errorf("%s: %v", file, failures)
		}
		switch {
		case found[Found] != "":
			viruses++
		case found[Unreadable] != "":
			unreadable++
		default:
			clean++
			subject, _, _ := strings.Cut(string(raw[bytes.Index(raw, []byte("Subject: ")):]), "\n")
			t.Errorf("%s passes as clean: %s %v", filepath.Base(file), subject, found)
		}
	}
	t.Logf("%d messages: virus found in %d, %d called unreadable, %d clean", len(files), viruses, unreadable, clean)
}

func FuzzAttachments(f *testing.F) {
	f.Add("a.zip", []byte("PK\x03\x04"))
	f.Add("a.gz", gzipped([]byte("x")))
	f.Add("a.tar", tarred("x", []byte("y")))
	f.Add("a.pdf", []byte("%PDF-1.7\n"+objects("4 0 << /S /J#61vaScript /F (a.exe) >>")))
	f.Add("a.rar", rar5(4, rarEntry{name: "a", content: literals5([]byte("text")), size: 4, how: method5}))
	f.Add("a.rar", rar4(0x200, 0x30, "?.scr\x00\x00\xb0\x68\x88\x02", []byte("x")))
	f.Add("a.docx", zipped(f, map[string][]byte{"word/_rels/settings.xml.rels": []byte(`<Relationship Type="x/attachedTemplate" Target="http://x"/>`)}))
	for name, content := range archives(f) {
		if !strings.HasPrefix(name, "bomb.") {
			f.Add(name, content)
		}
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		found, failures := symbols(t, &Filter{TempDir: t.TempDir()}, letter(strings.Map(visible, name), content))
		if len(failures) > 0 || strings.Contains(found["ARCHIVE_DAMAGED"], "panic") {
			t.Errorf("%v, %v", failures, found)
		}
	})
}
