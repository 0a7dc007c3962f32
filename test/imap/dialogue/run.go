package dialogue

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/test/imap/client"
)

// User and Password are those that the dialogues log in with.
const (
	User     = "imapuser"
	Password = "password"
	// Domain is that of both, where the server wants one in an ACL.
	Domain = "example.test"
)

// silence is how long a server may wait with news that nobody asked for.
const silence = 1 * time.Second

// needs are the capabilities without which a command or a word cannot be
// tried.
var needs = []struct {
	word       *regexp.Regexp
	capability string
}{
	{regexp.MustCompile(`^\S+ ENABLE `), "ENABLE"},
	{regexp.MustCompile(`^\S+ (GETQUOTA|SETQUOTA)`), "QUOTA"},
	{regexp.MustCompile(`^\S+ (GETACL|SETACL|DELETEACL|MYRIGHTS|LISTRIGHTS)`), "ACL"},
	{regexp.MustCompile(`^\S+ (GETMETADATA|SETMETADATA)`), "METADATA"},
	{regexp.MustCompile(`^\S+ (UID )?REPLACE `), "REPLACE"},
	{regexp.MustCompile(`^\S+ (UID )?MOVE `), "MOVE"},
	{regexp.MustCompile(`^\S+ NAMESPACE`), "NAMESPACE"},
	{regexp.MustCompile(`^\S+ XLIST `), "XLIST"},
	{regexp.MustCompile(`^\S+ ID `), "ID"},
	{regexp.MustCompile(`^\S+ IDLE`), "IDLE"},
	{regexp.MustCompile(`^\S+ UNSELECT`), "UNSELECT"},
	{regexp.MustCompile(`(?i)SAVEDATE|SAVEDBEFORE|SAVEDON|SAVEDSINCE`), "SAVEDATE"},
	{regexp.MustCompile(`RETURN \(.*SAVE`), "SEARCHRES"},
	{regexp.MustCompile(`SEARCH RETURN`), "ESEARCH"},
	{regexp.MustCompile(`#user\.`), "ACL"},
}

// optional are response codes that belong to a capability; without it they
// need not come.
var optional = map[string]string{`\[MAILBOXID `: "OBJECTID", `\[HIGHESTMODSEQ `: "CONDSTORE"}

// Run runs the dialogue with a server where the users User and, where it wants
// another one, "Boby" exist with Password and have nothing but an empty INBOX
// that never held a message. The error is a *client.Failure, a
// *client.MissingError, or says why it could not run.
//
// omits are beginnings of responses that this server may leave out.
func (d *Dialogue) Run(server client.Server, omits ...string) error {
	r := &run{d: d, server: server, omits: omits, tags: map[string]bool{}, within: map[*client.Conn]int{}}
	defer r.close()
	if err := r.connect(); err != nil {
		return err
	}
	for _, s := range d.steps {
		if err := r.step(s); err != nil {
			return err
		}
	}
	return nil
}

type run struct {
	d      *Dialogue
	server client.Server
	conns  []*client.Conn
	has    map[string]bool      // capabilities
	tags   map[string]bool      // of the commands sent
	last   string               // the last command
	begun  bool                 // the user has only what the dialogue made
	within map[*client.Conn]int // octets of a literal that are still to be sent
	omits  []string
	names  names
}

