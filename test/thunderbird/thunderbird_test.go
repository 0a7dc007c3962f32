// Package thunderbird uses the built binary as a person does who has a mail
// program with windows: Thunderbird, by mouse and keyboard, on a screen that
// nobody sees.
//
// The test runs with MIGIWA_LONG=1 only. MIGIWA_SCREENSHOTS names a directory
// that keeps a picture of each step.
package thunderbird

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/test/site"
)

func TestMain(m *testing.M) { os.Exit(site.Main(m)) }

// story is one user's morning: the node, the program and a second client.
type story struct {
	*program
	site     *site.Site
	provider *provider
	taro     *witness
	hanako   *witness
}

func TestThunderbird(t *testing.T) {
	if os.Getenv("MIGIWA_LONG") != "1" {
		t.Skip("SKIPPED, NOT TESTED: a mail program with windows is used only with MIGIWA_LONG=1 (make e2e)")
	}
	for _, name := range needs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED, NOT TESTED: %s is not installed; run E2E=1 scripts/test-deps", name)
		}
	}
	s := site.Install(t, "", "")
	s.Add("taro", "taro")
	s.Add("hanako", "hanako")
	s.Serve()
	web := newProvider(t, s)
	b := &story{program: newProgram(t, s, web), site: s, provider: web}
	b.taro, b.hanako = newWitness(t, s, "taro"), newWitness(t, s, "hanako")
	t.Cleanup(func() {
		if t.Failed() {
			b.shot("failed")
			all := b.dialogue()
			t.Logf("the IMAP dialogue ends with:\n%v", all[max(0, len(all)-60):])
		}
	})
	for _, step := range []struct {
		name string
		do   func(*story)
	}{
		{"setting up", (*story).setUp},
		{"a message comes", (*story).receive},
		{"an answer", (*story).answer},
		{"marks", (*story).mark},
		{"searching", (*story).search},
		{"a new folder", (*story).makeFolder},
		{"moving", (*story).moveMessage},
		{"archiving", (*story).archive},
		{"deleting", (*story).remove},
		{"between two waits", (*story).between},
		{"leaving", (*story).leave},
	} {
		begin := time.Now()
		step.do(b)
		t.Logf("%s: %v", step.name, time.Since(begin).Round(time.Millisecond))
	}
}

// setUp fills in the dialogue that a new user meets, who knows an address and a
// password only.
func (b *story) setUp() {
	const hub = `window_("mail:3pane").document.querySelector("account-hub-container")`
	fill := func(field, text string) {
		field = "find(" + hub + ".shadowRoot, `#" + field + "`)"
		b.click(field)
		b.key("End")
		b.enter(field+".value", text)
	}
	const forward = `[...find(` + hub + `.shadowRoot, "account-hub-footer").querySelectorAll("#forward")].find(e => !e.disabled && e.getBoundingClientRect().width)`
	fill("realName", "Taro")
	fill("email", "taro@"+site.Domain)
	b.shot("address")
	b.click(forward)
	b.place(`find(` + hub + `.shadowRoot, "#incomingPort")`)
	b.shot("found")
	asked := b.provider.requests()
	if want := "http://autoconfig." + site.Domain + "/mail/config-v1.1.xml?emailaddress=taro%40" + site.Domain; !slices.Contains(asked, want) {
		b.t.Fatalf("Thunderbird asked for %q, not for %s", asked, want)
	}
	b.click(forward)
	fill("password", "taro")
	b.shot("password")
	b.click(forward)
	b.place(`find(` + hub + `.shadowRoot, "email-added-success")`)
	b.shot("added")
	b.click(forward)
	b.until(`!(find(` + hub + `.shadowRoot, "email-added-success")?.getBoundingClientRect().width)`)
	server := `MailServices.accounts.accounts.map(a => a.incomingServer).find(s => s.type == "imap")`
	if port := b.number(server + ".port"); port <= 0 {
		b.t.Errorf("the account's port is %d", port)
	}
	for _, name := range []string{"INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"} {
		b.until(`!!folder("` + name + `")`)
	}
	// The marks of special use must be understood: no folder is made twice.
	if got := b.taro.folders(); len(got) != 6 {
		b.t.Errorf("after setting up, the folders are %q", got)
	}
}

