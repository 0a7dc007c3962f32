package imapd

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// inbox gives alice's INBOX.
func (h *house) inbox(t testing.TB) mailbox.Folder {
	t.Helper()
	f, err := h.Mailboxes.Folder(context.Background(), 1, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// letters are the messages of most tests here.
var letters = []string{
	"From: Alice Aoki <alice@example.test>\r\nTo: bob@example.test\r\nSubject: Minutes of Monday\r\n" +
		"Message-ID: <1@example.test>\r\nDate: Mon, 02 Nov 2026 23:30:00 -0800\r\n\r\nHello Bob,\r\nthe minutes are attached.\r\n",
	"From: bob@example.test (Bob Baba)\r\nTo: =?utf-8?B?6Z2S5pyo?= <alice@example.test>\r\nCc: team: carol@example.test;\r\n" +
		"Subject: =?iso-2022-jp?B?UmU6IBskQjVEO3Y9PxsoQg==?=\r\nMessage-ID: <2@example.test>\r\nReferences: <1@example.test>\r\n" +
		"Date: Tue, 03 Nov 2026 09:00:00 +0900\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B5D;vO?$r3NG'\x1b(B\r\n",
	"From: carol@example.test\r\nSubject: Re: Minutes of Monday\r\nX-Note:\r\nX-Extra: one\r\nX-Extra: two\r\n" +
		"Message-ID: <3@example.test>\r\nIn-Reply-To: <1@example.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<b>caf=C3=A9</b> at noon\r\n" +
		"--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=x.pdf\r\n\r\nminutes\r\n--b--\r\n",
	"\r\nno header at all\r\n",
}

func letterbox(t testing.TB) (*house, *client) {
	t.Helper()
	h := newHouseWith(t, func(s *Server) { s.Shelf = &Shelf{} })
	for _, l := range letters {
		h.deliver(t, 1, "INBOX", l)
	}
	h.flag(t, h.inbox(t), 1, mailbox.Add, mailbox.Seen|mailbox.Flagged)
	h.flag(t, h.inbox(t), 2, mailbox.Add, mailbox.Seen, "$Work")
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	return h, c
}

// first gives the first untagged response of a command that succeeds.
func (c *client) first(command string) string {
	c.t.Helper()
	lines := c.ok(command)
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

func TestSearchKeys(t *testing.T) {
	_, c := letterbox(t)
	for keys, want := range map[string]string{
		"ALL": "1 2 3 4", "2:3": "2 3", "4:2": "2 3 4", "*": "4", "9:*": "4", "7": "", "NOT 2,4": "1 3", "UID 2:3,9": "2 3", "UID 9:*": "4",
		"(1) UID 1": "1", "OR 1 OR 2 OR UID 3 7": "1 2 3", "NOT (OR 1 2) NOT NOT 3": "3",

		"SEEN": "1 2", "UNSEEN": "3 4", "FLAGGED": "1", "SEEN UNFLAGGED": "2", "UNDELETED UNDRAFT UNANSWERED": "1 2 3 4", "DELETED": "",
		"KEYWORD $work": "2", "UNKEYWORD $Work": "1 3 4",

		"FROM alice": "1", `FROM "aoki <ALICE@"`: "1", `FROM "Bob Baba"`: "2", "TO 青木": "2", "TO 青": "2", "CC team": "2", "CC carol@example": "2",
		"BCC a": "", `SUBJECT "minutes of"`: "1 3", "SUBJECT 議事": "2", "SUBJECT ＭＯＮＤＡＹ": "1 3", `SUBJECT ""`: "1 2 3 4",
		`HEADER Message-ID "<1@example.test>"`: "1", "HEADER References <1@example.test>": "2", `HEADER X-Note ""`: "3", "HEADER X-Extra TWO": "3",
		`HEADER To ""`: "1 2", `HEADER Cc ""`: "2", `NOT HEADER Subject ""`: "4", `HEADER date "nov 2026"`: "1 2", `HEADER X-None ""`: "",

		"BODY minutes": "1", `BODY "BOB, the"`: "1", "BODY 議事録": "2", "BODY 事録を確": "2", "BODY CAFÉ": "3", "BODY café": "3", "BODY header": "4",
		"TEXT minutes": "1 3", "TEXT x-extra": "3", `TEXT "header at all"`: "4", "NOT TEXT minutes": "2 4", `BODY ""`: "1 2 3 4",
		"OR SUBJECT monday BODY header": "1 3 4", "UNSEEN BODY minutes": "", "SEEN NOT BODY minutes": "2",

		"SENTON 2-Nov-2026": "1", `SENTON "3-Nov-2026"`: "2", "SENTBEFORE 3-Nov-2026": "1", "SENTSINCE 3-nov-2026": "2", "NOT SENTSINCE 3-Nov-2026": "1 3 4",
		"SINCE 1-Jan-2020": "1 2 3 4", "BEFORE 1-Jan-2020": "", "SAVEDSINCE 1-Jan-2020": "1 2 3 4", "SAVEDATESUPPORTED": "1 2 3 4", "SAVEDBEFORE 1-Jan-2020": "",
		"YOUNGER 3600": "1 2 3 4", "OLDER 3600": "", "LARGER 300": "2 3", "SMALLER 30": "4", "NOT LARGER 300": "1 4", "THREADID T1": "", "EMAILID M0": "",
	} {
		want := strings.TrimSuffix("* SEARCH "+want, " ")
		if got := c.first("SEARCH " + keys); got != want {
			t.Errorf("SEARCH %s: %q, want %q", keys, got, want)
		}
		if got := c.first("UID SEARCH CHARSET utf-8 " + keys); got != want {
			t.Errorf("UID SEARCH %s: %q, want %q", keys, got, want)
		}
	}
}

func TestSearchCharsets(t *testing.T) {
	_, c := letterbox(t)
	for charset, text := range map[string]string{
		"ISO-2022-JP": "\x1b$B5D;v\x1b(B", "Shift_JIS": "\x8bc\x8e\x96", "euc-jp": "\xb5\xc4\xbb\xf6", "UTF-8": "議事", "cp932": "\x8bc\x8e\x96",
	} {
		if got := c.first(fmt.Sprintf("SEARCH CHARSET %s SUBJECT {%d+}\r\n%s", charset, len(text), text)); got != "* SEARCH 2" {
			t.Errorf("%s: %q", charset, got)
		}
	}
	c.no("SEARCH CHARSET x-nothing SUBJECT a", "NO [BADCHARSET (US-ASCII UTF-8 ")
	c.no("SORT (DATE) x-nothing ALL", "NO [BADCHARSET (US-ASCII UTF-8 ")
	if got := c.first("UID SORT (SUBJECT) SHIFT_JIS SUBJECT {4+}\r\n\x8bc\x8e\x96"); got != "* SORT 2" {
		t.Error(got)
	}
}

func TestSearchThatIsWrong(t *testing.T) {
	h, c := letterbox(t)
	h.limits.Faults = 1000
	for _, command := range []string{
		"SEARCH", "SEARCH ", "SEARCH NONSENSE", "SEARCH 0", "SEARCH 1:", "SEARCH NOT", "SEARCH OR 1", "SEARCH (1", "SEARCH ()", "SEARCH ALL)", "SEARCH FROM",
		"SEARCH ON 30-Feb-2026", "SEARCH ON yesterday", "SEARCH LARGER x", "SEARCH YOUNGER 0", "SEARCH MODSEQ", `SEARCH MODSEQ "/x" all 1`,
		`SEARCH MODSEQ "/flags/\\Seen" some 1`, "SEARCH RETURN ALL", "SEARCH RETURN (ALL)", "SEARCH RETURN (NONSENSE) ALL", "SEARCH RETURN (PARTIAL 1) ALL",
		"SEARCH RETURN (PARTIAL 1:*) ALL", "SEARCH RETURN (PARTIAL *:1) ALL", "SEARCH RETURN (PARTIAL -1:2) ALL", "SEARCH RETURN (PARTIAL 0:2) ALL",
		"SEARCH RETURN (PARTIAL 1:2 ALL) ALL", "SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL", "SEARCH CHARSET utf-8", "SEARCH FUZZY SUBJECT a",
		"SORT DATE utf-8 ALL", "SORT () utf-8 ALL", "SORT (REVERSE) utf-8 ALL", "SORT (NAME) utf-8 ALL", "SORT (DATE) utf-8", "SORT (DATE)",
		"THREAD REFS utf-8 ALL", "THREAD REFERENCES utf-8", "THREAD REFERENCES",
		"SEARCH " + strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200), "SEARCH " + strings.Repeat("NOT ", 200) + "1",
		"SEARCH " + strings.Repeat("OR ", 200) + strings.Repeat("1 ", 201), "SEARCH" + strings.Repeat(" SEEN", 1500), "SEARCH" + strings.Repeat(" 1", 1500),
	} {
		c.no(command, "BAD ")
	}
	if got := c.first("SEARCH " + strings.Repeat("OR 1 ", 300) + "2"); got != "* SEARCH 1 2" {
		t.Error(got)
	}
}

func TestSearchKnowsWhatTheClientWasTold(t *testing.T) {
	h, c := letterbox(t)
	h.expunge(t, h.inbox(t), 2)
	h.deliver(t, 1, "INBOX", letters[0])
	// The client has not heard of either when the search begins.
	if got := c.ok("SEARCH SUBJECT minutes"); got[0] != "* SEARCH 1 3" || got[1] != "* 5 EXISTS" {
		t.Errorf("%q", got)
	}
	if got := c.ok("UID SEARCH SUBJECT minutes"); got[0] != "* SEARCH 1 3 5" || got[1] != "* 2 EXPUNGE" {
		t.Errorf("%q", got)
	}
	if got := c.first("SEARCH SUBJECT minutes"); got != "* SEARCH 1 2 4" {
		t.Errorf("%q", got)
	}
}

func TestExtendedSearch(t *testing.T) {
	_, c := letterbox(t)
	for command, want := range map[string]string{
		"SEARCH RETURN () ALL":                                  " ALL 1:4",
		"SEARCH RETURN (ALL) NOT 2":                             " ALL 1,3:4",
		"UID SEARCH RETURN (MIN MAX COUNT) NOT 4":               " UID MIN 1 MAX 3 COUNT 3",
		"SEARCH RETURN (MIN MAX ALL COUNT) 7":                   " COUNT 0",
		"SEARCH RETURN (MIN) 7":                                 "",
		"SEARCH RETURN (PARTIAL 1:2) ALL":                       " PARTIAL (1:2 1:2)",
		"SEARCH RETURN (PARTIAL 3:2) NOT 2":                     " PARTIAL (2:3 3:4)",
		"SEARCH RETURN (PARTIAL 5:9) ALL":                       " PARTIAL (5:9 NIL)",
		"UID SEARCH RETURN (PARTIAL -1:-2) ALL":                 " UID PARTIAL (-1:-2 3:4)",
		"SEARCH RETURN (PARTIAL -9:-4) ALL":                     " PARTIAL (-4:-9 1)",
		"SEARCH RETURN (COUNT PARTIAL 2:2) ALL":                 " COUNT 4 PARTIAL (2:2 2)",
		"SORT RETURN (MIN MAX ALL COUNT) (SIZE) utf-8 ALL":      " MIN 4 MAX 3 ALL 4,1:3 COUNT 4",
		"SORT RETURN (PARTIAL 2:3) (REVERSE SIZE) us-ascii 1:3": " PARTIAL (2:3 2,1)",
	} {
		got := c.first(command)
		if want := fmt.Sprintf(`* ESEARCH (TAG "t%d")%s`, c.tag, want); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}

func TestSearchModSeq(t *testing.T) {
	h, c := letterbox(t)
	f := h.inbox(t)
	modseq := func(uid uint32) int64 {
		m, err := h.Mailboxes.Message(context.Background(), f.ID, uid)
		if err != nil {
			t.Fatal(err)
		}
		return m.ModSeq
	}
	one, two, three, four := modseq(1), modseq(2), modseq(3), modseq(4)
	if !(three < four && four < one && one < two) {
		t.Fatal(one, two, three, four)
	}
	for command, want := range map[string]string{
		fmt.Sprintf("SEARCH MODSEQ %d", one):                                    fmt.Sprintf("* SEARCH 1 2 (MODSEQ %d)", two),
		fmt.Sprintf(`UID SEARCH MODSEQ "/flags/\\seen" all %d NOT UID 2`, four): fmt.Sprintf("* SEARCH 1 4 (MODSEQ %d)", one),
		fmt.Sprintf("SEARCH MODSEQ %d", two+1):                                  "* SEARCH",
		fmt.Sprintf("SORT (REVERSE SIZE) utf-8 MODSEQ %d", one):                 fmt.Sprintf("* SORT 2 1 (MODSEQ %d)", two),
		"SEARCH RETURN (MIN) MODSEQ 1":                                          fmt.Sprintf("* ESEARCH (TAG %%s) MIN 1 MODSEQ %d", one),
		"SEARCH RETURN (MAX) MODSEQ 1":                                          fmt.Sprintf("* ESEARCH (TAG %%s) MAX 4 MODSEQ %d", four),
		"SEARCH RETURN (MIN MAX) MODSEQ 1":                                      fmt.Sprintf("* ESEARCH (TAG %%s) MIN 1 MAX 4 MODSEQ %d", one),
		"SEARCH RETURN (MAX COUNT) MODSEQ 1":                                    fmt.Sprintf("* ESEARCH (TAG %%s) MAX 4 COUNT 4 MODSEQ %d", two),
		"SEARCH RETURN (PARTIAL 3:4) MODSEQ 1":                                  fmt.Sprintf("* ESEARCH (TAG %%s) PARTIAL (3:4 3:4) MODSEQ %d", four),
		"SEARCH RETURN () MODSEQ 1 SUBJECT nothing":                             "* ESEARCH (TAG %s)",
	} {
		got := c.ok(command)
		want = strings.ReplaceAll(want, "%s", fmt.Sprintf(`"t%d"`, c.tag))
		has(t, got, want)
	}
}

func TestSearchSave(t *testing.T) {
	h, c := letterbox(t)
	if got := c.ok("SEARCH RETURN (SAVE) NOT 3"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := c.first("SEARCH $"); got != "* SEARCH 1 2 4" {
		t.Error(got)
	}
	if got := c.first("SEARCH NOT $"); got != "* SEARCH 3" {
		t.Error(got)
	}
	h.expunge(t, h.inbox(t), 2)
	c.ok("NOOP")
	if got := c.first("UID SEARCH UID $ OR $ ALL"); got != "* SEARCH 1 4" {
		t.Error(got)
	}
	if got := c.first("SEARCH RETURN (SAVE COUNT) $ SMALLER 100"); !strings.HasSuffix(got, " COUNT 1") {
		t.Error(got)
	}
	if got := c.first("UID SEARCH $"); got != "* SEARCH 4" {
		t.Error(got)
	}
	for options, want := range map[string]string{"MIN": "1", "MAX": "4", "MIN MAX": "1 4", "MIN ALL": "1 3 4", "MIN COUNT": "1 3 4",
		"PARTIAL 2:2": "3", "MAX PARTIAL 2:2": "3 4"} {
		c.ok("SEARCH RETURN (SAVE " + options + ") ALL")
		if got := c.first("UID SEARCH $"); got != "* SEARCH "+want {
			t.Errorf("%s: %s", options, got)
		}
	}
	c.no("SEARCH RETURN (SAVE BAD) ALL", "BAD ")
	if got := c.first("UID SEARCH $"); !strings.HasPrefix(got, "* SEARCH ") {
		t.Error("BAD took the result away")
	}
	c.no("SEARCH RETURN (SAVE) CHARSET x-nothing ALL", "NO [BADCHARSET")
	if got := c.first("UID SEARCH $"); got != "* SEARCH" {
		t.Error(got)
	}
	c.ok("UID SORT RETURN (SAVE) (SIZE) utf-8 ALL")
	if got := c.first("SEARCH $"); got != "* SEARCH 1 2 3" {
		t.Error(got)
	}
	c.ok("SELECT INBOX")
	if got := c.first("SEARCH $"); got != "* SEARCH" {
		t.Error(got)
	}
}

func TestSort(t *testing.T) {
	_, c := letterbox(t)
	for command, want := range map[string]string{
		"SORT (SUBJECT) utf-8 ALL":                "* SORT 4 1 3 2",
		"UID SORT (REVERSE SUBJECT) utf-8 ALL":    "* SORT 2 1 3 4",
		"SORT (DATE) utf-8 1:2":                   "* SORT 2 1",
		"SORT (FROM) utf-8 ALL":                   "* SORT 4 1 2 3",
		"SORT (DISPLAYFROM) utf-8 ALL":            "* SORT 4 1 2 3",
		"SORT (TO REVERSE SIZE) utf-8 ALL":        "* SORT 3 4 2 1",
		"SORT (CC) utf-8 ALL":                     "* SORT 1 3 4 2",
		"SORT (SIZE) utf-8 UNSEEN":                "* SORT 4 3",
		"SORT (ARRIVAL) utf-8 BODY header":        "* SORT 4",
		"SORT (SUBJECT) utf-8 7":                  "* SORT",
		"THREAD REFERENCES utf-8 ALL":             "* THREAD (1 (2)(3))(4)",
		"UID THREAD REFERENCES utf-8 UNSEEN":      "* THREAD (3)(4)",
		"THREAD ORDEREDSUBJECT utf-8 1:3":         "* THREAD (2)(1 3)",
		"THREAD REFERENCES utf-8 SUBJECT nothing": "* THREAD",
	} {
		if got := c.first(command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}

func TestSearchRecent(t *testing.T) {
	h := newHouse(t)
	h.Shelf.mu.Lock()
	h.Shelf.begun = time.Now().Add(-time.Hour)
	h.Shelf.mu.Unlock()
	h.fill(t, 2)
	h.flag(t, h.inbox(t), 1, mailbox.Add, mailbox.Seen)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	for keys, want := range map[string]string{"RECENT": " 1 2", "NEW": " 2", "OLD": "", "NOT RECENT": "", "OR OLD SEEN": " 1"} {
		if got := c.first("SEARCH " + keys); got != "* SEARCH"+want {
			t.Errorf("%s: %q", keys, got)
		}
	}
	c.ok("ENABLE IMAP4rev2")
	if got := c.first("SEARCH RECENT"); got != fmt.Sprintf(`* ESEARCH (TAG "t%d")`, c.tag) {
		t.Error(got)
	}
}

// TestSearchEndsWithTheConnection does not wait for a search that nobody waits
// for.
func TestSearchEndsWithTheConnection(t *testing.T) {
	h := newHouse(t)
	h.fill(t, 300)
	c := h.login(t, "alice")
	c.ok("SELECT INBOX")
	for range 3 {
		c.send("a SEARCH " + strings.Repeat("OR BODY nowhere ", 500) + "BODY x\r\n")
	}
	c.nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestSearchAfterEnable(t *testing.T) {
	_, c := letterbox(t)
	c.ok("ENABLE IMAP4rev2")
	same(t, c.ok("SEARCH SUBJECT minutes"), fmt.Sprintf(`* ESEARCH (TAG "t%d") ALL 1,3`, c.tag))
	same(t, c.ok("UID SEARCH 7"), fmt.Sprintf(`* ESEARCH (TAG "t%d") UID`, c.tag))
	same(t, c.ok("SEARCH CHARSET utf-8 SUBJECT 議事"), fmt.Sprintf(`* ESEARCH (TAG "t%d") ALL 2`, c.tag))
	same(t, c.ok("SORT (SUBJECT) utf-8 ALL"), "* SORT 4 1 3 2")
	c.ok("ENABLE UTF8=ACCEPT")
	c.no("SEARCH CHARSET utf-8 SUBJECT a", "BAD ")
	same(t, c.ok("SEARCH SUBJECT 議事"), fmt.Sprintf(`* ESEARCH (TAG "t%d") ALL 2`, c.tag))
	c.ok("ENABLE UIDONLY")
	for _, command := range []string{"SEARCH ALL", "UID SEARCH 1", "UID SEARCH NOT 1:2", "SORT (DATE) utf-8 ALL", "THREAD REFERENCES utf-8 ALL", "UID THREAD REFERENCES utf-8 1"} {
		c.no(command, "BAD [UIDREQUIRED]")
	}
	same(t, c.ok("UID SEARCH UID 1:2"), fmt.Sprintf(`* ESEARCH (TAG "t%d") UID ALL 1:2`, c.tag))
}
