package script

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/migiwa/migiwa/test/imap/client"
)

// mailbox is the one that scripts use; they may make others whose names begin
// like that.
const mailbox = "imaptest"

// Target is a server and two of its users.
type Target struct {
	client.Server
	First, Second client.Account
}

// Run runs the script. The error is a *client.Failure, a *client.MissingError, or says why
// it could not run. All mailboxes of the users whose names begin with
// "imaptest" are deleted before.
func (s *Script) Run(t Target) error {
	r := &run{script: s, target: t, scope: scope{vars: variables(t)}}
	defer r.close()
	if err := r.prepare(); err != nil {
		return err
	}
	for _, g := range s.groups {
		if err := r.group(g); err != nil {
			return err
		}
	}
	return r.logout()
}

// variables are those that every script has.
func variables(t Target) map[string]string {
	vars := map[string]string{"mailbox": mailbox, "mailbox_url": mailbox, "password": t.First.Password}
	for suffix, a := range map[string]client.Account{"": t.First, "2": t.Second} {
		name, domain, _ := strings.Cut(a.User, "@")
		vars["user"+suffix], vars["username"+suffix], vars["domain"+suffix] = a.User, name, domain
	}
	return vars
}

// run is one run of a script.
type run struct {
	script *Script
	target Target
	scope  scope
	conns  []*client.Conn
	next   int // the message that is appended next
	gone   bool
}

func (r *run) close() {
	for _, c := range r.conns {
		c.Close()
	}
}

// prepare brings the connections into the state that the script wants.
func (r *run) prepare() error {
	for n := range r.script.connections {
		c, err := r.target.Dial()
		if err != nil {
			return err
		}
		r.conns = append(r.conns, c)
		greeting, err := c.Greeting()
		if err != nil {
			return err
		}
		if n == 0 && len(r.script.groups[0].commands) == 0 {
			if err := r.greeting(greeting); err != nil {
				return err
			}
		}
		if r.script.state >= auth {
			if err := r.login(c, n+1); err != nil {
				return err
			}
		}
	}
	if err := r.missing(); err != nil {
		return err
	}
	return r.setUp()
}

func (r *run) greeting(greeting *client.Response) error {
	for _, e := range r.script.groups[0].untagged {
		if r.scope.response(e.want, greeting) != (e.kind == '*') {
			return &client.Failure{Line: e.line, Command: "the greeting", Expected: expected(e), Got: greeting.String()}
		}
	}
	return nil
}

func (r *run) login(c *client.Conn, number int) error {
	a := r.target.First
	if r.script.secondUser[number] {
		if a = r.target.Second; a.User == "" {
			return errors.New("the script wants a second user")
		}
	}
	_, err := c.OK("LOGIN " + client.Quote(a.User) + " " + client.Quote(a.Password))
	return err
}

// missing compares the capabilities.
func (r *run) missing() error {
	if len(r.script.Capabilities) == 0 {
		return nil
	}
	all, err := r.conns[0].OK("CAPABILITY")
	if err != nil {
		return err
	}
	var missing []string
	for _, want := range r.script.Capabilities {
		if !slices.ContainsFunc(all, func(a *client.Response) bool {
			return a.Name() == "CAPABILITY" && slices.ContainsFunc(a.Values, func(v client.Value) bool { return v.Is(want) })
		}) {
			missing = append(missing, strings.ToUpper(want))
		}
	}
	if len(missing) > 0 {
		return &client.MissingError{Capabilities: missing}
	}
	return nil
}

// setUp makes the mailboxes of each user and selects them.
func (r *run) setUp() error {
	for i, c := range r.conns {
		number := i + 1
		if number == 1 || r.script.secondUser[number] && !r.script.secondUser[number-1] {
			if err := r.fill(c); err != nil {
				return err
			}
		}
	}
	if r.script.state < selected {
		return nil
	}
	for _, c := range r.conns {
		if _, err := c.OK("SELECT " + mailbox); err != nil {
			return err
		}
	}
	return nil
}

