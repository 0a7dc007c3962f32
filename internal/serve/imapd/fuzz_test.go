package imapd

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// fuzzMemory is what a session may allocate in all, in octets. The fuzzer's
// inputs have less than a megabyte.
const fuzzMemory = 512 << 20

// sessions are what clients say, to begin with.
var sessions = []string{
	"a SELECT INBOX\r\nb FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (Subject To)]<0.10>)\r\nc LOGOUT\r\n",
	"a SELECT INBOX (CONDSTORE)\r\nb STORE 1:2 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Deleted $x)\r\nc UID EXPUNGE 1:*\r\nd CLOSE\r\n",
	"a ENABLE QRESYNC UIDONLY IMAP4rev2 UTF8=ACCEPT\r\nb SELECT INBOX (QRESYNC (1 1 1:5 (1,3 1,3)))\r\nc UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)\r\n",
	"a APPEND INBOX (\\Seen) \" 1-Jan-2024 00:00:00 +0000\" {10}\r\nA: b\r\n\r\nxx\r\nb APPEND INBOX ~{5+}\r\na\x00b\r\n {3+}\r\nabc\r\n",
	"a APPEND INBOX CATENATE (URL \"/INBOX/;UID=1\" TEXT {3+}\r\nabc)\r\nb SELECT INBOX\r\nc REPLACE 1 INBOX {4+}\r\nabcd\r\n",
	"a EXAMINE INBOX\r\nb UID SEARCH RETURN (MIN MAX COUNT SAVE PARTIAL 1:5) CHARSET UTF-8 OR (NOT SUBJECT {2+}\r\nhi) HEADER X \"\" SINCE 1-Jan-2020\r\nc FETCH $ FLAGS\r\n",
	"a SELECT INBOX\r\nb SORT (REVERSE DATE SUBJECT) UTF-8 ALL\r\nc UID THREAD REFERENCES UTF-8 1:* UNSEEN\r\nd SEARCH MODSEQ 1\r\n",
	"a SELECT INBOX\r\nb COPY 1 Trash\r\nc UID MOVE 1:2 Archive\r\nd EXPUNGE\r\ne UNSELECT\r\n",
	"a CREATE \"a/b\" (USE (\\Junk))\r\nb LIST (SUBSCRIBED) \"\" (% *) RETURN (CHILDREN STATUS (MESSAGES SIZE) SPECIAL-USE MYRIGHTS)\r\nc RENAME a/b c\r\nd DELETE c\r\ne LSUB \"\" *\r\n",
	"a SETACL INBOX bob lrs\r\nb GETACL INBOX\r\nc MYRIGHTS INBOX\r\nd LISTRIGHTS INBOX bob\r\ne DELETEACL INBOX bob\r\n",
	"a SETMETADATA INBOX (/private/comment \"x\" /shared/comment NIL)\r\nb GETMETADATA (DEPTH infinity MAXSIZE 5) INBOX (/private)\r\nc GETQUOTAROOT INBOX\r\nd GETQUOTA \"\"\r\n",
	"a IDLE\r\nDONE\r\nb NOTIFY SET STATUS (SELECTED (MessageNew (UID FLAGS) MessageExpunge)) (PERSONAL (MailboxName))\r\nc NOTIFY NONE\r\n",
	"a SELECT INBOX\r\nb NOTIFY SET (SELECTED-DELAYED (MessageNew (BODY.PEEK[HEADER.FIELDS (TO)] PREVIEW (LAZY)) MessageExpunge FlagChange))\r\n" +
		"c APPEND INBOX {3+}\r\nabc\r\nd CREATE x\r\ne UID SEARCH RETURN (UPDATE (FLAGS) COUNT) ALL\r\nf RENAME x y\r\n",
	"a NOTIFY SET (SUBTREE (a \"Other Users\") (MailboxName SubscriptionChange)) (MAILBOXES {5+}\r\nINBOX (MailboxMetadataChange ServerMetadataChange)) (INBOXES NONE)\r\n" +
		"b SUBSCRIBE a\r\nc SETMETADATA \"\" (/private/x \"y\")\r\nd NOTIFY SET (SUBSCRIBED (MessageNew MessageExpunge)) (PERSONAL (AnnotationChange))\r\n",
	"a COMPRESS DEFLATE\r\n", "a ID (\"name\" NIL)\r\nb NAMESPACE\r\nc CAPABILITY\r\nd CHECK\r\n", "a FETCH 1 FLAGS\r\n* x\r\n\r\n \r\na\r\na \r\na UID\r\na UID x\r\n",
	"a SELECT INBOX\nb FETCH 1:* BINARY.PEEK[1]<1.2>\nc FETCH 1 (BODY[1.MIME] BODY[TEXT] BINARY.SIZE[1] PREVIEW (LAZY) EMAILID THREADID SAVEDATE MODSEQ)\n",
	"a AUTHENTICATE PLAIN\r\n*\r\nb LOGIN a b\r\nc STARTTLS\r\n", "a STATUS INBOX (MESSAGES UIDNEXT DELETED)\r\nb SUBSCRIBE &ZeVnLIqe-\r\nc UNSUBSCRIBE \"日本語\"\r\n",
}

