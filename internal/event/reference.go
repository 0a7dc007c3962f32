package event

import (
	"fmt"
	"strings"
)

// Reference describes all kinds and fields as Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| kind | what happened | kept in the journal with |\n|---|---|---|\n")
	for _, k := range Kinds {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Kind, k.Doc, ShelfOf(k.Kind))
	}
	b.WriteString("\n| field | type | meaning |\n|---|---|---|\n")
	for _, f := range Fields {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Type, strings.NewReplacer("<", "\\<", "|", "\\|").Replace(f.Doc))
	}
	return b.String()
}
