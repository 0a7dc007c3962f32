// Package script runs the scripted tests of imaptest against a server.
//
// A script is a file of commands and the responses they must have, with a
// header that says which state of the connection they want. The format is
// described in imaptest's scripted_test.md; all of it is understood: the three
// ways to write a command, several connections, pipelining, variables, message
// numbers as of a command's beginning ($2), $modseqN, list directives, !ifenv,
// !ordered, !sleep, and messages from an mbox file.
package script

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/test/imap/client"
)

// state is how far a connection is before the first command of a script.
type state int

const (
	nonauth state = iota
	auth
	created
	appended
	selected
)

var states = map[string]state{"nonauth": nonauth, "auth": auth, "created": created, "appended": appended, "selected": selected}

// allMessages stands for as many messages as the mbox file has.
const allMessages = -1

// Script is one scripted test.
type Script struct {
	Name string
	// Capabilities are those that the server must have.
	Capabilities []string

	connections int
	secondUser  map[int]bool // by number of the connection
	messages    int
	state       state
	noExtra     bool // every untagged response must be in the script
	groups      []*group
	mbox        []message
}

// group is what is sent before all of it is answered: one command, or several
// that are pipelined.
type group struct {
	conn     int // from 1
	commands []*command
	untagged []*expectation
	ordered  bool // the untagged responses come in the order of the script
	sleep    time.Duration
}

type command struct {
	tag   string // of the script: "tag1", or "" where there is only one
	line  int
	text  []byte
	reply *client.Response // its end; nil until it is known
	any   bool             // it may end in any way
}

// expectation is an untagged response.
type expectation struct {
	line int
	kind byte // '*' must come, '!' must not, '?' may
	want *client.Response
}