func (r *run) close() {
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

// connect opens the sessions and brings them where the dialogue begins: logged
// in, unless it does that itself; with four messages in a selected mailbox, if
// it uses them without having made them.
func (r *run) connect() error {
	commands := r.d.commands()
	login := !r.d.greets() && !slices.ContainsFunc(commands, func(c string) bool { return c == "LOGIN" || c == "AUTHENTICATE" }) ||
		r.d.refusesLogin()
	probe, err := r.server.Login(User, Password)
	if err != nil {
		return err
	}
	defer probe.Close()
	if r.has, err = probe.Capabilities(); err != nil {
		return err
	}
	if missing := r.missing(); len(missing) > 0 {
		return &client.MissingError{Capabilities: missing}
	}
	if !r.begun {
		if err := r.begin(probe); err != nil {
			return err
		}
	}
	for range r.d.sessions() {
		c, err := r.server.Dial()
		if err != nil {
			return err
		}
		r.conns = append(r.conns, c)
		if !r.d.greets() {
			if _, err := c.Greeting(); err != nil {
				return err
			}
		}
		if login {
			if _, err := c.OK("LOGIN " + User + " " + Password); err != nil {
				return err
			}
		}
	}
	if login && r.d.usesSelected() {
		return setUp(r.conns[0])
	}
	return nil
}

// begin prepares the users' mailboxes.
func (r *run) begin(c *client.Conn) (err error) {
	r.begun = true
	if err := empty(c); err != nil {
		return err
	}
	if r.d.mentions("#user.boby.") {
		if err := share(r.server); err != nil {
			return err
		}
		if err := fillMailbox(c, "INBOX"); err != nil {
			return err
		}
	}
	r.names, err = learn(c, r.has)
	return err
}

// mentions tells whether a command has those words.
func (d *Dialogue) mentions(words string) bool {
	return slices.ContainsFunc(d.steps, func(s step) bool {
		return slices.ContainsFunc(s.client, func(l string) bool { return strings.Contains(l, words) })
	})
}

// share makes the mailboxes that the user Boby shares, each named after the
// rights that User has.
func share(server client.Server) error {
	c, err := server.Login("boby", Password)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, rights := range []string{"l", "lr", "lrs", "lrw", "lri", "lrk", "lrx", "lrt", "lrte", "lra"} {
		name := "mailbox-" + rights
		if _, err := c.OK("CREATE " + name); err != nil {
			return err
		}
		if err := fillMailbox(c, name); err != nil {
			return err
		}
		all, err := c.Do("SETACL " + name + " " + User + "@" + Domain + " " + rights)
		if err == nil && !all[len(all)-1].Status("OK") {
			_, err = c.OK("SETACL " + name + " " + User + " " + rights)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fillMailbox appends ten messages.
func fillMailbox(c *client.Conn, name string) error {
	for i := range 10 {
		text := fmt.Sprintf("Subject: %d\r\n\r\ntext\r\n", i)
		if _, err := c.OK(fmt.Sprintf("APPEND %s {%d}\r\n%s", name, len(text), text)); err != nil {
			return err
		}
	}
	return nil
}

// empty leaves the user INBOX alone, subscribed to, as James's users have it:
// servers may give a new user more.
func empty(c *client.Conn) error {
	for _, list := range []struct{ show, remove string }{{"LSUB", "UNSUBSCRIBE"}, {"LIST", "DELETE"}} {
		all, err := c.OK(list.show + ` "" "*"`)
		if err != nil {
			return err
		}
		for _, a := range all {
			if a.Name() != list.show || len(a.Values) < 4 || a.Values[3].Is("INBOX") || a.Values[3].Text == "INBOX" {
				continue
			}
			if _, err := c.OK(list.remove + " " + client.Quote(a.Values[3].Text)); err != nil {
				return err
			}
		}
	}
	_, err := c.OK("SUBSCRIBE INBOX")
	return err
}

// greets tells whether the greeting is among the answers.
func (d *Dialogue) greets() bool {
	for _, s := range d.steps {
		for _, a := range s.server {
			if strings.HasPrefix(a.lines[0], `\* OK IMAP4rev1`) {
				return true
			}
		}
	}
	return false
}

// refusesLogin tells whether the dialogue tries LOGIN after it.
func (d *Dialogue) refusesLogin() bool {
	for _, s := range d.steps {
		for _, a := range s.server {
			if strings.Contains(a.lines[0], "LOGIN failed. Command not valid in this state") {
				return true
			}
		}
	}
	return false
}

// usesSelected tells whether a command wants a selected mailbox before any
// SELECT, or "selected" is among the mailboxes.
func (d *Dialogue) usesSelected() bool {
	before := true
	for _, s := range d.steps {
		if slices.ContainsFunc(s.server, func(a *answer) bool { return strings.HasSuffix(a.lines[0], `"selected"`) }) {
			return true
		}
		for _, l := range s.client {
			m := commandLine.FindStringSubmatch(l)
			if m == nil {
				continue
			}
			switch strings.ToUpper(m[2]) {
			case "CHECK", "EXPUNGE", "FETCH", "STORE", "SEARCH", "COPY", "MOVE", "CLOSE", "UNSELECT":
				if before {
					return true
				}
			case "APPEND", "CREATE", "STATUS":
				if strings.Contains(l, " selected ") {
					return true
				}
			case "SELECT", "EXAMINE":
				before = false
			}
		}
	}
	return false
}

func (r *run) missing() []string {
	var all []string
	for _, s := range r.d.steps {
		for _, l := range s.client {
			for _, n := range needs {
				if n.word.MatchString(l) && !r.has[n.capability] && !slices.Contains(all, n.capability) {
					all = append(all, n.capability)
				}
			}
		}
	}
	return all
}

// setUp makes a mailbox "selected" with four messages and selects it.
func setUp(c *client.Conn) error {
	if _, err := c.OK("CREATE selected"); err != nil {
		return err
	}
	for i := 1; i <= 4; i++ {
		text := fmt.Sprintf("Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)\r\nFrom: Fred Foobar <foobar@Blurdybloop.COM>\r\nSubject: Test %02d\r\n"+
			"To: mooch@owatagu.siam.edu\r\nMessage-Id: <B27397-0100000@Blurdybloop.COM>\r\nMIME-Version: 1.0\r\n"+
			"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\nTest %02d\r\n", i, i)
		if _, err := c.OK(fmt.Sprintf("APPEND selected {%d}\r\n%s", len(text), text)); err != nil {
			return err
		}
	}
	_, err := c.OK("SELECT selected")
	return err
}

func (r *run) step(s step) error {
	time.Sleep(s.wait)
	if s.restart {
		r.close()
		return r.connect()
	}
	for n, c := range r.conns {
		if s.session != everySession && s.session != n {
			continue
		}
		if err := r.send(c, s.client); err != nil {
			return &client.Failure{Line: s.line, Command: r.last, Expected: "that it can be sent", Got: err.Error()}
		}
		if len(s.server) > 0 {
			if err := r.compare(c, r.wanted(s.server)); err != nil {
				return err
			}
		}
	}
	return nil
}

// send sends lines; those within a literal are no commands.
func (r *run) send(c *client.Conn, lines []string) error {
	within := r.within[c]
	defer func() { r.within[c] = within }()
	for _, l := range lines {
		if m := commandLine.FindStringSubmatch(l); m != nil && within <= 0 {
			r.tags[m[1]] = true
			r.last = client.Brief(l)
		}
		within -= len(l) + 2
		if m := literalLine.FindStringSubmatch(l); m != nil && within < 0 {
			within, _ = strconv.Atoi(m[1]) // digits, by the pattern
		}
		if within <= 0 || literalLine.MatchString(l) {
			l = r.names.command(l)
		}
		if err := c.Send([]byte(l + "\r\n")); err != nil {
			return err
		}
	}
	return nil
}

var recentLine = regexp.MustCompile(`^\\\* \S+ RECENT$`)

// wanted gives the responses of a block, without what the server need not say
// for want of a capability.
func (r *run) wanted(block []*answer) []*answer {
	var all []*answer
	for _, a := range join(block, r.tags) {
		a.lines[0] = r.names.answer(a.lines[0])
		drop := recentLine.MatchString(a.lines[0]) || slices.ContainsFunc(r.omits, func(o string) bool { return strings.HasPrefix(a.lines[0], o) })
		for code, capability := range optional {
			if drop || r.has[capability] || !strings.Contains(a.lines[0], code) {
				continue
			}
			if drop = a.tag() == "*"; !drop {
				a.lines[0], _, _ = strings.Cut(a.lines[0], ` \[`)
			}
		}
		if !drop {
			all = append(all, a)
		}
	}
	return all
}

// compare reads what the server says and compares.
func (r *run) compare(c *client.Conn, wanted []*answer) error {
	got, err := r.read(c, wanted)
	if sameExpunges(wanted, got) {
		wanted = settle(wanted)
	}
	left := settled(got)
	for _, a := range wanted {
		at := -1
		for i, g := range left {
			ok, err := a.matches(g)
			if err != nil {
				return err
			}
			if ok {
				at = i
				break
			}
		}
		if at < 0 {
			return r.failure(a, got, err)
		}
		left = slices.Delete(left, at, at+1)
	}
	for _, g := range left {
		if !news(g) && g.Name() != "EXPUNGE" {
			return &client.Failure{Line: wanted[0].line, Command: r.last, Expected: "nothing more", Got: g.String()}
		}
	}
	return nil
}

func (r *run) failure(a *answer, got []*client.Response, err error) error {
	var all []string
	for _, g := range got {
		all = append(all, g.String())
	}
	if err != nil {
		all = append(all, err.Error())
	}
	if len(all) == 0 {
		all = []string{"nothing"}
	}
	return &client.Failure{Line: a.line, Command: r.last, Expected: client.Brief(a.String()), Got: strings.Join(all, " | ")}
}

// read reads until as many commands have ended, or continuations come, as the
// block wants; where it wants none, until all that it wants may be there.
func (r *run) read(c *client.Conn, wanted []*answer) ([]*client.Response, error) {
	ends := 0
	for _, a := range wanted {
		if a.tag() != "*" {
			ends++
		}
	}
	if ends == 0 {
		c.Timeout = silence
		defer func() { c.Timeout = 0 }()
	}
	var got []*client.Response
	for n := 0; n < ends || ends == 0; {
		g, err := c.Read()
		if errors.Is(err, io.EOF) {
			return got, errors.New("the connection has ended")
		} else if err != nil {
			return got, err
		}
		got = append(got, g)
		if g.Tag != "*" {
			n++
		}
		if ends == 0 && (g.Tag != "*" || r.complete(wanted, got)) {
			break
		}
	}
	return got, nil
}

// complete tells whether each wanted response has come.
func (r *run) complete(wanted []*answer, got []*client.Response) bool {
	for _, a := range wanted {
		if !slices.ContainsFunc(got, func(g *client.Response) bool { ok, _ := a.matches(g); return ok }) {
			return false
		}
	}
	return true
}

var numbered = regexp.MustCompile(`^\\\* (\d+) (EXPUNGE|FETCH)\b`)

// number gives the message number of an EXPUNGE or FETCH that is wanted.
func (a *answer) number(name string) (int, bool) {
	m := numbered.FindStringSubmatch(a.lines[0])
	if m == nil || m[2] != name {
		return 0, false
	}
	n, err := strconv.Atoi(m[1])
	return n, err == nil
}

// number is the same for a response.
func number(r *client.Response, name string) (int, bool) {
	if r.Name() != name || len(r.Values) < 2 {
		return 0, false
	}
	n, err := r.Values[0].Number()
	return int(n), err == nil
}

// sameExpunges tells whether both sides expunge the same messages, whatever
// the order, by the numbers that they had before.
func sameExpunges(wanted []*answer, got []*client.Response) bool {
	var want, have []int
	for _, a := range wanted {
		if n, ok := a.number("EXPUNGE"); ok {
			want = append(want, n)
		}
	}
	for _, g := range got {
		if n, ok := number(g, "EXPUNGE"); ok {
			have = append(have, n)
		}
	}
	return slices.Equal(originals(want), originals(have))
}

// settle leaves EXPUNGE out and gives FETCH the numbers after the block.
func settle(wanted []*answer) []*answer {
	var all []*answer
	for i, a := range wanted {
		if _, ok := a.number("EXPUNGE"); ok {
			continue
		}
		if n, ok := a.number("FETCH"); ok {
			for _, later := range wanted[i:] {
				if e, ok := later.number("EXPUNGE"); ok && e < n {
					n--
				}
			}
			a.lines[0] = numbered.ReplaceAllString(a.lines[0], `\* `+strconv.Itoa(n)+" $2")
		}
		all = append(all, a)
	}
	return all
}

// settled gives FETCH responses the numbers after all EXPUNGE responses.
func settled(got []*client.Response) []*client.Response {
	var all []*client.Response
	for i, g := range got {
		if n, ok := number(g, "FETCH"); ok {
			for _, later := range got[i:] {
				if e, ok := number(later, "EXPUNGE"); ok && e < n {
					n--
				}
			}
			again := *g
			again.Values = slices.Clone(g.Values)
			again.Values[0].Text = strconv.Itoa(n)
			g = &again
		}
		all = append(all, g)
	}
	return all
}

// originals turns the numbers of EXPUNGE responses into those before the
// first, in ascending order.
func originals(numbers []int) []int {
	var gone []int // ascending
	for _, n := range numbers {
		for _, g := range gone {
			if g <= n {
				n++
			}
		}
		at, _ := slices.BinarySearch(gone, n)
		gone = slices.Insert(gone, at, n)
	}
	return gone
}
