package filter

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestReadKeepsWhatFiltersNeed(t *testing.T) {
	picture := bytes.Repeat([]byte{0xff, 0xd8, 1}, 3000)
	m := message(t, `From: =?utf-8?q?H=C3=A9l=C3=A8ne?= <helene@example.org>, second@example.net
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-2022-jp
Content-Transfer-Encoding: base64

`+base64.StdEncoding.EncodeToString([]byte("\x1b$B2q5D\x1b(B"))+`
--b
Content-Type: text/html

<p>seen<span style="display:none">unseen</span>
--b
Content-Type: image/jpeg
Content-Transfer-Encoding: base64

`+base64.StdEncoding.EncodeToString(picture)+`
--b--
`)
	if len(m.Parts) != 3 {
		t.Fatalf("%d parts", len(m.Parts))
	}
	if got := m.Parts[0].Text; got != "会議" {
		t.Errorf("text %q", got)
	}
	if page := m.Parts[1].Page(); page == nil || strings.TrimSpace(page.Text) != "seen" || page.HiddenText == 0 {
		t.Errorf("page %+v", page)
	}
	image := m.Parts[2]
	if image.Length != int64(len(picture)) || image.Sum != sha256.Sum256(picture) || !bytes.Equal(image.Head, picture[:headSize]) || image.Text != "" {
		t.Errorf("image: %d octets, head of %d, text %q", image.Length, len(image.Head), image.Text)
	}
	if text := m.Text(); !strings.Contains(text, "会議") || !strings.Contains(text, "seen") || strings.Contains(text, "unseen") {
		t.Errorf("what is read: %q", text)
	}
	author, n := m.Author()
	if author.Address.String() != "helene@example.org" || n != 2 {
		t.Errorf("author %v of %d", author, n)
	}
	again, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := io.ReadAll(again)
	if int64(len(raw)) != m.Size {
		t.Errorf("opened %d octets of %d", len(raw), m.Size)
	}
}

func TestReadIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("Content-Type: multipart/mixed; boundary=b\n\n")
	for i := range 2 * maxLeaves {
		fmt.Fprintf(&b, "--b\n\n%d %s\n", i, strings.Repeat("long ", 10_000))
	}
	m := message(t, b.String())
	kept := 0
	for _, p := range m.Parts {
		kept += len(p.Text)
	}
	if len(m.Parts) > maxLeaves || kept > maxTexts || !m.Over {
		t.Errorf("%d parts, %d octets of text, over %v", len(m.Parts), kept, m.Over)
	}
	if m.Size < int64(b.Len()) {
		t.Errorf("read %d octets of %d", m.Size, b.Len())
	}
}

func TestOpenNeedsTheMessage(t *testing.T) {
	m, err := Read(Envelope{}, strings.NewReader("\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open(); err == nil {
		t.Error("opened what was not kept")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("Content-Type: text/html\r\n\r\n<a href=//x>y</a>"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := FromBytes(Envelope{}, raw)
		if err != nil {
			t.Fatal(err)
		}
		if m.Size != int64(len(raw)) {
			t.Fatalf("read %d of %d octets", m.Size, len(raw))
		}
		m.Text()
		m.Author()
	})
}
