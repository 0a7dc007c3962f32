package mail

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
	"golang.org/x/text/transform"
)

// charsetAlias has the names that mail uses and the standard tables lack or
// take too narrowly.
func charsetAlias(name string) encoding.Encoding {
	switch name {
	case "cp50220", "cp50221", "cp50222", "iso-2022-jp-ms", "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-jp-3",
		"iso-2022-jp-2004", "iso2022jp", "iso-2022jp", "iso2022-jp", "jis", "x-windows-50220", "x-windows-50221":
		return japanese.ISO2022JP
	case "cp932", "ms932", "windows-31j", "windows-932", "x-sjis", "x-ms-cp932", "sjis", "shift-jis", "shiftjis",
		"shift_jis-2004", "shift_jisx0213", "ibm943", "x-sjis-cp932", "shift_jis_imode":
		return japanese.ShiftJIS
	case "cp51932", "eucjp", "eucjp-ms", "euc-jp-ms", "eucjp-win", "x-eucjp", "x-euc-jp", "euc-jisx0213", "ujis":
		return japanese.EUCJP
	case "cp949", "uhc", "ms949", "ks_c_5601", "ks_c_5601-1987", "ksc5601", "euckr":
		return korean.EUCKR
	case "gb2312", "gb_2312-80", "cp936", "ms936", "gbk", "x-gbk", "euc-cn", "gb18030":
		return simplifiedchinese.GB18030
	case "utf-7", "utf7", "unicode-1-1-utf-7", "csunicode11utf7", "x-unicode-2-0-utf-7":
		return utf7{}
	case "utf8", "utf-8", "unicode-1-1-utf-8", "utf-8-mac", "utf8mb4", "cp65001", "x-utf_8j":
		return unicode.UTF8
	case "utf-16":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	case "utf-16be":
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	case "utf-16le":
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case "utf-32", "utf-32be":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM)
	case "utf-32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.UseBOM)
	case "cp850", "ibm850":
		return charmap.CodePage850
	case "latin1", "latin-1", "iso-8859-1", "iso8859-1", "iso_8859-1", "cp1252", "windows-1252":
		return charmap.Windows1252
	}
	return nil
}

// Charset finds the encoding of that name: IANA names, their aliases, and what
// mail programs call them. It gives nil for names it does not know and for
// those that say nothing (us-ascii, unknown-8bit, x-unknown, default …): there
// the text itself must be looked at, as DecodeCharset does.
func Charset(name string) encoding.Encoding {
	name, _, _ = strings.Cut(name, "*") // a language (RFC 2231 section 5)
	name = strings.ToLower(strings.Trim(name, " \t\r\n\"'"))
	switch name {
	case "", "us-ascii", "ascii", "ansi_x3.4-1968", "ansi_x3.4-1986", "us", "unknown-8bit", "x-unknown", "unknown",
		"default", "x-user-defined", "8bit", "7bit", "binary", "_autodetect", "_autodetect_all", "iso-8859-8859":
		return nil
	}
	if e := charsetAlias(name); e != nil {
		return e
	}
	if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
		return e
	}
	e, err := htmlindex.Get(name)
	if err != nil || e == encoding.Replacement {
		return nil
	}
	return e
}

// DecodeCharset gives b in UTF-8. A charset that is unknown, says nothing or
// is plainly wrong is guessed; what cannot be read becomes U+FFFD.
func DecodeCharset(charset string, b []byte) string {
	out, err := chooseCharset(charset, b, true).NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\ufffd")
	}
	return string(out)
}

// guessFrom is how many octets of a stream the charset is judged by.
const guessFrom = 8 << 10

// charsetReader gives r in UTF-8.
func charsetReader(charset string, r io.Reader) io.Reader {
	head, n := make([]byte, guessFrom), 0
	var err error
	for n < len(head) && err == nil {
		var more int
		more, err = r.Read(head[n:])
		n += more
	}
	head = head[:n]
	whole := err == io.EOF
	if err != nil && !whole {
		r = &errorReader{err}
	}
	e := chooseCharset(charset, head, whole)
	if whole && e == unicode.UTF8 && utf8.Valid(head) {
		return bytes.NewReader(head) // as most are; nothing would change
	}
	return transform.NewReader(io.MultiReader(bytes.NewReader(head), r), e.NewDecoder())
}

// chooseCharset takes the encoding of that name unless b, the start of the
// text or all of it, shows that it is something else: UTF-8 that is none, or
// ISO-2022-JP with 8-bit octets and without its escapes, both of which old
// and careless programs write. UTF-16 without a byte order mark is in the
// order that makes the text ASCII, if it mostly is.
func chooseCharset(charset string, b []byte, whole bool) encoding.Encoding {
	switch e := Charset(charset); {
	case strings.EqualFold(charset, "utf-16") && littleEndian(b):
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case e == nil,
		e == unicode.UTF8 && !utf8.Valid(b),
		e == japanese.ISO2022JP && !isASCII(string(b)) && bytes.IndexByte(b, 0x1b) < 0:
		return guessCharset(b, whole)
	default:
		return e
	}
}

// littleEndian tells whether most high octets are zero if b is UTF-16 in
// little-endian order.
func littleEndian(b []byte) bool {
	zero := 0
	for i := 1; i < len(b); i += 2 {
		if b[i] == 0 {
			zero++
		}
	}
	return zero*4 > len(b)
}

type errorReader struct{ err error }

func (r *errorReader) Read([]byte) (int, error) { return 0, r.err }

// guessCharset looks at octets without a trustworthy name: ISO-2022-JP by its
// escapes, UTF-8 by its form, EUC-JP and Shift_JIS by which of them makes
// kana and kanji of nearly everything; else windows-1252. Where b is not the
// whole text, its last character may be cut short.
func guessCharset(b []byte, whole bool) encoding.Encoding {
	if bytes.Contains(b, []byte("\x1b$B")) || bytes.Contains(b, []byte("\x1b$@")) {
		return japanese.ISO2022JP
	}
	if utf8.Valid(b) || !whole && validPrefix(b) {
		return unicode.UTF8
	}
	best, most := encoding.Encoding(charmap.Windows1252), 0
	for _, e := range []encoding.Encoding{japanese.EUCJP, japanese.ShiftJIS} {
		if s := japaneseScore(e, b); s > most {
			best, most = e, s
		}
	}
	return best
}

// validPrefix tells whether b is UTF-8 up to a last character cut short.
func validPrefix(b []byte) bool {
	for i := range min(utf8.UTFMax, len(b)+1) {
		if utf8.Valid(b[:len(b)-i]) {
			return i == 0 || !utf8.FullRune(b[len(b)-i:])
		}
	}
	return false
}

// japaneseScore counts characters that speak for Japanese and takes much off
// for those that speak against it. Half-width katakana are what Shift_JIS
// makes of EUC-JP and of Latin-1, so they count little.
func japaneseScore(e encoding.Encoding, b []byte) int {
	text, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return 0
	}
	score := 0
	for _, r := range string(text) {
		switch {
		case r >= 0x3041 && r <= 0x30ff, r == '、', r == '。': // kana
			score += 4
		case r >= 0x4e00 && r <= 0x9fff, r >= 0xff01 && r <= 0xff5e, r >= 0x3000 && r < 0x3041:
			score += 2
		case r == utf8.RuneError:
			score -= 20
		case r >= 0xff61 && r <= 0xff9f, r >= 0x80:
			score--
		}
	}
	return score
}