// Load reads all scripts of a directory. Every file that is not an mbox file
// is one.
func Load(dir string) ([]*Script, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*Script
	for _, e := range entries {
		if e.IsDir() || strings.HasSuffix(e.Name(), ".mbox") || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		s, err := Read(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no scripts", dir)
	}
	return all, nil
}

// Read reads one script and the mbox file that belongs to it.
func Read(path string) (*Script, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := Parse(filepath.Base(path), text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	box, err := os.ReadFile(path + ".mbox")
	if os.IsNotExist(err) {
		box, err = os.ReadFile(filepath.Join(filepath.Dir(path), "default.mbox"))
	}
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	s.mbox, err = readMbox(box)
	return s, err
}

// Parse reads a script's text.
func Parse(name string, text []byte) (*Script, error) {
	s := &Script{Name: name, connections: 1, secondUser: map[int]bool{}, state: selected}
	lines, err := logicalLines(text)
	if err != nil {
		return nil, err
	}
	p := parser{script: s}
	for _, l := range lines {
		if l.header {
			err = s.header(string(l.text))
		} else {
			err = p.line(l)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", l.number, err)
		}
	}
	return s, p.end()
}

// header reads one "key: value".
func (s *Script) header(line string) (err error) {
	key, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("a header line without a colon")
	}
	value = strings.TrimSpace(value)
	switch key = strings.ToLower(strings.TrimSpace(key)); {
	case key == "capabilities":
		s.Capabilities = strings.Fields(value)
	case key == "connections":
		s.connections, err = strconv.Atoi(value)
	case key == "messages" && value == "all":
		s.messages = allMessages
	case key == "messages":
		s.messages, err = strconv.Atoi(value)
	case key == "state":
		if s.state, ok = states[strings.ToLower(value)]; !ok {
			return fmt.Errorf("unknown state %q", value)
		}
	case key == "ignore_extra_untagged":
		s.noExtra = !strings.HasPrefix(value, "y")
	case strings.HasPrefix(key, "user "):
		n, err := strconv.Atoi(key[len("user "):])
		if err != nil || value != "$user2" && value != "${user2}" {
			return fmt.Errorf("user of a connection: %q", line)
		}
		s.secondUser[n] = true
	default:
		return fmt.Errorf("unknown header %q", key)
	}
	return err
}

// logicalLine is a line with the literals that stand in {{{ and }}}.
type logicalLine struct {
	number int // of its first line
	header bool
	text   []byte
}

// logicalLines joins what belongs together, as {3}CRLF and octets, and leaves
// comments and empty lines out. The first empty line ends the header, which a
// script need not have.
func logicalLines(text []byte) ([]logicalLine, error) {
	physical := bytes.Split(text, []byte("\n"))
	header := headed(physical)
	var all []logicalLine
	for i := 0; i < len(physical); i++ {
		line := physical[i]
		if len(bytes.TrimSpace(line)) == 0 {
			header = false
			continue
		}
		if line[0] == '#' {
			continue
		}
		l := logicalLine{number: i + 1, header: header}
		for bytes.HasSuffix(line, []byte("{{{")) {
			head, binary := bytes.CutSuffix(bytes.TrimSuffix(line, []byte("{{{")), []byte("~"))
			end := i + 1
			for end < len(physical) && !bytes.HasPrefix(physical[end], []byte("}}}")) {
				end++
			}
			if end == len(physical) {
				return nil, fmt.Errorf("line %d: {{{ has no }}}", i+1)
			}
			l.text = append(append(l.text, head...), literal(physical[i+1:end], binary)...)
			line, i = physical[end][len("}}}"):], end
		}
		l.text = append(l.text, line...)
		all = append(all, l)
	}
	return all, nil
}

// headed tells whether a script begins with a header: the first line that is
// no comment has a colon after its first word.
func headed(lines [][]byte) bool {
	for _, l := range lines {
		if len(l) > 0 && l[0] == '#' {
			continue
		}
		key, _, ok := strings.Cut(string(l), ":")
		return ok && !strings.ContainsAny(key, "(\"$") && !strings.Contains(strings.TrimPrefix(key, "user "), " ")
	}
	return false
}

// literal gives lines as a literal. The last line end belongs to the script;
// those before are CRLF, in a binary literal as they stand in the file.
func literal(lines [][]byte, binary bool) []byte {
	eol, head := "\r\n", ""
	if binary {
		eol, head = "\n", "~"
	}
	text := bytes.Join(lines, []byte(eol))
	return append(fmt.Appendf(nil, "%s{%d}\r\n", head, len(text)), text...)
}

// parser reads the lines after the header.
type parser struct {
	script *Script
	group  *group
	// conditions are the open !ifenv; each tells whether its lines count.
	conditions []bool
}

func (p *parser) end() error {
	if len(p.conditions) > 0 {
		return fmt.Errorf("!ifenv without !endif")
	}
	if len(p.script.groups) == 0 {
		return fmt.Errorf("no commands")
	}
	for _, g := range p.script.groups {
		if c := g.pending(); c != nil {
			return fmt.Errorf("line %d: the command has no expected reply", c.line)
		}
	}
	return nil
}

func (p *parser) line(l logicalLine) error {
	word, rest, _ := strings.Cut(strings.TrimRight(string(l.text), " "), " ")
	switch {
	case word == "!ifenv" || word == "!ifnenv":
		_, set := os.LookupEnv(rest)
		p.conditions = append(p.conditions, set == (word == "!ifenv"))
		return nil
	case word == "!else" || word == "!endif":
		return p.elseOrEnd(word)
	case slices.Contains(p.conditions, false):
		return nil
	case word == "!ordered" && p.group != nil:
		p.group.ordered = true
		return nil
	case word == "!sleep" && p.group != nil:
		d, err := time.ParseDuration(strings.NewReplacer(" ", "", "secs", "s", "sec", "s", "msecs", "ms", "msec", "ms").Replace(rest))
		p.group.sleep = d
		return err
	case word == "!output":
		return nil
	case word == "*" || word == "?" || word == "!":
		return p.untagged(l, word[0])
	case strings.HasPrefix(word, "!"):
		return fmt.Errorf("unknown directive %s", word)
	}
	return p.command(l)
}

func (p *parser) elseOrEnd(word string) error {
	last := len(p.conditions) - 1
	if last < 0 {
		return fmt.Errorf("%s without !ifenv", word)
	}
	if word == "!endif" {
		p.conditions = p.conditions[:last]
	} else {
		p.conditions[last] = !p.conditions[last]
	}
	return nil
}

func (p *parser) untagged(l logicalLine, kind byte) error {
	if p.group == nil {
		p.open(1) // what the greeting must be
	}
	want, err := client.ParseValues(bytes.TrimRight(l.text[2:], " "))
	if err != nil {
		return err
	}
	p.group.untagged = append(p.group.untagged, &expectation{line: l.number, kind: kind, want: want})
	return nil
}

func (p *parser) open(conn int) {
	p.group = &group{conn: conn}
	p.script.groups = append(p.script.groups, p.group)
}

func (g *group) pending() *command {
	for _, c := range g.commands {
		if c.reply == nil && !c.any {
			return c
		}
	}
	return nil
}

// command reads a command or the expected end of one.
func (p *parser) command(l logicalLine) error {
	conn, text, err := p.connection(l.text)
	if err != nil {
		return err
	}
	tag, rest := cutTag(text)
	status, after := cutStatus(rest)
	if p.group != nil && p.group.pending() != nil {
		if status != "" {
			return p.reply(conn, tag, status, rest)
		}
		if tag == "" || conn != p.group.conn {
			return fmt.Errorf("the command before has no expected reply")
		}
	} else {
		p.open(conn)
	}
	c := &command{tag: tag, line: l.number, text: after}
	p.group.commands = append(p.group.commands, c)
	if status != "" {
		return c.expect(status, []byte(status))
	}
	return nil
}

// connection takes the number of the connection off a line.
func (p *parser) connection(text []byte) (int, []byte, error) {
	if p.script.connections == 1 {
		return 1, text, nil
	}
	word, rest, _ := bytes.Cut(text, []byte(" "))
	n, err := strconv.Atoi(string(word))
	if err != nil || n < 1 || n > p.script.connections {
		return 0, nil, fmt.Errorf("the number of the connection is missing")
	}
	return n, rest, nil
}

// cutTag takes "tag1" off a line.
func cutTag(text []byte) (string, []byte) {
	word, rest, _ := bytes.Cut(text, []byte(" "))
	if n, ok := bytes.CutPrefix(bytes.ToLower(word), []byte("tag")); ok {
		if _, err := strconv.Atoi(string(n)); err == nil {
			return string(word), rest
		}
	}
	return "", text
}

// cutStatus takes OK, NO, BAD or "" off a line; status is empty where there is
// none of them.
func cutStatus(text []byte) (status string, rest []byte) {
	word, rest, _ := bytes.Cut(text, []byte(" "))
	switch s := strings.ToUpper(string(word)); s {
	case "OK", "NO", "BAD", `""`:
		return s, rest
	}
	return "", text
}

func (p *parser) reply(conn int, tag, status string, text []byte) error {
	if conn != p.group.conn {
		return fmt.Errorf("a reply for another connection")
	}
	for _, c := range p.group.commands {
		if c.tag == tag && c.reply == nil && !c.any {
			return c.expect(status, text)
		}
	}
	return fmt.Errorf("a reply to no command")
}

func (c *command) expect(status string, text []byte) (err error) {
	if status == `""` {
		c.any = true
		return nil
	}
	c.reply, err = client.ParseValues(bytes.TrimRight(text, " "))
	return err
}
