package imapd

import (
	"strings"
	"testing"
)

func TestACL(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		a, b := h.login(t, "alice"), h.login(t, "bob")
		const all = "lrswipkxteacd"
		a.ok("CREATE Work")
		a.says("MYRIGHTS Work", "* MYRIGHTS Work "+all)
		a.says("GETACL Work", "* ACL Work alice@example.test "+all)
		a.says("LISTRIGHTS Work bob@example.test", `* LISTRIGHTS Work bob@example.test "" l r s w i p k x t e a c d`)
		a.says("LISTRIGHTS Work alice@example.test", `* LISTRIGHTS Work alice@example.test `+all)
		a.says("LISTRIGHTS Work anyone", `* LISTRIGHTS Work anyone "" l r s w i p k x t e a c d`)

		a.ok("SETACL Work BOB@example.test lr")
		a.says("GETACL Work", "* ACL Work alice@example.test "+all+" bob@example.test lr")
		a.ok("SETACL Work bob@example.test +cd")
		a.says("GETACL Work", "* ACL Work alice@example.test "+all+" bob@example.test lrkxtecd")
		a.ok("SETACL Work bob@example.test -xek")
		a.says("GETACL Work", "* ACL Work alice@example.test "+all+" bob@example.test lrtd")
		b.says(`MYRIGHTS "Other Users/alice@example.test/Work"`, `* MYRIGHTS "Other Users/alice@example.test/Work" lrtd`)
		a.ok("SETACL Work anyone l")
		a.says("GETACL Work", "* ACL Work alice@example.test "+all+" anyone l bob@example.test lrtd")
		a.ok("DELETEACL Work bob@example.test")
		a.ok("DELETEACL Work carol@example.test")
		a.says("GETACL Work", "* ACL Work alice@example.test "+all+" anyone l")
		a.ok(`SETACL Work anyone ""`)
		a.says("GETACL Work", "* ACL Work alice@example.test "+all)

		// The owner cannot lock himself out.
		a.no("SETACL Work alice@example.test lr", "NO [CANNOT]")
		a.no("SETACL Work alice@example.test -a", "NO [CANNOT]")
		a.no("DELETEACL Work alice@example.test", "NO [CANNOT]")
		a.ok("SETACL Work alice@example.test " + all)
		a.ok("SETACL Work alice@example.test +l")

		for _, who := range []string{"nobody@example.test", "-bob@example.test", `""`, "administrators", "-bob", `"Other Users/bob@example.test"`} {
			a.no("SETACL Work "+who+" lr", "NO [CANNOT]")
			a.no("DELETEACL Work "+who, "NO [CANNOT]")
			a.no("LISTRIGHTS Work "+who, "NO [CANNOT]")
		}
		for _, bad := range []string{"SETACL Work bob@example.test lrz", "SETACL Work bob@example.test L", "SETACL Work bob@example.test l0",
			"SETACL Work bob@example.test", "SETACL Work", "GETACL", "GETACL Work x", "DELETEACL Work", "LISTRIGHTS Work", "MYRIGHTS"} {
			a.no(bad, "BAD")
			a.ok("NOOP")
		}
		for _, cmd := range []string{"GETACL nowhere", "SETACL nowhere anyone l", "DELETEACL nowhere anyone", "LISTRIGHTS nowhere anyone", "MYRIGHTS nowhere"} {
			a.no(cmd, "NO [NONEXISTENT]")
		}
	})
}

