package aggregate

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// Bounds of XML. Without them a small bomb takes gigabytes: the decoder keeps
// every open element, every attribute of a tag and every item of a list.
const (
	maxDepth    = 32        // elements inside each other; a report has 6
	maxElements = 5_000     // in one record, or outside of them; a record with 100 signatures has about 500
	maxAll      = 1_200_000 // elements of a report; MaxRecords of usual size have as many
	maxTag      = 4096      // octets
)

// bounded gives the tokens of a decoder, up to the bounds.
type bounded struct {
	d               *xml.Decoder
	depth, elements int
	all             int // elements so far
}

// Token implements xml.TokenReader.
func (b *bounded) Token() (xml.Token, error) {
	t, err := b.d.Token()
	switch e := t.(type) {
	case xml.StartElement:
		if b.depth++; b.depth > maxDepth {
			return nil, fmt.Errorf("%w: elements more than %d deep", ErrTooLarge, maxDepth)
		}
		if b.elements++; e.Name.Local == "record" {
			b.elements = 0
		}
		if b.all++; b.all > maxAll {
			return nil, fmt.Errorf("%w: more than %d elements", ErrTooLarge, maxAll)
		}
		if b.elements > maxElements {
			return nil, fmt.Errorf("%w: more than %d elements outside of records or in one", ErrTooLarge, maxElements)
		}
	case xml.EndElement:
		b.depth--
	}
	return t, err
}

// longTag tells whether a tag is longer than maxTag. What begins with <! or <?
// is none, and costs only its length.
func longTag(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '<')
		if i < 0 {
			return false
		}
		text = text[i+1:]
		if len(text) > 0 && (text[0] == '!' || text[0] == '?') {
			continue
		}
		if len(text) > maxTag && !bytes.ContainsAny(text[:maxTag], "<>") {
			return true
		}
	}
}
