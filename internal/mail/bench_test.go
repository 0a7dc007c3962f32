package mail

import (
	"io"
	"strings"
	"testing"
)

func benchMessage() string {
	text := strings.Repeat("Ordinary text of a message, some seventy octets long, as people write.\r\n", 40)
	file := strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 400)
	return "From: a@example.jp\r\nTo: b@example.jp\r\nSubject: =?utf-8?B?5rGA?=\r\nContent-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n--b1\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text + "--b1\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + file + "--b1--\r\n"
}

func BenchmarkReadMIME(b *testing.B) {
	in := benchMessage()
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		ReadMIME(strings.NewReader(in), DefaultMIMELimits(), nil)
	}
}

func BenchmarkDecode(b *testing.B) {
	in := benchMessage()
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		ReadMIME(strings.NewReader(in), DefaultMIMELimits(), func(p *Part, body io.Reader) error {
			_, err := io.Copy(io.Discard, p.Decode(body))
			return err
		})
	}
}

func BenchmarkParseAddress(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParseAddress("user.name@mx.example.jp")
	}
}