// TestSecrets is what somebody without rights must not find out: what exists
// and what does not gives the same answers.
func TestSecrets(t *testing.T) {
	h := newHouse(t)
	a, b := h.login(t, "alice"), h.login(t, "bob")
	a.ok("CREATE Work")
	for _, cmd := range []string{"SELECT %", "EXAMINE %", "STATUS % (MESSAGES)", "GETACL %", "SETACL % bob@example.test lr", "DELETEACL % bob@example.test",
		"LISTRIGHTS % bob@example.test", "MYRIGHTS %", "SUBSCRIBE %", "UNSUBSCRIBE %", "DELETE %", "RENAME % x", "RENAME Sent %", "CREATE %", "CREATE %/x",
		"GETQUOTAROOT %", "GETMETADATA % /shared/comment", `SETMETADATA % (/shared/comment "x")`, `LIST "" %`, `LIST "" % RETURN (STATUS (MESSAGES))`, `LSUB "" %`} {
		var first string
		for _, name := range []string{"alice@example.test/Work", "alice@example.test/None", "nobody@example.test/Work", "nobody@nowhere.test/INBOX"} {
			untagged, tagged := b.do(strings.Replace(cmd, "%", `"Other Users/`+name+`"`, 1))
			if strings.HasSuffix(cmd, "%/x") {
				untagged, tagged = b.do(`CREATE "Other Users/` + name + `/x"`)
			}
			if len(untagged) > 0 {
				t.Errorf("%s of %s: %q", cmd, name, untagged)
			}
			if first == "" {
				first = tagged
			}
			if tagged != first {
				t.Errorf("%s of %s: %q, but %q", cmd, name, tagged, first)
			}
		}
	}
}

func TestSharedMailbox(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		a, b := h.login(t, "alice"), h.login(t, "bob")
		const work = `"Other Users/alice@example.test/Work"`
		a.ok("CREATE Work")
		a.ok("CREATE Work/deep/er")
		h.deliver(t, 1, "Work", "Subject: one\r\n\r\ntext\r\n")
		b.empty()
		b.says(`LIST "" *`, `* LIST (\HasNoChildren) "/" INBOX`)

		a.ok("SETACL Work bob@example.test l")
		b.says(`LIST "" %`, `* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\NonExistent \Noselect \HasChildren) "/" "Other Users"`)
		b.says(`LIST "" "Other Users/%"`, `* LIST (\NonExistent \Noselect \HasChildren) "/" "Other Users/alice@example.test"`)
		b.says(`LIST "Other Users/" *`, `* LIST (\HasNoChildren) "/" `+work)
		b.no("SELECT "+work, "NO [NOPERM]")
		b.no("STATUS "+work+" (MESSAGES)", "NO [NOPERM]")
		b.says(`LIST "" O* RETURN (STATUS (MESSAGES) MYRIGHTS)`, `* LIST (\HasNoChildren) "/" `+work, `* MYRIGHTS `+work+` l`)
		b.ok("SUBSCRIBE " + work)
		b.says(`LSUB "" *`, `* LSUB () "/" `+work)
		b.ok(`SUBSCRIBE "Other Users/ALICE@Example.Test/Work"`) // the same
		b.says(`LSUB "" *`, `* LSUB () "/" `+work)

		a.ok("SETACL Work bob@example.test lr")
		b.says(`LIST "" O* RETURN (STATUS (MESSAGES) SUBSCRIBED)`, `* LIST (\HasNoChildren \Subscribed) "/" `+work, `* STATUS `+work+` (MESSAGES 1)`)
		has(t, b.ok("SELECT "+work), "* 1 EXISTS")
		b.says("GETQUOTAROOT "+work, "* QUOTAROOT "+work)
		b.no("CREATE "+strings.TrimSuffix(work, `"`)+`/new"`, "NO [NOPERM]")
		b.no("DELETE "+work, "NO [NOPERM]")
		b.no("RENAME "+work+" mine", "NO [NOPERM]")
		b.no("GETACL "+work, "NO [NOPERM]")
		b.no("SETACL "+work+" bob@example.test lra", "NO [NOPERM]")

		a.ok("SETACL Work bob@example.test +kx")
		b.ok("CREATE " + strings.TrimSuffix(work, `"`) + `/new"`)
		a.says("GETACL Work/new", "* ACL Work/new alice@example.test lrswipkxteacd bob@example.test lrkxc")
		b.no("CREATE "+strings.TrimSuffix(work, `"`)+`/sent" (USE (\Sent))`, "NO [USEATTR]")
		b.no("RENAME "+strings.TrimSuffix(work, `"`)+`/new" mine`, "NO [CANNOT]")
		b.no("RENAME Sentinel "+strings.TrimSuffix(work, `"`)+`/mine"`, "NO")
		b.ok("RENAME " + strings.TrimSuffix(work, `"`) + `/new" ` + strings.TrimSuffix(work, `"`) + `/newer"`)
		b.no("RENAME "+strings.TrimSuffix(work, `"`)+`/newer" "Other Users/alice@example.test/newer"`, "NO [NOPERM]")
		b.ok("DELETE " + strings.TrimSuffix(work, `"`) + `/newer"`)
	})
}

