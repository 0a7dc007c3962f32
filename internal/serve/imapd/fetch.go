package imapd

import (
	"context"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// fetching is one FETCH.
type fetching struct {
	target
	items    []fetchItem
	need     mailbox.Need
	binaries int   // items that are BINARY or BINARY.SIZE
	marks    bool  // \Seen, where rights allow
	read     bool  // hands out text, not only headers
	flags    bool  // FLAGS are asked for
	modseq   bool  // MODSEQ is asked for, or CHANGEDSINCE
	since    int64 // CHANGEDSINCE (RFC 7162 section 3.1.4.1); -1: none
	vanished bool  // VANISHED (RFC 7162 section 3.2.6)
}

// fetchItem is one data item.
type fetchItem struct {
	kind    itemKind
	name    string // as the response has it, in front of any section
	section section
	partial partial
}

type itemKind uint8

const (
	itemFlags itemKind = iota
	itemUID
	itemDate
	itemSize
	itemEnvelope
	itemBody // BODY: the structure without extensions
	itemStructure
	itemModSeq
	itemEmailID
	itemThreadID
	itemSaveDate
	itemPreview
	itemSection // text, from BODY[] and the older RFC822
	itemBinary
	itemBinarySize
)

// plainItems are those without a section.
var plainItems = map[string]itemKind{
	"FLAGS": itemFlags, "UID": itemUID, "INTERNALDATE": itemDate, "RFC822.SIZE": itemSize, "ENVELOPE": itemEnvelope,
	"BODY": itemBody, "BODYSTRUCTURE": itemStructure, "MODSEQ": itemModSeq, "EMAILID": itemEmailID,
	"THREADID": itemThreadID, "SAVEDATE": itemSaveDate, "PREVIEW": itemPreview,
	"RFC822": itemSection, "RFC822.HEADER": itemSection, "RFC822.TEXT": itemSection,
}

// macros stand for several items (RFC 9051 section 6.4.5).
var macros = map[string][]string{
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

// Bounds of what is told of one message. Each BINARY takes decoding a part, as
// large as it may be, twice.
const (
	maxItems    = 500
	maxBinaries = 20
)

func (c *conn) parseFetch(d *wire.Decoder, byUID bool) task {
	f := &fetching{target: parseTarget(d, byUID), since: -1}
	if byUID {
		f.add(d, "UID")
	}
	d.SP()
	if d.Peek() == '(' {
		d.List(func() { // where macros should not stand, but with some clients do
			f.parseWord(d, d.Word())
			f.parseLazy(d)
		})
		if len(f.items) == 0 {
			d.Fail("Nothing to fetch")
		}
	} else {
		f.parseWord(d, d.Word())
	}
	for d.AcceptSP() {
		d.List(func() { f.parseModifier(d) })
	}
	if f.vanished && (!byUID || f.since < 0) {
		d.Fail("VANISHED goes with CHANGEDSINCE and UID FETCH")
	}
	d.End()
	// What marks messages or begins to tell mod-sequences runs alone.
	return task{shared: !f.marks && !f.modseq, sync: f.sync(), run: func(ctx context.Context) (string, error) { return c.fetch(ctx, f) }}
}

func (f *fetching) parseModifier(d *wire.Decoder) {
	switch d.Word() {
	case "CHANGEDSINCE":
		d.SP()
		f.since = d.Number64()
		f.add(d, "MODSEQ")
	case "VANISHED":
		f.vanished = true
	case "LAZY": // behind a PREVIEW that stands alone
		if f.items[len(f.items)-1].kind != itemPreview {
			d.Fail("Only PREVIEW is lazy")
		}
	default:
		d.Fail("Unknown FETCH modifier")
	}
}

// parseWord reads what is left of an item, or of a macro, that begins with word.
func (f *fetching) parseWord(d *wire.Decoder, word string) {
	if macros[word] == nil {
		f.parseItem(d, word)
	}
	for _, name := range macros[word] {
		f.add(d, name)
	}
}

// parseItem reads what is left of an item that begins with word.
func (f *fetching) parseItem(d *wire.Decoder, word string) {
	name, spec, bracket := strings.Cut(word, "[")
	if !bracket {
		f.add(d, name)
		return
	}
	it := fetchItem{name: name}
	switch strings.TrimSuffix(name, ".PEEK") {
	case "BODY":
		it.kind, it.name = itemSection, "BODY"
	case "BINARY":
		it.kind, it.name = itemBinary, "BINARY"
	case "BINARY.SIZE":
		it.kind = itemBinarySize
	default:
		d.Fail("Unknown FETCH item")
	}
	if name == "BINARY.SIZE.PEEK" {
		d.Fail("Unknown FETCH item")
	}
	it.section = parseSection(d, spec)
	d.Expect(']')
	if it.kind != itemSection && it.section.what != wholeBody {
		d.Fail("BINARY takes parts only")
	}
	if it.kind != itemBinarySize {
		it.partial = parsePartial(d)
		f.marks = f.marks || !strings.HasSuffix(name, ".PEEK")
	}
	f.push(d, it)
}

// parseLazy reads the modifiers of a PREVIEW in a list of items (RFC 8970
// section 3.1). LAZY changes nothing: an outline that is not known yet is soon
// made.
func (f *fetching) parseLazy(d *wire.Decoder) {
	if n := len(f.items); n == 0 || f.items[n-1].kind != itemPreview || !listFollows(d) {
		return
	}
	d.SP()
	d.List(func() {
		if d.Word() != "LAZY" {
			d.Fail("Unknown modifier of PREVIEW")
		}
	})
}

// add is parseItem for an item without section.
func (f *fetching) add(d *wire.Decoder, name string) {
	kind, ok := plainItems[name]
	if !ok {
		d.Fail("Unknown FETCH item")
		return
	}
	it := fetchItem{kind: kind, name: name}
	switch name {
	case "RFC822":
		f.marks = true
	case "RFC822.TEXT":
		f.marks, it.section.what = true, textOnly
	case "RFC822.HEADER":
		it.section.what = headerOnly
	}
	f.push(d, it)
}

// push adds an item, each of those without section once.
func (f *fetching) push(d *wire.Decoder, it fetchItem) {
	if it.kind < itemSection && slices.ContainsFunc(f.items, func(o fetchItem) bool { return o.kind == it.kind }) {
		return
	}
	if len(f.items) == maxItems {
		d.Fail("Too many items")
		return
	}
	switch it.kind {
	case itemFlags:
		f.flags = true
	case itemModSeq:
		f.modseq = true
	case itemEnvelope, itemBody, itemStructure, itemPreview:
		f.need |= mailbox.NeedOutline
	case itemSection, itemBinary, itemBinarySize:
		if it.kind != itemSection {
			f.binaries++
		}
		if f.binaries > maxBinaries {
			d.Fail("Too many items")
		}
		f.need |= mailbox.NeedText
		if it.section.needsOutline() {
			f.need |= mailbox.NeedOutline
		}
		f.read = f.read || !it.section.header() && it.kind != itemBinarySize
	}
	f.items = append(f.items, it)
}