// receive has a message delivered while Thunderbird waits in IDLE.
func (b *story) receive() {
	b.click(`folder("INBOX").querySelector(".name")`)
	b.idle()
	begin, before := time.Now(), len(b.dialogue())
	deliver(b.t, b.site, "波の便り", "東京都の海辺から、挨拶を送ります。\r\nGreetings from the seashore.")
	b.until(`panes().gDBView.rowCount == 1 && panes().gDBView.getMsgHdrAt(0).mime2DecodedSubject == "波の便り"`)
	b.t.Logf("a delivered message is on the screen after %v", time.Since(begin).Round(time.Millisecond))
	if next := b.dialogue()[before]; next.client || next.text != "* 1 EXISTS" {
		b.t.Errorf("the server did not tell of the message by itself; what was said next is %v", next)
	}
	b.shot("received")
	b.click(`panes().threadTree.getRowAtIndex(0)`)
	b.shot("opened")
	b.eventually("the open message is seen on the server", func() bool { return b.inbox(1)[0].has(`\Seen`) })
}

// inbox gives taro's inbox, which must hold that many messages.
func (b *story) inbox(want int) []message {
	b.t.Helper()
	all := b.taro.mailbox("INBOX")
	if len(all) != want {
		b.t.Fatalf("INBOX holds %d messages, want %d", len(all), want)
	}
	return all
}

// answer writes to hanako.
func (b *story) answer() {
	b.key("ctrl+r")
	const text = `window_("msgcompose")?.document.getElementById("messageEditor")?.contentDocument.body.textContent`
	b.until(text + `.includes("seashore")`)
	time.Sleep(2 * time.Second) // the cursor is set last
	b.enter(text, "波の音 and a fair wind.")
	b.shot("answer")
	b.key("ctrl+Return")
	b.until(`window_("msgcompose") === null`)
	var sent, got []message
	b.eventually("the answer is with hanako and in Sent", func() bool {
		sent, got = b.taro.mailbox("Sent"), b.hanako.mailbox("INBOX")
		return len(sent) == 1 && len(got) == 1
	})
	for where, m := range map[string]message{"Sent": sent[0], "hanako's inbox": got[0]} {
		for _, words := range []string{"波の音 and a fair wind.", "In-Reply-To: ", "To: Hanako <hanako@" + site.Domain + ">"} {
			if !strings.Contains(m.text, words) {
				b.t.Errorf("no %q in the answer in %s:\n%s", words, where, m.text)
			}
		}
	}
	if !sent[0].has(`\Seen`) {
		b.t.Errorf("flags in Sent: %q", sent[0].flags)
	}
	b.eventually("the message is answered", func() bool { return b.inbox(1)[0].has(`\Answered`, `\Seen`) })
	b.click(`folder("Sent").querySelector(".name")`)
	b.until(`panes().gDBView.rowCount == 1`)
	b.click(`panes().threadTree.getRowAtIndex(0)`)
	b.shot("sent")
	b.click(`folder("INBOX").querySelector(".name")`)
	b.until(`panes().gDBView.rowCount == 1`)
}

// mark sets marks here and there.
func (b *story) mark() {
	b.click(`panes().threadTree.getRowAtIndex(0)`)
	b.key("s") // a star
	b.eventually("the star", func() bool { return b.inbox(1)[0].has(`\Answered`, `\Flagged`, `\Seen`) })
	b.key("1") // "important"
	b.eventually("the tag", func() bool { return b.inbox(1)[0].has(`$label1`, `\Answered`, `\Flagged`, `\Seen`) })
	b.key("m") // not read
	b.eventually("it is not seen", func() bool { return b.inbox(1)[0].has(`$label1`, `\Answered`, `\Flagged`) })
	b.shot("marked")
	b.idle()
	b.taro.ok("SELECT INBOX")
	b.taro.ok(`STORE 1 -FLAGS (\Flagged)`)
	b.taro.ok(`STORE 1 +FLAGS (\Seen)`)
	b.until(`(m => m.isRead && !m.isFlagged)(panes().gDBView.getMsgHdrAt(0))`)
	b.shot("marked-elsewhere")
}