// responseLine is what a line of the server looks like, literals taken out.
var responseLine = regexp.MustCompile(`^(\* .+|\+ .*|[^ ]+ (OK|NO|BAD) .+)$`)

// FuzzSession says anything to the server, as a user who is logged in and as a
// stranger. It must end, answer in lines of IMAP, and keep within its memory.
func FuzzSession(f *testing.F) {
	for _, s := range sessions {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	for _, family := range []map[string]command{sessionCommands, selectCommands, folderCommands, messageCommands, searchCommands, shareCommands, notifyCommands} {
		for _, name := range slices.Sorted(maps.Keys(family)) {
			if !strings.HasPrefix(name, "X") {
				f.Add([]byte("a SELECT INBOX\r\nb "+name+"\r\nc "+name+" INBOX (x {3+}\r\nabc)\r\nd "+name+" 1:* (FLAGS)\r\ne "+name+" {3}\r\nINBOX\r\n"), true)
			}
		}
	}
	h := newHouse(f)
	h.Server.init()
	f.Fuzz(func(t *testing.T, said []byte, loggedIn bool) {
		h.refresh(t)
		client, server := pipe()
		c := newConn(&Server{Hostname: "x", TLS: h.TLS, Mailboxes: h.Mailboxes, SASL: h.SASL, Account: h.Account, Owner: h.Owner, Address: h.Address,
			Shelf: h.Shelf, Limits: Limits{FailDelay: time.Nanosecond, Append: 1 << 20},
			Logger: slog.New(panics{slog.DiscardHandler, t})}, server)
		c.srv.init()
		if loggedIn {
			c.account, c.name = 1, "1"
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		client.Write(said)
		client.CloseWrite()
		ended := make(chan struct{})
		go func() { c.Run(context.Background()); close(ended) }()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			buf := make([]byte, 1<<20)
			t.Fatalf("does not end: %s", buf[:runtime.Stack(buf, true)])
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > fuzzMemory {
			t.Errorf("%d octets allocated", n)
		}
		heard, _ := io.ReadAll(client)
		if !c.compressed {
			checkLines(t, heard)
		}
	})
}

// panics fails the test when a panic is logged.
type panics struct {
	slog.Handler
	t *testing.T
}

func (p panics) Enabled(context.Context, slog.Level) bool { return true }

func (p panics) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "stack" {
			p.t.Error(r.Message, a.Value)
		}
		return true
	})
	return nil
}

// refresh makes alice's mailbox small again when it has grown.
func (h *house) refresh(t *testing.T) {
	ctx := context.Background()
	all, err := h.Mailboxes.Folders(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := h.Mailboxes.Folder(ctx, 1, inbox)
	if err != nil {
		t.Fatal(err)
	}
	if f.Messages > 20 || f.UIDNext > 1_000_000 {
		if _, _, err := h.Mailboxes.Expunge(ctx, f.ID, mailbox.All, false); err != nil {
			t.Fatal(err)
		}
		f.Messages = 0
	}
	for ; f.Messages < 3; f.Messages++ {
		h.deliver(t, 1, "", "From: A <a@example.test>\r\nSubject: =?utf-8?q?s?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b--\r\n")
	}
	for i, other := range all {
		if i > 20 && other.Role == "" && other.Name != inbox {
			h.Mailboxes.Delete(ctx, 1, other.Name)
		}
	}
}

// checkLines reads what the server said, literals by their length.
func checkLines(t *testing.T, heard []byte) {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(string(heard)))
	for {
		var whole strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err == io.EOF && line == "" && whole.Len() == 0 {
				return
			}
			if err != nil || !strings.HasSuffix(line, "\r\n") {
				t.Fatalf("cut short: %q", whole.String()+line)
			}
			line = strings.TrimSuffix(line, "\r\n")
			whole.WriteString(line)
			open := strings.LastIndexByte(line, '{')
			if open < 0 || !strings.HasSuffix(line, "}") {
				break
			}
			n, err := strconv.Atoi(line[open+1 : len(line)-1])
			if err != nil {
				break
			}
			if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
				t.Fatalf("literal cut short: %q", whole.String())
			}
		}
		if !responseLine.MatchString(whole.String()) || strings.ContainsAny(whole.String(), "\r\n\x00") {
			t.Fatalf("not a response: %q in %q", whole.String(), heard)
		}
	}
}
