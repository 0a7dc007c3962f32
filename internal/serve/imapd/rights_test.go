package imapd

import (
	"fmt"
	"testing"
)

// TestRights: what one may do with messages of another's mailbox (RFC 4314
// section 4).
func TestRights(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		a, b := h.login(t, "alice"), h.login(t, "bob")
		a.ok("ENABLE IMAP4rev2")
		b.ok("ENABLE IMAP4rev2")
		a.ok("CREATE Work")
		const work = `"Other Users/alice@example.test/Work"`
		message := fmt.Sprintf("{%d+}\r\n%s", len(simple), simple)
		grant := func(rights string) {
			t.Helper()
			a.ok("SETACL Work bob@example.test " + rights)
			b.ok("UNSELECT")
			b.ok("SELECT " + work)
		}
		for range 3 {
			a.ok("APPEND Work " + message)
		}
		a.ok("SELECT Work")
		b.ok("SELECT INBOX")
		b.ok(`APPEND INBOX (\Seen \Deleted word) ` + message)

		b.no("APPEND "+work+" {3}", "NO [TRYCREATE]") // may not even see it
		grant("lr")
		b.no("APPEND "+work+" {3}", "NO [NOPERM]")
		b.no(`STORE 1 +FLAGS \Seen`, "NO [READ-ONLY]")
		b.no("EXPUNGE", "NO [READ-ONLY]")
		b.no("MOVE 1 INBOX", "NO [READ-ONLY]")
		b.no("REPLACE 1 INBOX {3}", "NO [READ-ONLY]")
		b.tells("FETCH 1 BODY[TEXT]", "OK", "* 1 FETCH (BODY[TEXT] {6}\r\nbody\r\n)")
		b.ok("COPY 1 INBOX")
		grant("lrs")
		b.tells(`STORE 1 +FLAGS (\Seen \Flagged word)`, "OK", `* 1 FETCH (FLAGS (\Seen))`)
		b.no(`STORE 1 +FLAGS (\Flagged)`, "NO [NOPERM]")
		b.tells("FETCH 2 BODY[TEXT]", "OK", "* 2 FETCH (FLAGS (\\Seen) BODY[TEXT] {6}\r\nbody\r\n)")
		a.ok(`STORE 3 FLAGS (\Flagged word \Deleted)`)
		b.tells(`STORE 3 FLAGS (\Seen)`, "OK", `* 3 FETCH (FLAGS (\Deleted \Flagged \Seen word))`)
		grant("lrwi")
		b.tells(`STORE 3 FLAGS (\Draft other)`, "OK", `* 3 FETCH (FLAGS (\Deleted \Draft \Seen other))`)
		b.no("EXPUNGE", "NO [NOPERM]")
		// What comes there has no flags that one may not set.
		b.ok(`APPEND ` + work + ` (\Seen \Deleted \Flagged word) ` + message)
		b.tells("FETCH 4 FLAGS", "OK", `* 4 FETCH (FLAGS (\Flagged word))`)
		b.ok("SELECT INBOX")
		b.ok("COPY 1 " + work)
		b.ok("SELECT " + work)
		b.tells("FETCH 5 FLAGS", "OK", `* 5 FETCH (FLAGS (word))`)
		grant("lri")
		b.ok("SELECT INBOX")
		b.ok("MOVE 1 " + work)
		b.ok("SELECT " + work)
		b.tells("FETCH 6 FLAGS", "OK", `* 6 FETCH (FLAGS ())`)
		grant("lrte")
		validity := number(t, b.ok("STATUS Trash (UIDVALIDITY)")[0], "UIDVALIDITY")
		b.tells("MOVE 6 Trash", "OK MOVE", "* OK [COPYUID "+validity+" 6 1] Moved", "* 6 EXPUNGE")
		b.tells("EXPUNGE", "OK", "* 3 EXPUNGE")
	})
}
