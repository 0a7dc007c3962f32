package virus

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// archives gives those of testdata/make.sh by their names.
func archives(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/archives.txt")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		name, content, _ := strings.Cut(strings.TrimSpace(line), " ")
		if files[name], err = base64.StdEncoding.DecodeString(content); err != nil {
			t.Fatal(name, err)
		}
	}
	return files
}

// finds tells when other symbols are found in an attachment than those of want.
func finds(t *testing.T, name string, content []byte, want string) map[string]string {
	t.Helper()
	found, failures := symbols(t, &Filter{TempDir: t.TempDir()}, letter(name, content))
	if len(failures) > 0 {
		t.Errorf("%s: %v", name, failures)
	}
	wanted := strings.Fields(want)
	slices.Sort(wanted)
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, wanted) {
		t.Errorf("%s: %v instead of %s", name, found, want)
	}
	return found
}

const inside = "ATTACHMENT_RUNS ATTACHMENT_DISGUISED"

func TestPacked(t *testing.T) {
	files := archives(t)
	for _, name := range []string{"scr.tar.bz2", "scr.tar.xz", "blocks.tar.xz", "filter.tar.xz", "scr.tar.zst"} {
		finds(t, name, files[name], inside)
		finds(t, "truncated "+name, files[name][:len(files[name])/5], "ARCHIVE_DAMAGED")
	}
	finds(t, "com.tar.xz", files["com.tar.xz"], "")
	streams := slices.Concat(files["notes.txt.xz"], make([]byte, 8), files["scr.tar.xz"])
	unpacked, err := io.ReadAll(&xzReader{r: bytes.NewReader(streams), dictionary: func(int64) (func(), error) { return func() {}, nil }})
	if err != nil || !bytes.HasPrefix(unpacked, []byte("words")) || !bytes.Contains(unpacked, []byte("MZ not")) {
		t.Errorf("%q, %v", unpacked, err)
	}
}

// What a file says of itself before it, and not in the ZIP file's directory, counts too.
func TestZipLocalHeaders(t *testing.T) {
	plain := zipped(t, map[string][]byte{"a.txt": []byte("x")})
	encrypted := slices.Clone(plain)
	encrypted[6] |= 1
	finds(t, "a.zip", encrypted, "ARCHIVE_ENCRYPTED")
	renamed := slices.Clone(plain)
	copy(renamed[30:], "a.scr")
	finds(t, "a.zip", renamed, "ATTACHMENT_RUNS")
	for i := range 100 { // wherever the buffers end
		late := append(append([]byte("PK\x03\x04"), make([]byte, 64<<10-50+i)...), renamed...)
		if found := finds(t, "a.zip", late, "ATTACHMENT_RUNS"); len(found) == 0 {
			break
		}
	}
	finds(t, "a.zip", renamed[:len(renamed)-10], "ATTACHMENT_RUNS ARCHIVE_DAMAGED")
}

// Names of hosts are no programs.
func TestCommands(t *testing.T) {
	program, text := []byte("\xe9\x10\x00\x01\x02\x03"), []byte("Host of the example\r\n")
	finds(t, "example.com", text, "")
	finds(t, "example.com", []byte("\xff\xfet\x00\n\x00"), "")
	finds(t, "example.com", zipped(t, map[string][]byte{"a.txt": text}), "")
	finds(t, "example.com", program, "ATTACHMENT_RUNS")
	finds(t, "example.com", []byte("MZ and text"), "ATTACHMENT_RUNS")
	finds(t, "a.zip", zipped(t, map[string][]byte{"example.com": text}), "")
	finds(t, "a.zip", zipped(t, map[string][]byte{"example.com": program}), "ATTACHMENT_RUNS")
}

func TestOffice(t *testing.T) {
	relation := func(kind, target string) []byte {
		return []byte(`<?xml version="1.0"?><Relationships><Relationship Id="r" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/` +
			kind + `" Target="` + target + `" TargetMode="External"/></Relationships>`)
	}
	types := []byte(`<Types><Override PartName="/word/harmless.xml" ContentType="application/vnd.ms-office.vbaProject"/></Types>`)
	for _, test := range []struct {
		member  string
		content []byte
		want    string
	}{
		{"word/_rels/settings.xml.rels", relation("attachedTemplate", "https://host.example/t.dotm"), "DOCUMENT_FETCHES"},
		{"word/_rels/settings.xml.rels", relation("attachedTemplate", `\\host.example\t.dotm`), "DOCUMENT_FETCHES"},
		{"word/_rels/settings.xml.rels", relation("attachedTemplate", "&#104;ttp://host.example/t"), "DOCUMENT_FETCHES"},
		{"word/_rels/document.xml.rels", relation("oleObject", "mhtml:http://host.example/t"), "DOCUMENT_FETCHES"},
		{"word/_rels/settings.xml.rels", relation("attachedTemplate", "file:///C:/Templates/house.dotx"), ""},
		{"word/_rels/document.xml.rels", relation("hyperlink", "https://host.example/"), ""},
		{"[Content_Types].xml", types, "ATTACHMENT_MACROS"},
		{"xl/macrosheets/sheet1.xml", nil, "ATTACHMENT_MACROS"},
		{"Basic/Standard/Module1.xml", nil, "ATTACHMENT_MACROS"},
		{"Basic/Standard/script-lb.xml", nil, ""},
		{"Scripts/python/a.txt", nil, "ATTACHMENT_MACROS"},
	} {
		finds(t, "a.docx", zipped(t, map[string][]byte{test.member: test.content}), test.want)
	}
	finds(t, "a.xltm", []byte("x"), "ATTACHMENT_MACROS")
}

