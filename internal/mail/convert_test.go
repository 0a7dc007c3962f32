package mail

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// converts runs a conversion over a message in memory.
func converts(t testing.TB, in string, eight bool) (string, error) {
	t.Helper()
	c, err := Convert(func() io.Reader { return strings.NewReader(in) }, eight)
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(c.Reader(strings.NewReader(in)))
	if err != nil || int64(len(out)) != c.Size {
		t.Errorf("%d octets, planned %d, %v", len(out), c.Size, err)
	}
	return string(out), nil
}

const mixed = `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: 8bit

before
--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

naïve words in a long line
--b
Content-Type: text/plain; charset=utf-8
content-transfer-encoding: 8bit
Content-Language: ja

日本語
--b
Content-Type: application/octet-stream

` + "\xff\xfe" + `
--b
Content-Transfer-Encoding: 8bit

plain
--b--
`

func TestConvert(t *testing.T) {
	for _, c := range []struct {
		name, in string
		eight    bool
		want     string
	}{
		{name: "parts", in: mixed, want: `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b
Content-Transfer-Encoding: 7bit

before
--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

na=C3=AFve words in a long line
--b
Content-Type: text/plain; charset=utf-8
content-transfer-encoding: base64
Content-Language: ja

5pel5pys6Kqe
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

//4=
--b
Content-Transfer-Encoding: 7bit

plain
--b--
`},
		{name: "whole message", in: "MIME-Version: 1.0\nContent-Type: text/plain\n\nna\xefve word\n",
			want: "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nna=EFve word\n"},
		{name: "message inside", in: "MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nMIME-Version: 1.0\nSubject: x\n\nna\xefve word\n",
			want: "MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nMIME-Version: 1.0\nSubject: x\nContent-Transfer-Encoding: quoted-printable\n\nna=EFve word\n"},
		{name: "claims to be encoded", in: "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n=41\xff\n",
			want: "MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nQf8NCg=="},
		{name: "binary to 8-bit", eight: true, in: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: binary\n\n--b\nContent-Transfer-Encoding: binary\n\né\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: binary\n\n\x00\n--b--\n",
			want: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\n--b\nContent-Transfer-Encoding: 8bit\n\né\n--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAA==\n--b--\n"},
		{name: "signed beside unsigned", in: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/signed; boundary=s\n\n--s\nContent-Transfer-Encoding: 8bit\n\n7-bit\n--s\nContent-Type: application/pgp-signature\n\nx\n--s--\n--b\n\n\xff\n--b--\n",
			want: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/signed; boundary=s\n\n--s\nContent-Transfer-Encoding: 8bit\n\n7-bit\n--s\nContent-Type: application/pgp-signature\n\nx\n--s--\n--b\nContent-Transfer-Encoding: base64\n\n/w==\n--b--\n"},
		{name: "boundary behind a soft break", in: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n\xff" + strings.Repeat("x", 72) + "--b--\n--b--\n",
			want: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=FF" + strings.Repeat("x", 72) + "=\n=2D-b--\n--b--\n"},
		{name: "no MIME", in: "Subject: x\n\nna\xefve word\n", want: "this message"},
		{name: "no header", in: "na\xefve word\n", want: "this message"},
		{name: "8-bit header", in: "MIME-Version: 1.0\nSubject: \xff\n\n\xff\n", want: "this message"},
		{name: "8-bit header inside", in: strings.Replace(mixed, "Language: ja", "Language: \xff", 1), want: "this message"},
		{name: "8-bit preamble", in: strings.Replace(mixed, "before", "\xff", 1), want: "this message"},
		{name: "8-bit behind the end", in: mixed + "\xff\n", want: "this message"},
		{name: "unknown encoding", in: "MIME-Version: 1.0\nContent-Transfer-Encoding: x-yenc\n\n\xff\n", want: "this message"},
		{name: "8-bit report", in: "MIME-Version: 1.0\nContent-Type: message/delivery-status\n\n\xff\n", want: "this message"},
		{name: "signed", in: strings.Replace(mixed, "multipart/mixed", "multipart/signed", 1), want: "signed"},
		{name: "encrypted", in: strings.Replace(mixed, "multipart/mixed", "multipart/encrypted", 1), want: "signed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := converts(t, crlf(c.in), c.eight)
			if err != nil {
				if !errors.As(err, new(*UnfitError)) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if got != crlf(c.want) {
				t.Errorf("got:\n%s", got)
			}
		})
	}
}

// anatomy describes a message by what its readers see of it: parts, types,
// decoded bodies. Transfer encodings are left out.
func anatomy(t testing.TB, message string) string {
	t.Helper()
	var b strings.Builder
	_, err := ReadMIME(strings.NewReader(message), DefaultMIMELimits(), func(p *Part, body io.Reader) error {
		sum, size := sha256.New(), int64(0)
		if p.Leaf {
			text, err := io.ReadAll(p.Decode(body))
			if err != nil {
				return err
			}
			sum.Write(text)
			size = int64(len(text))
		}
		p.Header.Delete("Content-Transfer-Encoding")
		fmt.Fprintf(&b, "%s %s %t %d %x %q\n", p.Path, p.Type, p.Leaf, size, sum.Sum(nil)[:6], p.Header.Bytes())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// sameAfter converts a message, if that is possible, and compares. It tells
// whether it was.
func sameAfter(t testing.TB, in string, eight bool) bool {
	t.Helper()
	out, err := converts(t, in, eight)
	if errors.As(err, new(*UnfitError)) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(out, "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
			t.Errorf("line of %d octets: %.80q", len(line), line)
		}
	}
	if !eight && !isASCII(out) {
		t.Error("the result is not 7-bit")
	}
	if before, after := anatomy(t, in), anatomy(t, out); before != after {
		t.Errorf("before:\n%s\nafter:\n%s\n%.2000q", before, after, out)
	}
	if again, err := converts(t, out, eight); err != nil || again != out {
		t.Errorf("the second conversion changes something: %v", err)
	}
	return true
}

// FuzzConvert: a converted message is fit, and has the parts of the original.
func FuzzConvert(f *testing.F) {
	for _, s := range []string{mixed, strings.Replace(mixed, "--b--", "", 1), "MIME-Version: 1.0\n\né" + strings.Repeat("x--b", 300),
		"MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=C3\n\n--C3\n\nMIME-Version: 1.0\n\n--é\n--C3--\n"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, in string, eight bool) { sameAfter(t, crlf(in), eight) })
}

// randomPart gives an entity of random structure, with bodies that come close
// to boundaries and to everything an encoder has to mind.
func randomPart(r *rand.Rand, depth int) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	encoding := pick("", "Content-Transfer-Encoding: 8bit\r\n", "Content-Transfer-Encoding: binary\r\n")
	switch n := r.IntN(6); {
	case n == 0 && depth > 0:
		return "Content-Type: message/rfc822\r\n" + encoding + "\r\nMIME-Version: 1.0\r\n" + randomPart(r, depth-1)
	case n < 4 && depth > 0:
		boundary := pick("C3", "=C3", "-", "x", "--", "b=A9") + fmt.Sprint(depth)
		var b strings.Builder
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n%s\r\npreamble", boundary, encoding)
		for range 1 + r.IntN(3) {
			fmt.Fprintf(&b, "\r\n--%s\r\n%s", boundary, randomPart(r, depth-1))
		}
		return b.String() + "\r\n--" + boundary + "--\r\n"
	}
	var b strings.Builder
	b.WriteString(pick("", "Content-Type: text/plain\r\n", "Content-Type: text/html; charset=x\r\n", "Content-Type: image/png\r\n") + encoding + "\r\n")
	for range r.IntN(40) {
		b.WriteString(pick("\r\n", "\r\n", " ", "\t", "\r", "\n", "\x00", "é", "=", "=C3", "--", "-", ".", "plain words", strings.Repeat("long ", 30), strings.Repeat("\xff", 70), "--C", "\xc3"))
	}
	return b.String()
}

// TestConvertRandom: what is made by the rules can always be converted.
func TestConvertRandom(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 0))
		in := "MIME-Version: 1.0\r\n" + randomPart(r, 4)
		if !sameAfter(t, in, r.IntN(2) == 0) {
			t.Errorf("refused: %q", in)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestConvertCorpus runs over real and odd messages of others' test suites.
func TestConvertCorpus(t *testing.T) {
	dir := os.Getenv("MIGIWA_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	dir = filepath.Join(dir, "05-mime")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no test material: %v (set MIGIWA_TESTDATA)", err)
	}
	converted, refused := 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || len(text) > 1<<20 || bytes.HasPrefix(text, []byte("\x28\xb5\x2f\xfd")) {
			return err
		}
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		if !bytes.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) {
			return nil
		}
		if t.Run(filepath.Base(path), func(t *testing.T) {
			if sameAfter(t, crlf(string(text)), false) {
				converted++
			} else {
				refused++
			}
		}); t.Failed() {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil || converted == 0 {
		t.Errorf("%d converted, %v", converted, err)
	}
	t.Logf("%d messages converted, %d refused", converted, refused)
}