// search looks for words on the server, and in the list of messages.
func (b *story) search() {
	deliver(b.t, b.site, "A letter about harbours", "The harbour of Yokohama at night.")
	deliver(b.t, b.site, "山の便り", "京都の山から。A mountain, no water.")
	b.until(`panes().gDBView.rowCount == 3`)
	b.click(`panes().threadTree.getRowAtIndex(0)`)
	b.key("ctrl+shift+f")
	dialogue := `window_("mailnews:search").document`
	b.click(dialogue + `.getElementById("checkSearchOnline")`)
	b.lookFor("Subject", "便り", 2)
	b.lookFor("Body", "京都", 2) // 東京都 among them
	b.shot("search-japanese")
	b.lookFor("Body", "SEASHORE", 1)
	b.shot("search-latin")
	b.lookFor("Body", "大阪", 0)
	b.key("Escape")
	b.until(`window_("mailnews:search") === null`)
	b.click(`panes().document.getElementById("threadPaneQuickFilterButton")`)
	const filter = `panes().document.getElementById("qfb-qs-textbox")`
	b.click(filter)
	b.enter(filter+".value", "便り")
	b.until(`panes().gDBView.rowCount == 2`)
	b.shot("quick-filter")
	b.click(`panes().document.getElementById("threadPaneQuickFilterButton")`)
	b.until(`panes().gDBView.rowCount == 3`)
}

// lookFor runs a search in the open dialogue, on the server.
func (b *story) lookFor(where, what string, want int) {
	b.t.Helper()
	dialogue := `window_("mailnews:search").document`
	b.click(dialogue + `.querySelector("#searchAttr0 menulist")`)
	b.write(where, 50*time.Millisecond)
	b.key("Return")
	b.until(dialogue + `.querySelector("#searchAttr0 menulist").label == "` + where + `"`)
	input := dialogue + `.querySelector("#searchVal0 input")`
	b.click(input)
	b.key("End")
	b.enter(input+".value", what)
	before := b.said("OK UID SEARCH completed")
	b.key("Return")
	b.eventually("the server searched", func() bool { return b.said("OK UID SEARCH completed") > before })
	b.until(dialogue + `.getElementById("search-button").label == "Search" || ` + dialogue + `.getElementById("search-button").textContent.trim() == "Search"`)
	time.Sleep(time.Second)
	if got := b.number(dialogue + `.getElementById("threadTree").view.rowCount`); got != want {
		b.t.Errorf("%s %s finds %d messages, want %d", where, what, got, want)
	}
}

// makeFolder makes a folder with a Japanese name.
func (b *story) makeFolder() {
	b.move(b.place(`folder("INBOX").querySelector(".name")`))
	b.hand("click", "3")
	b.click(`panes().document.getElementById("folderPaneContext-new")`)
	const name = `[...Services.wm.getEnumerator(null)].find(w => w.location.href.includes("newFolderDialog")).document.getElementById("name")`
	b.click(name)
	b.enter(name+".value", "旅行")
	b.shot("new-folder")
	b.key("Return")
	b.eventually("the folder is there", func() bool { return slices.Contains(b.taro.folders(), "INBOX/旅行") })
	b.until(`!!folder("INBOX/旅行")`)
}

// moveMessage drags the first message to the new folder.
func (b *story) moveMessage() {
	b.drag(`panes().threadTree.getRowAtIndex(0)`, `folder("INBOX/旅行").querySelector(".name")`)
	b.eventually("the message is in the folder", func() bool { return len(b.taro.mailbox("INBOX/旅行")) == 1 })
	b.inbox(2)
	b.until(`panes().gDBView.rowCount == 2`)
	b.click(`folder("INBOX/旅行").querySelector(".name")`)
	b.until(`panes().gDBView.rowCount == 1`)
	b.click(`panes().threadTree.getRowAtIndex(0)`)
	b.shot("moved")
	b.click(`folder("INBOX").querySelector(".name")`)
	b.until(`panes().gDBView.rowCount == 2`)
}