func TestSharedAdministration(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		a, b := h.login(t, "alice"), h.login(t, "bob")
		const work = `"Other Users/alice@example.test/Work"`
		a.ok("CREATE Work")
		h.deliver(t, 1, "Work", "Subject: one\r\n\r\ntext\r\n")
		// Who administers may give, and take it all back from himself.
		a.ok("SETACL Work bob@example.test lra")
		b.ok("SETACL " + work + " carol lr")
		b.no("SETACL "+work+" alice@example.test l", "NO [CANNOT]")
		b.ok("SETACL " + work + " bob@example.test -lra")
		b.no("MYRIGHTS "+work, "NO [NONEXISTENT]")
		b.ok("UNSUBSCRIBE " + work)
		a.ok("SETACL Work bob@example.test l")
		b.ok("SUBSCRIBE " + work)
		a.ok("DELETEACL Work bob@example.test")
		b.says(`LIST "" O*`)
		b.says(`LIST (SUBSCRIBED) "" O*`, `* LIST (\NonExistent \Subscribed) "/" `+work)
		b.ok("UNSUBSCRIBE " + work)
		b.says(`LIST (SUBSCRIBED) "" O*`)

		// To read without a look at the list is possible (RFC 4314 section 4).
		a.ok("SETACL Work bob@example.test r")
		b.says(`LIST "" O*`)
		b.says("STATUS "+work+" (MESSAGES)", "* STATUS "+work+" (MESSAGES 1)")
		b.no("SUBSCRIBE "+work, "NO [NONEXISTENT]")
		b.no("DELETE "+work, "NO [NONEXISTENT]")
		// The INBOX of others stays theirs.
		a.ok("SETACL INBOX bob@example.test lrkx")
		b.no(`RENAME "Other Users/alice@example.test/INBOX" "Other Users/alice@example.test/INBOX/x"`, "NO [CANNOT]")
		b.no(`DELETE "Other Users/alice@example.test/INBOX"`, "NO [CANNOT]")
		// One's own mailboxes have no second name.
		a.no(`SELECT "Other Users/alice@example.test/INBOX"`, "NO [NONEXISTENT]")
	})
}

// TestRightsAreTaken takes them while the mailbox is selected.
func TestRightsAreTaken(t *testing.T) {
	h := newHouse(t)
	a, b := h.login(t, "alice"), h.login(t, "bob")
	const work = `"Other Users/alice@example.test/Work"`
	a.ok("CREATE Work")
	a.ok("SETACL Work bob@example.test lrw")
	h.deliver(t, 1, "Work", "Subject: one\r\n\r\ntext\r\n")
	b.ok("SELECT " + work)
	b.ok(`STORE 1 +FLAGS (\Flagged)`)
	a.ok("SETACL Work bob@example.test -w")
	b.no(`STORE 1 -FLAGS (\Flagged)`, "NO [NOPERM]")
	a.ok("SETACL Work bob@example.test -r")
	if got, tagged := b.do("FETCH 1 BODY.PEEK[]"); !strings.HasPrefix(tagged, "NO [NONEXISTENT]") || len(got) > 0 {
		t.Fatal(got, tagged)
	}
	if line := b.line(); !strings.HasPrefix(line, "* BYE") {
		t.Fatal(line)
	}

	a.ok("SETACL Work bob@example.test lr")
	b = h.login(t, "bob")
	b.ok("SELECT " + work)
	b.send("i IDLE\r\n")
	if line := b.line(); !strings.HasPrefix(line, "+") {
		t.Fatal(line)
	}
	a.ok("DELETEACL Work bob@example.test")
	if line := b.line(); !strings.HasPrefix(line, "* BYE") {
		t.Fatal(line)
	}
}
