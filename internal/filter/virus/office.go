package virus

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
)

var vbaProject = []byte("_\x00V\x00B\x00A\x00_\x00P\x00R\x00O\x00J\x00E\x00C\x00T\x00")

// ole looks for macros in a document of the old form, by the name of the stream
// they stand in.
func (a *attachments) ole(name string, r io.Reader) error {
	buf := make([]byte, 64<<10)
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		if bytes.Contains(buf[:kept+n], vbaProject) {
			a.say("ATTACHMENT_MACROS", quoted(name))
			return nil
		}
		if err != nil {
			return nil
		}
		all := buf[:kept+n]
		tail := all[max(0, len(all)-len(vbaProject)):]
		kept = copy(buf, tail)
	}
}

// officeMacros tells whether a file in a document is a macro, by where Microsoft
// Office and LibreOffice put theirs.
func officeMacros(member string) bool {
	member = strings.ToLower(member)
	switch {
	case strings.HasSuffix(member, "vbaproject.bin"), strings.HasPrefix(member, "xl/macrosheets/"):
		return true
	case strings.HasPrefix(member, "scripts/"):
		return !strings.HasSuffix(member, "/")
	case strings.HasPrefix(member, "basic/"): // every library has the two lists, also an empty one
		return strings.HasSuffix(member, ".xml") && !strings.HasSuffix(member, "/script-lb.xml") && !strings.HasSuffix(member, "/script-lc.xml")
	}
	return false
}

// relations tells of the files by which a document says what belongs to it.
func relations(member string) bool {
	return strings.HasSuffix(member, ".rels") || member == "[Content_Types].xml"
}

const maxRelations = 1 << 20 // octets of one such file that are read

// office reads what belongs to a document: macros under any name, and templates and
// objects that are fetched from elsewhere when it is opened.
func (a *attachments) office(name string, r io.Reader) {
	x := xml.NewDecoder(io.LimitReader(r, maxRelations))
	x.Strict = false
	for {
		token, err := x.RawToken()
		if err != nil {
			return
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		attr := map[string]string{}
		for _, at := range start.Attr {
			attr[strings.ToLower(at.Name.Local)] = at.Value
		}
		if strings.Contains(attr["contenttype"], "vbaProject") || strings.HasSuffix(attr["type"], "/vbaProject") {
			a.say("ATTACHMENT_MACROS", quoted(name))
		}
		kind := attr["type"][strings.LastIndexByte(attr["type"], '/')+1:]
		if (kind == "attachedTemplate" || kind == "oleObject" || kind == "frame") && remote(attr["target"]) {
			a.say("DOCUMENT_FETCHES", quoted(name)+": "+kind+" from "+quoted(attr["target"]))
		}
	}
}

// remote tells of a place that is not on the reader's own computer.
func remote(target string) bool {
	target = strings.ToLower(strings.TrimSpace(target))
	for _, scheme := range []string{"http:", "https:", "ftp:", "mhtml:", `\\`, "file://", `file:\\`} {
		if rest, ok := strings.CutPrefix(target, scheme); ok {
			return !strings.HasPrefix(scheme, "file") || !strings.HasPrefix(rest, "/") // file:///C:/… is here
		}
	}
	return false
}
