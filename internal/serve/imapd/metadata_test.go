package imapd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/mailbox"
)

func TestMetadata(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		a, b := h.login(t, "alice"), h.login(t, "bob")
		a.ok(`SETMETADATA INBOX (/private/comment "mine" /SHARED/Comment {5+}` + "\r\nours!)")
		a.says(`GETMETADATA INBOX /private/comment`, `* METADATA INBOX (/private/comment "mine")`)
		a.says(`GETMETADATA INBOX (/shared/comment /private/COMMENT /private/none)`,
			`* METADATA INBOX (/shared/comment "ours!" /private/comment "mine" /private/none NIL)`)
		b.says(`GETMETADATA INBOX (/shared/comment)`, `* METADATA INBOX (/shared/comment NIL)`)
		a.ok(`SETMETADATA INBOX (/private/comment NIL /private/vendor/x "" /private/vendor/x/y "12" /private/vendor/x/y/z "123")`)
		a.says(`GETMETADATA INBOX /private/comment`, `* METADATA INBOX (/private/comment NIL)`)
		a.says(`GETMETADATA (DEPTH 1) INBOX /private/vendor/x`, `* METADATA INBOX (/private/vendor/x "" /private/vendor/x/y "12")`)
		a.says(`GETMETADATA (DEPTH 0) INBOX (/private/vendor/x)`, `* METADATA INBOX (/private/vendor/x "")`)
		a.says(`GETMETADATA INBOX (DEPTH infinity) (/private/vendor)`,
			`* METADATA INBOX (/private/vendor/x "" /private/vendor/x/y "12" /private/vendor/x/y/z "123")`)
		a.says(`GETMETADATA INBOX (DEPTH infinity) /shared`, `* METADATA INBOX (/shared/comment "ours!")`)
		a.no(`SETMETADATA INBOX (/shared "x")`, "BAD")
		got, tagged := a.do(`GETMETADATA INBOX (MAXSIZE 1 DEPTH infinity) (/private/vendor/x)`)
		if len(got) != 1 || got[0] != `* METADATA INBOX (/private/vendor/x "")` || !strings.HasPrefix(tagged, "OK [METADATA LONGENTRIES 3] ") {
			t.Fatal(got, tagged)
		}
		got, tagged = a.do(`GETMETADATA (MAXSIZE 1) INBOX (/private/vendor/x/y)`)
		if len(got) != 0 || !strings.HasPrefix(tagged, "OK [METADATA LONGENTRIES 2] ") {
			t.Fatal(got, tagged)
		}
		a.ok("SETMETADATA INBOX (/private/octets ~{3+}\r\n\x00\xff\x01)")
		a.says(`GETMETADATA INBOX /private/octets`, "* METADATA INBOX (/private/octets ~{3}\r\n\x00\xff\x01)")
		a.no(`SETMETADATA INBOX (/private/big {70000+}`+"\r\n"+strings.Repeat("x", 70000)+")", "NO [METADATA MAXSIZE 65536]")
		a.says(`GETMETADATA INBOX /private/big`, `* METADATA INBOX (/private/big NIL)`)
		a.no(`SETMETADATA nowhere (/private/comment "x")`, "NO [NONEXISTENT]")
		a.no(`GETMETADATA nowhere /private/comment`, "NO [NONEXISTENT]")
		for _, name := range []string{"comment", "/comment", "/private/", "/privatex", "/shared//x", "/private/x/", `"/private/a*"`, `"/private/a%"`, "{11+}\r\n/private/\x01x",
			`"/private/ü"`, "/private/" + strings.Repeat("x", mailbox.MaxEntry), "/other/x"} {
			a.no("GETMETADATA INBOX "+name, "BAD")
			a.no("SETMETADATA INBOX ("+name+` "x")`, "BAD")
			a.ok("NOOP")
		}
		for _, bad := range []string{"GETMETADATA", "GETMETADATA INBOX", "GETMETADATA INBOX ()", "GETMETADATA (DEPTH 2) INBOX /private/x", "GETMETADATA (NONSENSE) INBOX /private/x",
			"GETMETADATA INBOX (DEPTH 1)", "SETMETADATA INBOX", "SETMETADATA INBOX ()", "SETMETADATA INBOX (/private/x)", "SETMETADATA INBOX /private/x x",
			"SETMETADATA INBOX (/private/x atom)", `LIST "" % RETURN (METADATA ())`} {
			a.no(bad, "BAD")
			a.ok("NOOP")
		}
	})
}

