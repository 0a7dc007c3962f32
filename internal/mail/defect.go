package mail

import "slices"

// DefectKind names what is wrong with a part. The words are stable: events
// and rules use them.
type DefectKind string

// Defect kinds.
const (
	DefectLimit         DefectKind = "limit"          // depth, parts, header or total size; Detail says which
	DefectNoBoundary    DefectKind = "no-boundary"    // multipart without a usable boundary, read as one leaf
	DefectNoEnd         DefectKind = "no-end"         // multipart without its closing boundary
	DefectAfterEnd      DefectKind = "after-end"      // a boundary again after the closing one
	DefectEmpty         DefectKind = "empty"          // multipart without any part
	DefectLooseBoundary DefectKind = "loose-boundary" // a boundary line with more text behind it
	DefectHeaderEnd     DefectKind = "header-end"     // header section without empty line
	DefectHeaderLine    DefectKind = "header-line"    // a line in the header that is no field, or a CR inside one
	DefectDuplicate     DefectKind = "duplicate"      // a field or parameter given twice, the first counts
	DefectSyntax        DefectKind = "syntax"         // of a MIME field
	DefectEncoding      DefectKind = "encoding"       // unknown Content-Transfer-Encoding, or one not allowed here
	DefectBase64        DefectKind = "base64"         // foreign characters, or data after padding
	DefectQuoted        DefectKind = "quoted"         // bad quoted-printable
	DefectNUL           DefectKind = "nul"            // NUL in a header
)

// Defect is one thing that is wrong with a part. Attackers hide content by
// defects that programs read differently, so filters weigh them.
type Defect struct {
	Kind   DefectKind
	Detail string // in our words, short; a stranger's text in it is quoted ASCII
}

// addDefect keeps each defect once and at most 32 of a part.
func addDefect(list []Defect, d Defect) []Defect {
	if len(list) >= 32 || slices.Contains(list, d) {
		return list
	}
	return append(list, d)
}
