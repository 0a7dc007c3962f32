package virus

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"testing"
)

// objects packs objects of a PDF file into a stream.
func objects(text string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return fmt.Sprintf("5 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length %d >>\nstream\r\n%s\nendstream\nendobj\n", b.Len(), b.String())
}

func TestPDF(t *testing.T) {
	for _, test := range []struct{ what, body, want string }{
		{"nothing", "1 0 obj << /Type /Catalog /OpenAction [3 0 R /Fit] >> endobj", ""},
		{"a link", "1 0 obj << /S /URI /URI (https://example.com) >> endobj", ""},
		{"a script", "1 0 obj << /OpenAction << /S /JavaScript /JS (app.alert) >> >> endobj", "PDF_SCRIPT"},
		{"escapes", "1 0 obj << /OpenAction << /S /J#61v#61Script /JS (app.alert) >> >> endobj", "PDF_SCRIPT"},
		{"a program", "1 0 obj << /OpenAction << /S/Launch/F(cmd.exe) >> >> endobj", "PDF_LAUNCHES ATTACHMENT_RUNS"},
		{"a file", "1 0 obj << /Type/Filespec /F (data.xml) /EF << /F 2 0 R >> >> endobj 2 0 obj << /Type /EmbeddedFile >> endobj", "PDF_EMBEDS"},
		{"a program as file", "1 0 obj << /UF (\xfe\xff\x00a\x00.\x00s\x00c\x00r) /EF << /F 2 0 R >> >> endobj 2 0 obj << /Type /EmbeddedFile >> endobj", "PDF_EMBEDS ATTACHMENT_RUNS"},
		{"packed", objects("4 0 << /S /J#61vaScript >>"), "PDF_SCRIPT"},
		{"another stream first", "3 0 obj << /Length 4 >>\nstream\nabcd\nendstream endobj\n" + objects("4 0 << /S /Launch >>"), "PDF_LAUNCHES"},
		{"a word", "1 0 obj << /T (JavaScript) /JavaScripts 1 >> endobj", ""},
	} {
		content := []byte("%PDF-1.7\n" + test.body + "\ntrailer << /Root 1 0 R >>\n%%EOF\n")
		finds(t, test.what+".pdf", content, test.want)
		finds(t, "late "+test.what+".pdf", append([]byte("GIF89a"), content...), test.want)
		finds(t, test.what+".zip", zipped(t, map[string][]byte{"a.pdf": content}), test.want)
	}
}
