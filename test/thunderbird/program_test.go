package thunderbird

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/migiwa/migiwa/test/site"
)

// program is a running Thunderbird and what is needed to use it.
type program struct {
	*desk
	*marionette
	t       testing.TB
	profile string
	ended   <-chan struct{}
	log     string // the file with the IMAP dialogue, beside the screenshots
}

// needs are the programs of the test.
var needs = []string{"thunderbird", "Xvfb", "xdotool", "import", "openbox", "certutil"}

// newProgram starts Thunderbird with an empty profile, to which nothing was done
// but what a machine without a network needs: the web is p, the name of the
// site's host stands for the loopback interface, its certificate is trusted.
func newProgram(t testing.TB, s *site.Site, p *provider) *program {
	t.Helper()
	home := t.TempDir()
	profile := filepath.Join(home, "profile")
	if err := os.Mkdir(profile, 0o700); err != nil {
		t.Fatal(err)
	}
	prefs := fmt.Sprintf(`
user_pref("marionette.port", 0);
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "127.0.0.1");
user_pref("network.proxy.http_port", %s);
user_pref("network.dns.localDomains", "localhost.%s");
user_pref("mailnews.start_page.enabled", false);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mail.warn_on_send_accel_key", false);
user_pref("datareporting.policy.dataSubmissionPolicyBypassNotification", true);
user_pref("mail.rights.version", 1);
user_pref("app.update.enabled", false);
`, port(p.Listener.Addr().String()), site.Domain)
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-N", "--empty-password"}, {"-A", "-n", "site", "-t", "CTP,,", "-i", s.Cert()}} {
		if out, err := exec.Command("certutil", append(args, "-d", "sql:"+profile)...).CombinedOutput(); err != nil {
			t.Fatalf("certutil %q: %v\n%s", args, err, out)
		}
	}
	d := newDesk(t)
	log := filepath.Join(d.shots, "imap")
	cmd := exec.Command("thunderbird", "--profile", profile, "--no-remote", "--marionette", "--remote-allow-system-access")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "DISPLAY=" + d.display, "LANG=C.UTF-8", "TZ=UTC",
		"MOZ_LOG=IMAP:5,timestamp,sync", "MOZ_LOG_FILE=" + log}
	ended := background(t, cmd)
	return &program{ended: ended, desk: d, marionette: dialMarionette(t, profile), t: t, profile: profile, log: log + ".moz_log"}
}

// click clicks on an element.
func (p *program) click(element string) {
	p.t.Helper()
	p.move(p.place(element))
	p.hand("click", "1")
}

// enter types text into what has the focus, in place of what stands before the
// cursor, until the value is or begins with it: see desk.write.
func (p *program) enter(value, text string) {
	p.t.Helper()
	delay := 40 * time.Millisecond
	if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
		delay = 300 * time.Millisecond
	}
	for range 5 {
		p.key("shift+Home")
		p.write(text, delay)
		time.Sleep(delay)
		if strings.HasPrefix(strings.TrimSpace(p.text(value)), text) {
			return
		}
		delay += 300 * time.Millisecond
	}
	p.t.Fatalf("typed %q, but %s is %q", text, value, p.text(value))
}

// until waits for an expression to be true in Thunderbird.
func (p *program) until(expression string) {
	p.t.Helper()
	p.eventually(expression, func() bool { return p.eval(expression) == true })
}

// eventually is the function of that name, and tells what it was when the reason
// is a connection that hangs in IDLE.
func (p *program) eventually(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(shortly); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if ok() {
			return
		}
	}
	if p.hangs() {
		p.t.Error("Thunderbird gave an idle connection work, which never sent DONE: something woke it in IDLE that was no line")
	}
	p.t.Fatalf("after %v still not: %s", shortly, what)
}

// handed is a line of the log about one connection: its address, and what it is
// about. SetupSinkProxy is the main thread's, when it hands a connection work.
var handed = regexp.MustCompile(`(?m)IMAP ([0-9a-f]+):localhost\.[^:\n]*:[^:\n]*:(SetupSinkProxy|SendData|CreateNewLineFromSocket): (.*?)\r?$`)

// hangs tells whether Thunderbird has given a connection work that waits in
// IDLE, and that connection has not said a word since, DONE to begin with.
func (p *program) hangs() bool {
	p.t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	idle, work := map[string]bool{}, map[string]bool{}
	for _, m := range handed.FindAllStringSubmatch(string(text), -1) {
		switch conn := m[1]; {
		case m[2] == "SetupSinkProxy":
			work[conn] = idle[conn]
		case m[2] == "SendData":
			idle[conn], work[conn] = false, false
		case m[3] == "+ idling":
			idle[conn] = true
		}
	}
	for _, waits := range work {
		if waits {
			return true
		}
	}
	return false
}

// spoken is a line of the IMAP dialogue in the log: the state of its connection
// (S-INBOX is one that has INBOX open), its direction and its text.
var spoken = regexp.MustCompile(`(?m)localhost\.` + regexp.QuoteMeta(site.Domain) + `:([^:\n]*):(SendData|CreateNewLineFromSocket): (.*?)\r?$`)

// line is one line of the IMAP dialogue.
type line struct {
	state  string
	client bool // said by Thunderbird
	text   string
}

func (l line) String() string {
	if l.client {
		return l.state + " C: " + l.text
	}
	return l.state + " S: " + l.text
}

// dialogue gives what was said so far in IMAP.
func (p *program) dialogue() []line {
	p.t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	var all []line
	for _, m := range spoken.FindAllStringSubmatch(string(text), -1) {
		all = append(all, line{m[1], m[2] == "SendData", m[3]})
	}
	return all
}

// said tells how many lines of the dialogue contain the words.
func (p *program) said(words string) int {
	p.t.Helper()
	n := 0
	for _, l := range p.dialogue() {
		if strings.Contains(l.text, words) {
			n++
		}
	}
	return n
}

// idle waits until Thunderbird waits for news of INBOX.
func (p *program) idle() {
	p.t.Helper()
	p.eventually("Thunderbird idles", func() bool {
		for _, l := range slices.Backward(p.dialogue()) {
			if l.state == "S-INBOX" {
				return l.text == "+ idling"
			}
		}
		return false
	})
}
