package virus

import (
	"encoding/binary"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/migiwa/migiwa/internal/filter"
)

// measure tells what a bomb finds, and what it costs.
func measure(t *testing.T, what, name string, content []byte) map[string]string {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	found, _ := symbols(t, &Filter{TempDir: t.TempDir()}, letter(name, content))
	took := time.Since(start).Round(time.Millisecond)
	runtime.ReadMemStats(&after)
	t.Logf("%s: %d octets, %v, %d MB taken from the system: %v", what, len(content), took, int64(after.Sys-before.Sys)>>20, slices.Sorted(maps.Keys(found)))
	if took > 12*time.Second {
		t.Errorf("%s took %v", what, took)
	}
	return found
}

// Bombs cost little time and memory, and are told.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 100<<20)
	nested := []byte("x")
	for i := range 8 {
		nested = zipped(t, map[string][]byte{fmt.Sprint(i, ".zip"): nested})
	}
	many := map[string][]byte{}
	for i := range maxEntries + 10 {
		many[fmt.Sprint(i)] = nil
	}
	for name, content := range map[string][]byte{
		"zip of zeros": zipped(t, map[string][]byte{"z": zeros}), "gzip of gzip of zeros": gzipped(gzipped(zeros)),
		"tar.gz of zeros": gzipped(tarred("z", zeros)), "nested": nested, "many": zipped(t, many),
	} {
		start := time.Now()
		found, failures := symbols(t, &Filter{TempDir: t.TempDir()}, letter("a.zip", content))
		if len(failures) > 0 {
			t.Errorf("%s: %v", name, failures)
		}
		t.Logf("%s: %d octets, %v: %v", name, len(content), time.Since(start).Round(time.Millisecond), found)
		if strings.Contains(name, "gz") {
			continue // within what is looked at
		}
		if found["ARCHIVE_LIMIT"] == "" {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// A directory of a million files is not read.
func TestLargeDirectory(t *testing.T) {
	content := append([]byte("PK\x03\x04"), make([]byte, 5<<20)...)
	content = append(content, []byte("PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x50\x00\x04\x00\x00\x00\x00\x00")...)
	found, _ := symbols(t, &Filter{TempDir: t.TempDir()}, letter("a.zip", content))
	if !strings.Contains(found["ARCHIVE_LIMIT"], "too many") {
		t.Errorf("%v", found)
	}
}

// Streams that unpack to much, and many of them, end at a limit.
func TestBombPDF(t *testing.T) {
	bomb := "%PDF-1.7\n" + strings.Repeat(objects(strings.Repeat("/A", 8<<20)), 200)
	found := measure(t, "PDF of streams", "a.pdf", []byte(bomb))
	if _, ok := found["ARCHIVE_LIMIT"]; !ok {
		t.Error(found)
	}
	found = measure(t, "PDF of small streams", "a.pdf", []byte("%PDF-1.7\n"+strings.Repeat(objects(""), maxEntries+10)))
	if _, ok := found["ARCHIVE_LIMIT"]; !ok {
		t.Error(found)
	}
}

// The library unpacks by itself what follows in a solid archive.
func TestBombRAR(t *testing.T) {
	packed := zeros5(300 << 20)
	for name, e := range map[string]rarEntry{
		"honest": {name: "a", content: packed, size: 300 << 20, how: method5},
		"lying":  {name: "a", content: packed, size: 1, how: method5},
	} {
		bomb := rar5(4, e, rarEntry{name: "b.scr", content: literals5([]byte("x")), size: 1, how: method5 | 0x40})
		measure(t, "RAR, "+name, "a.rar", bomb)
	}
}

// A program that asks for the memory of a giant dictionary gets none.
func TestGiantDictionary(t *testing.T) {
	files := archives(t)
	giant := slices.Clone(files["scr.tar.xz"])
	giant[16] = 40 // 4 GB, in the block's header
	if giant[14] != 0x21 {
		t.Fatal("another header")
	}
	finds(t, "giant.xz", giant, "ARCHIVE_LIMIT")
	window := append([]byte("\x28\xb5\x2f\xfd\x00\xa8"), files["scr.tar.zst"][6:]...) // 2 GB
	finds(t, "giant.zst", window, "ARCHIVE_LIMIT")
}

// What stands behind a bomb is not reached, and the limit is told.
func TestPackedBombs(t *testing.T) {
	for name, content := range archives(t) {
		if !strings.HasPrefix(name, "bomb.") {
			continue
		}
		if found := measure(t, name, name, content); found["ARCHIVE_LIMIT"] == "" {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// sevenzipped is a 7z file of one member in which LZMA asks for memory.
func sevenzipped(dictionary uint32, size uint64, name string) []byte {
	data := []byte("\x00nonsense that is no LZMA")
	h := []byte{1, 4, 6, 0, 1, 9, byte(len(data)), 0, 7, 11, 1, 0, 1, 0x23, 3, 1, 1, 5, 0x5d}
	h = binary.LittleEndian.AppendUint32(h, dictionary)
	h = append(h, 12, 0xff)
	h = binary.LittleEndian.AppendUint64(h, size)
	h = append(h, 0, 0, 5, 1, 17, byte(2*len(name)+3), 0)
	for _, letter := range utf16.Encode([]rune(name + "\x00")) {
		h = binary.LittleEndian.AppendUint16(h, letter)
	}
	h = append(h, 0, 0)
	start := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	start = binary.LittleEndian.AppendUint64(start, uint64(len(h)))
	return slices.Concat([]byte("7z\xbc\xaf\x27\x1c\x00\x04\x00\x00\x00\x00"), start, make([]byte, 4), data, h)
}

func TestGiantDictionary7z(t *testing.T) {
	finds(t, "small.7z", sevenzipped(1<<32-1, 100, "a.scr"), "ATTACHMENT_RUNS ARCHIVE_DAMAGED")
	finds(t, "giant.7z", sevenzipped(1<<32-1, 1<<40, "a.scr"), "ATTACHMENT_RUNS ARCHIVE_LIMIT")
}

// Archives of many lengths, and with many octets changed, end without an error.
func TestBroken(t *testing.T) {
	for name, content := range archives(t) {
		if strings.HasSuffix(name, ".gz") {
			continue
		}
		for i := 0; i < len(content); i += 7 {
			broken := slices.Clone(content)
			broken[i] ^= 0xff
			for _, broken := range [][]byte{content[:i], broken} {
				if _, failures := symbols(t, &Filter{TempDir: t.TempDir()}, letter(name, broken)); len(failures) > 0 {
					t.Fatalf("%s, %d: %v", name, i, failures)
				}
			}
		}
	}
}

// When all turns are taken, a message waits for one as long as it has time, and what
// it was not looked at for is not called clean.
func TestTurns(t *testing.T) {
	for range cap(turns) {
		turns <- struct{}{}
	}
	m, err := filter.FromBytes(filter.Envelope{}, letter("a.tar.xz", archives(t)["scr.tar.xz"]))
	if err != nil {
		t.Fatal(err)
	}
	p := filter.Pipeline{Filters: []filter.Filter{&Filter{TempDir: t.TempDir()}}, Deadline: 50 * time.Millisecond}
	result := p.Run(t.Context(), m, []filter.Recipient{{}}, func(int, string) bool { return true })
	if len(result.Failures) == 0 {
		t.Error(result.Findings)
	}
	for range cap(turns) {
		<-turns
	}
	finds(t, "a.tar.xz", archives(t)["scr.tar.xz"], inside)
	if len(turns) != 0 {
		t.Error("a turn was not given back")
	}
}