func TestMetadataOfServer(t *testing.T) {
	h := newHouse(t)
	a, b := h.login(t, "alice"), h.login(t, "bob")
	a.says(`GETMETADATA "" (/shared/admin /shared/comment)`, `* METADATA "" (/shared/admin "mailto:postmaster@example.test" /shared/comment NIL)`)
	a.ok(`SETMETADATA "" (/private/vendor/x "1")`)
	a.says(`GETMETADATA "" /private/vendor/x`, `* METADATA "" (/private/vendor/x "1")`)
	b.says(`GETMETADATA "" /private/vendor/x`, `* METADATA "" (/private/vendor/x NIL)`)
	a.no(`SETMETADATA "" (/shared/comment "x")`, "NO [NOPERM]")
	a.no(`SETMETADATA "" (/shared/admin "x")`, "NO [NOPERM]")
}

func TestMetadataOfShared(t *testing.T) {
	h := newHouse(t)
	a, b := h.login(t, "alice"), h.login(t, "bob")
	const name = `"Other Users/alice@example.test/Sent"`
	a.ok(`SETMETADATA Sent (/private/comment "hers" /shared/comment "ours")`)
	b.no(`GETMETADATA `+name+` /shared/comment`, "NO [NONEXISTENT]")
	a.ok("SETACL Sent bob@example.test l")
	b.no(`GETMETADATA `+name+` /shared/comment`, "NO [NOPERM]")
	a.ok("SETACL Sent bob@example.test +r")
	b.says(`GETMETADATA `+name+` (/shared/comment /private/comment /private/specialuse)`,
		`* METADATA `+name+` (/shared/comment "ours" /private/comment NIL /private/specialuse NIL)`)
	b.no(`SETMETADATA `+name+` (/shared/comment "his")`, "NO [NOPERM]")
	b.ok(`SETMETADATA ` + name + ` (/private/comment "his")`)
	a.ok("SETACL Sent bob@example.test +w")
	b.ok(`SETMETADATA ` + name + ` (/shared/comment "his, too")`)
	a.says(`GETMETADATA Sent (/shared/comment /private/comment /private/specialuse)`,
		`* METADATA Sent (/shared/comment "his, too" /private/comment "hers" /private/specialuse "\\Sent")`)
	a.no(`SETMETADATA Sent (/private/specialuse "\\Drafts")`, "NO [USEATTR]")
	b.says(`LIST "" (Sent O*) RETURN (METADATA (/shared/comment /private/comment))`,
		`* LIST (\HasNoChildren \Sent) "/" Sent`, `* METADATA Sent (/shared/comment NIL /private/comment NIL)`,
		`* LIST (\HasNoChildren) "/" `+name, `* METADATA `+name+` (/shared/comment "his, too" /private/comment "his")`)
}

func TestMetadataTooMany(t *testing.T) {
	h := newHouse(t)
	a := h.login(t, "alice")
	set := func(from, to int) (tagged string) {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, ` /private/n%d "x"`, i)
		}
		_, tagged = a.do("SETMETADATA INBOX (" + b.String()[1:] + ")")
		return tagged
	}
	if got := set(0, 500) + set(500, 990); strings.Contains(got, "NO") {
		t.Fatal(got)
	}
	if got := set(980, 1010); !strings.HasPrefix(got, "NO [METADATA TOOMANY]") {
		t.Fatal(got)
	}
	a.says("GETMETADATA INBOX /private/n995", "* METADATA INBOX (/private/n995 NIL)") // all of it or none
	a.ok(`SETMETADATA INBOX (/private/n0 "other")`)
	if got := set(0, maxAsked+1); !strings.HasPrefix(got, "BAD") {
		t.Fatal(got)
	}
}