func (b *story) drag(from, to string) {
	b.t.Helper()
	x, y := b.place(from)
	u, v := b.place(to)
	b.move(x, y)
	b.hand("mousedown", "1")
	const steps = 10
	for i := 1; i <= steps; i++ {
		time.Sleep(150 * time.Millisecond)
		b.move(x+(u-x)*i/steps, y+(v-y)*i/steps)
	}
	time.Sleep(time.Second)
	b.shot("dragged")
	b.hand("mouseup", "1")
}

// archive lets Thunderbird make its folder of the year and move a message there.
func (b *story) archive() {
	b.click(`panes().threadTree.getRowAtIndex(0)`)
	b.key("a")
	var year string
	b.eventually("the message is in the archive", func() bool {
		for _, name := range b.taro.folders() {
			if strings.HasPrefix(name, "Archive/") {
				year = name
			}
		}
		return year != "" && len(b.taro.mailbox(year)) == 1
	})
	if !regexp.MustCompile(`^Archive/[0-9]{4}$`).MatchString(year) {
		b.t.Errorf("archived in %s", year)
	}
	b.inbox(1)
	b.until(`panes().gDBView.rowCount == 1`)
	b.shot("archived")
}

// remove deletes a message, takes that back, deletes it again and empties the
// trash.
func (b *story) remove() {
	b.click(`panes().threadTree.getRowAtIndex(0)`)
	b.key("Delete")
	b.eventually("the message is in the trash", func() bool { return len(b.taro.mailbox("Trash")) == 1 })
	b.until(`panes().gDBView.rowCount == 0`)
	b.inbox(0)
	b.key("ctrl+z")
	b.eventually("the message is back", func() bool { return len(b.taro.mailbox("INBOX")) == 1 })
	b.until(`panes().gDBView.rowCount == 1`)
	b.click(`panes().threadTree.getRowAtIndex(0)`)
	b.key("Delete")
	b.eventually("the message is in the trash again", func() bool { return len(b.taro.mailbox("INBOX")) == 0 })
	b.click(`folder("Trash").querySelector(".name")`)
	b.until(`panes().gDBView.rowCount >= 1`)
	b.shot("deleted")
}

// between has messages come while Thunderbird is busy: it goes back into IDLE two
// seconds after its last command, and must hear of them there.
func (b *story) between() {
	b.click(`folder("INBOX").querySelector(".name")`)
	b.idle()
	deliver(b.t, b.site, "Number 1", "The first of some.")
	b.until(`panes().gDBView.rowCount == 1`)
	b.click(`panes().threadTree.getRowAtIndex(0)`)
	for i := range 3 {
		b.idle()
		b.key("s")
		b.eventually("a command is done", func() bool {
			all := b.dialogue()
			last := all[len(all)-1]
			return last.state == "S-INBOX" && strings.HasSuffix(last.text, "OK UID STORE completed")
		})
		deliver(b.t, b.site, fmt.Sprint("Number ", i+2), "One more.")
		b.until(fmt.Sprint("panes().gDBView.rowCount == ", i+2))
	}
	b.shot("between")
}

// connections are what Thunderbird opens: one that tries the password, and five
// that it keeps.
const connections = 6

// refusal is a command that was not done, or a connection that the server ended.
var refusal = regexp.MustCompile(`^([0-9]+ (NO|BAD)|\* (NO|BAD|BYE)) `)

// leave ends Thunderbird and reads what was said.
func (b *story) leave() {
	b.idle()
	b.key("ctrl+q")
	select {
	case <-b.ended:
	case <-time.After(shortly):
		b.t.Error("Thunderbird did not end")
	}
	all, greetings := b.dialogue(), 0
	for _, l := range all {
		if !l.client && refusal.MatchString(l.text) {
			b.t.Errorf("refused: %v", l)
		}
		if !l.client && l.state == "NA" && strings.HasPrefix(l.text, "* OK ") {
			greetings++
		}
	}
	b.t.Logf("%d connections, %d lines of IMAP", greetings, len(all))
	if greetings > connections {
		b.t.Errorf("%d connections: some were lost", greetings)
	}
}