// fill makes one user's mailbox and appends the messages.
func (r *run) fill(c *client.Conn) error {
	if r.script.state >= auth {
		if err := clean(c); err != nil {
			return err
		}
	}
	if r.script.state < created {
		return nil
	}
	if _, err := c.OK("CREATE " + mailbox); err != nil {
		return err
	}
	if r.script.state < appended {
		return nil
	}
	count := r.script.messages
	if count == allMessages || count == 0 && r.script.state == appended {
		count = len(r.script.mbox)
	}
	for range count {
		if _, err := c.OK("APPEND " + mailbox + r.message(true)); err != nil {
			return err
		}
	}
	return nil
}

// clean deletes what scripts before have left, the deepest mailboxes first.
func clean(c *client.Conn) error {
	for _, list := range []struct{ show, remove string }{{"LSUB", "UNSUBSCRIBE"}, {"LIST", "DELETE"}} {
		all, err := c.OK(list.show + ` "" "` + mailbox + `*"`)
		if err != nil {
			return err
		}
		var names []string
		for _, a := range all {
			if a.Name() == list.show && len(a.Values) >= 4 {
				names = append(names, a.Values[3].Text)
			}
		}
		slices.Sort(names)
		slices.Reverse(names)
		for _, n := range names {
			// One that is only there for those below it may be refused.
			if _, err := c.Do(list.remove + " " + client.Quote(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// message gives the next message of the mbox file as the end of an APPEND.
func (r *run) message(dated bool) string {
	if len(r.script.mbox) == 0 {
		return ""
	}
	m := r.script.mbox[r.next%len(r.script.mbox)]
	r.next++
	date := ""
	if dated {
		date = " " + m.internalDate()
	}
	return fmt.Sprintf("%s {%d}\r\n%s", date, len(m.text), m.text)
}

// logout ends the first connection in order, as every client does.
func (r *run) logout() error {
	if r.gone {
		return nil
	}
	all, err := r.conns[0].OK("LOGOUT")
	if err == nil && !slices.ContainsFunc(all, func(a *client.Response) bool { return a.Tag == "*" && a.Status("BYE") }) {
		err = errors.New("LOGOUT without BYE")
	}
	return err
}

// exchange is a group that is being run.
type exchange struct {
	*run
	*group
	conn    *client.Conn
	tags    map[string]*command // sent, not answered
	sent    string              // the first command, as it was sent
	found   []bool              // by index of the untagged responses
	all     []string            // untagged responses that were read
	first   string              // tag of the first command
	surplus string              // the first untagged response that is not in the script
}

// group sends the commands of a group and compares what comes.
func (r *run) group(g *group) error {
	if len(g.commands) == 0 {
		return nil // the greeting, which is read already
	}
	x := &exchange{run: r, group: g, conn: r.conns[g.conn-1], tags: map[string]*command{}, found: make([]bool, len(g.untagged))}
	r.scope.expunged = nil
	for _, c := range g.commands {
		if err := x.send(c); err != nil {
			return err
		}
	}
	for len(x.tags) > 0 {
		answer, err := x.conn.Read()
		if err != nil {
			return x.failure("an answer", fmt.Sprintf("%v after %s", err, x.seen()))
		}
		if err := x.take(answer); err != nil {
			return err
		}
	}
	time.Sleep(g.sleep)
	return x.finish()
}

func (x *exchange) failure(expected, got string) error {
	return &client.Failure{Line: x.commands[0].line, Command: client.Brief(x.sent), Expected: expected, Got: got}
}

func (x *exchange) seen() string {
	if len(x.all) == 0 {
		return "no untagged response"
	}
	return strings.Join(x.all, " | ")
}

// send sends one command; a server may refuse a literal while it is sent.
func (x *exchange) send(c *command) error {
	text, err := x.command(c.text)
	if err != nil {
		return fmt.Errorf("line %d: %w", c.line, err)
	}
	tag := x.conn.NextTag()
	if x.first == "" {
		x.first, x.sent = tag, text
	}
	if strings.EqualFold(text, "logout") && x.group.conn == 1 {
		x.gone = true
	}
	x.tags[tag] = c
	answers, _, err := x.conn.Write(tag, []byte(text))
	if err != nil {
		return x.failure("that it can be sent", err.Error())
	}
	for _, a := range answers {
		if err := x.take(a); err != nil {
			return err
		}
	}
	return nil
}

// command gives a command's text. An APPEND or REPLACE without a message gets
// the next one of the mbox file.
func (x *exchange) command(text []byte) (string, error) {
	full, err := x.expandAround(text)
	if err != nil {
		return "", err
	}
	upper := strings.ToUpper(full)
	if upper == "APPEND" {
		return full + " " + mailbox + x.message(true), nil
	}
	for _, name := range []string{"APPEND ", "REPLACE ", "UID REPLACE "} {
		if strings.HasPrefix(upper, name) && !strings.Contains(upper, " CATENATE ") && !strings.Contains(upper, "}\r\n") {
			return full + x.message(!strings.HasSuffix(full, `"`) || strings.Count(full, `"`) < 3 && !strings.Contains(full, ":")), nil
		}
	}
	return full, nil
}

// expandAround expands the variables of a command outside of its literals, and
// gives each literal the size that it has.
func (x *exchange) expandAround(text []byte) (string, error) {
	var out strings.Builder
	for {
		line, rest, more := bytes.Cut(text, []byte("\r\n"))
		part, err := x.scope.expand(string(line))
		if err != nil {
			return "", err
		}
		out.WriteString(part)
		if !more {
			return out.String(), nil
		}
		var size int
		if _, err := fmt.Sscanf(string(line[bytes.LastIndexByte(line, '{'):]), "{%d}", &size); err != nil {
			return "", err
		}
		out.WriteString("\r\n")
		out.Write(rest[:size])
		text = rest[size:]
	}
}

// take compares one response with the script.
func (x *exchange) take(answer *client.Response) error {
	if c, ok := x.tags[answer.Tag]; ok {
		delete(x.tags, answer.Tag)
		x.scope.vars["tag"] = answer.Tag
		defer delete(x.scope.vars, "tag")
		if !c.any && !x.scope.response(c.reply, answer) {
			if status(c.reply) && c.reply.Status("OK") && len(x.all) > 0 {
				return x.failure(string(c.reply.Raw), answer.String()+" after "+x.seen())
			}
			return x.failure(string(c.reply.Raw), answer.String())
		}
		return nil
	}
	if answer.Tag != "*" {
		return x.failure("an untagged response", answer.String())
	}
	if err := x.untagged(answer); err != nil {
		return err
	}
	if answer.Name() == "EXPUNGE" {
		n, err := answer.Values[0].Number()
		if err != nil {
			return x.failure("a message number", answer.String())
		}
		x.scope.expunged = append(x.scope.expunged, int(n))
	}
	return nil
}

// untagged compares with every expectation: one response may hold what several
// want (FLAGS and a body), but equal ones want a response each.
func (x *exchange) untagged(answer *client.Response) error {
	x.all = append(x.all, answer.String())
	x.scope.vars["tag"] = x.first
	defer delete(x.scope.vars, "tag")
	var matched []string
	for i, e := range x.group.untagged {
		if x.found[i] || slices.Contains(matched, string(e.want.Raw)) {
			continue
		}
		ok := x.scope.response(e.want, answer)
		if ok && e.kind == '!' {
			return x.failure("no "+string(e.want.Raw), answer.String())
		}
		if ok {
			x.found[i] = true
			matched = append(matched, string(e.want.Raw))
		}
		if x.ordered && (ok || e.kind == '*') {
			break
		}
	}
	if len(matched) == 0 && x.surplus == "" {
		x.surplus = answer.String()
	}
	return nil
}

// finish says what is missing.
func (x *exchange) finish() error {
	x.scope.vars["tag"] = x.first
	defer delete(x.scope.vars, "tag")
	for i, e := range x.group.untagged {
		if e.kind == '*' && !x.found[i] {
			want := expected(e)
			if full, err := x.scope.expand(string(e.want.Raw)); err == nil {
				want = "* " + full
			}
			f := x.failure(want, x.seen()).(*client.Failure)
			f.Line = e.line
			return f
		}
	}
	if x.script.noExtra && x.surplus != "" {
		return x.failure("no other untagged response", x.surplus)
	}
	return nil
}

func expected(e *expectation) string { return string(e.kind) + " " + string(e.want.Raw) }