func TestSevenZip(t *testing.T) {
	files := archives(t)
	for name, want := range map[string]string{
		"plain.7z": inside, "default.7z": inside, "com.7z": "", "copy.7z": inside, "x86.7z": inside,
		"bcj2.7z": inside + " ARCHIVE_CLOSED", "bzip2.7z": inside, "deflate.7z": inside, "ppmd.7z": "ARCHIVE_CLOSED",
		"secret.7z": "ARCHIVE_ENCRYPTED", "hidden.7z": "ARCHIVE_ENCRYPTED", "nested.7z": inside,
	} {
		finds(t, name, files[name], want)
		finds(t, "truncated "+name, files[name][:len(files[name])/2], "ARCHIVE_DAMAGED")
	}
}

func TestImages(t *testing.T) {
	files := archives(t)
	for _, name := range []string{"plain.iso", "joliet.iso", "rock.iso"} {
		packed := files[name+".gz"]
		want := inside
		if name == "plain.iso" {
			want = "ATTACHMENT_RUNS" // two endings are more than the standard allows
		}
		finds(t, "a.bin.gz", packed, want)
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		finds(t, "a.bin", content, want)
		finds(t, "truncated.bin", content[:17*sectorISO], "ARCHIVE_DAMAGED")
		circle := slices.Clone(content)
		for i := range circle { // directories lead to the root again
			if bytes.HasPrefix(circle[i:], []byte("\x03SUB")) || bytes.HasPrefix(circle[i:], []byte("\x06\x00s\x00u\x00b")) {
				copy(circle[i-30:i-22], circle[16*sectorISO+156+2:])
			}
		}
		finds(t, "circle.bin", circle, "")
	}
}

// searching finds what ClamAV would find if it opened no archive.
type searching struct{ fails bool }

func (s searching) Scan(_ context.Context, r io.Reader) (string, error) {
	b, err := io.ReadAll(r)
	if bytes.Contains(b, []byte("MZ not a program")) {
		return "Test.Program", err
	}
	if s.fails {
		return "", errors.Join(err, errors.New("no clamd"))
	}
	return "", err
}

// What comes out of archives that ClamAV does not open everywhere is scanned, and a
// scanner that fails does not keep names from being judged.
func TestScanOfMembers(t *testing.T) {
	program := []byte("MZ not a program")
	for name, content := range map[string][]byte{
		"a.tar.zst": archives(t)["scr.tar.zst"],
		"a.rar":     rar5(0, rarEntry{name: "a.scr", content: literals5(program), size: uint64(len(program)), how: method5}),
	} {
		found, _ := symbols(t, &Filter{TempDir: t.TempDir(), Scanner: searching{}}, letter(name, content))
		if found[Found] != "Test.Program" || found["ATTACHMENT_RUNS"] == "" {
			t.Errorf("%s: %v", name, found)
		}
	}
	harmless := rar5(0, rarEntry{name: "a.txt", content: []byte("x")}, rarEntry{name: "b.scr", content: []byte("x")})
	found, failures := symbols(t, &Filter{TempDir: t.TempDir(), Scanner: searching{fails: true}}, letter("a.rar", harmless))
	if _, unscanned := found[Unscanned]; !unscanned || found["ATTACHMENT_RUNS"] == "" || len(failures) == 0 {
		t.Errorf("%v, %v", found, failures)
	}
}

// broken panics, as the code that unpacks might.
type broken struct{}

func (broken) Read([]byte) (int, error) { panic("an error in a library") }

func TestPanicIsOfItsFile(t *testing.T) {
	found := map[string]bool{}
	a := &attachments{ctx: t.Context(), found: map[string]bool{}, add: func(symbol, _ string) { found[symbol] = true }}
	for _, r := range []io.Reader{broken{}, strings.NewReader("MZ")} {
		if err := a.open([]string{"a"}, r, 1); err != nil {
			t.Error(err)
		}
	}
	if !found["ARCHIVE_DAMAGED"] || !found["ATTACHMENT_RUNS"] {
		t.Error(found)
	}
}
