package mail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCharsetNames(t *testing.T) {
	for _, name := range []string{"UTF-8", "utf8", "ISO-2022-JP", "cp50220", "CP50221", "iso-2022-jp-ms", "Shift_JIS", "x-sjis", "cp932", "windows-31j",
		"euc-jp", "eucJP-ms", "cp51932", "utf-7", "UNICODE-1-1-UTF-7", "gb2312", "GB18030", "big5", "big5-hkscs", "ks_c_5601-1987", "euc-kr", "koi8-r",
		"koi8-u", "iso-8859-1", "iso-8859-2", "iso-8859-15", "windows-1251", "windows-1252", "cp1250", "cp866", "macintosh", "tis-620", "utf-16", "utf-16le",
		"utf-32", "iso-8859-8-i", "hz-gb-2312", "'utf-8'", "utf-8*en"} {
		if Charset(name) == nil {
			t.Errorf("%s: unknown", name)
		}
	}
	for _, name := range []string{"", "us-ascii", "x-unknown", "nonsense", "replacement", strings.Repeat("x", 1000)} {
		if Charset(name) != nil {
			t.Errorf("%.20s: known", name)
		}
	}
}

// TestGuessCharset takes real texts without their charset: what the guess
// makes of them must be what the charset makes of them.
func TestGuessCharset(t *testing.T) {
	dir := unpack(t, "05-mime/charset-texts-a.tar.zst")
	for _, charset := range []string{"EUC-JP", "SHIFT_JIS"} {
		right, total := 0, 0
		for _, path := range files(t, filepath.Join(dir, "charset-texts-a", charset)) {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			total++
			if DecodeCharset("", raw) == DecodeCharset(charset, raw) {
				right++
			} else {
				t.Log(charset, filepath.Base(path))
			}
			if s := DecodeCharset(charset, raw); strings.Count(s, "\ufffd")*100 > len(s) {
				t.Errorf("%s: unreadable", path)
			}
		}
		t.Logf("%s: %d of %d guessed", charset, right, total)
		if right*10 < total*9 {
			t.Errorf("%s: only %d of %d guessed", charset, right, total)
		}
	}
}
