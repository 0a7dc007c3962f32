// Package dialogue runs dialogues in the format of James's MPT against an IMAP
// server: lines of the client (C:) and, as regular expressions, of the server
// (S:), in one or more sessions.
//
// James's servers answer in one way where the protocol leaves several, so the
// comparison is of what is said, not of how:
//
//   - of a status response only the word and the response code are compared;
//   - the untagged responses to one command may come in any order, if the
//     numbers of EXPUNGE and FETCH then mean the same messages, and so may the
//     items of a FETCH response and its flags;
//   - RECENT and \Recent are not compared: which session gets them is left to
//     the server;
//   - levels of mailbox names are separated as the server does it;
//   - a string may be quoted or not where the grammar lets it;
//   - unasked news (EXISTS, RECENT, FLAGS of a message, OK with a code) may
//     stand between;
//   - of a list of capabilities those named must be there.
package dialogue

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Dialogue is one dialogue.
type Dialogue struct {
	Name  string
	steps []step
}

// step is what happens next: the client's lines, or a block of what the server
// must say, or a pause.
type step struct {
	session int // everySession, or a number
	line    int // of the file
	client  []string
	server  []*answer
	wait    time.Duration
	restart bool // all sessions begin anew
}

// everySession stands before the first SESSION line.
const everySession = -1

// answer is one response that must come: its lines are regular expressions.
type answer struct {
	line  int
	lines []string
}

// Load reads all dialogues below a directory; a name is the path without
// ".test".
func Load(dir string) ([]*Dialogue, error) {
	var all []*Dialogue
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".test") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, strings.TrimSuffix(path, ".test"))
		if err != nil {
			return err
		}
		d, err := Parse(name, text)
		if err == nil {
			all = append(all, d)
		}
		return err
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s has no dialogues", dir)
	}
	return all, err
}

// Parse reads a dialogue's text.
func Parse(name string, text []byte) (*Dialogue, error) {
	p := parser{d: &Dialogue{Name: name}, session: everySession}
	for line := range bytes.Lines(text) {
		p.number++
		if err := p.line(strings.TrimRight(string(line), "\r\n")); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, p.number, err)
		}
	}
	return p.d, nil
}

type parser struct {
	d       *Dialogue
	session int
	number  int
	block   bool // within SUB {
}

func (p *parser) line(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	case strings.HasPrefix(line, "C:"):
		s := p.step(true)
		s.client = append(s.client, after(line))
	case strings.HasPrefix(line, "S:"):
		s := p.step(false)
		s.server = append(s.server, &answer{line: p.number, lines: []string{after(line)}})
	case strings.TrimSpace(line) == "" || line[0] == '#':
	case word == "SUB":
		p.block = true
	case word == "}" && p.block:
		p.block = false
	case word == "SESSION:":
		n, err := strconv.Atoi(strings.TrimSpace(rest))
		p.session = n
		return err
	case word == "WAIT":
		ms, err := strconv.Atoi(rest)
		p.add(step{wait: time.Duration(ms) * time.Millisecond})
		return err
	case word == "REINIT":
		p.add(step{restart: true})
	case word == "LOG" || word == "TIMER" || word == "AWAIT":
		// James's own logs, clocks and index.
	default:
		return fmt.Errorf("unknown line %q", line)
	}
	return nil
}

// after gives what follows "C: ".
func after(line string) string { return line[min(3, len(line)):] }

func (p *parser) add(s step) {
	s.session, s.line = p.session, p.number
	p.d.steps = append(p.d.steps, s)
}

// step gives the step that another line of a side belongs to.
func (p *parser) step(client bool) *step {
	if n := len(p.d.steps); n > 0 {
		last := &p.d.steps[n-1]
		if last.session == p.session && (client && last.client != nil || !client && last.server != nil) {
			return last
		}
	}
	p.add(step{})
	return &p.d.steps[len(p.d.steps)-1]
}

// sessions is how many sessions there are.
func (d *Dialogue) sessions() int {
	most := 0
	for _, s := range d.steps {
		most = max(most, s.session)
	}
	return most + 1
}

// commandLine finds the tag and the name of a command.
var commandLine = regexp.MustCompile(`^([A-Za-z0-9.]+) (?:(?i:UID) )?([A-Za-z]+)`)

// literalLine is a line that the next ones belong to.
var literalLine = regexp.MustCompile(`\{(\d+)(\+?)\}$`)

// commands gives the names of the commands, in capitals, in their order.
func (d *Dialogue) commands() []string {
	var names []string
	for _, s := range d.steps {
		for _, l := range s.client {
			if m := commandLine.FindStringSubmatch(l); m != nil {
				names = append(names, strings.ToUpper(m[2]))
			}
		}
	}
	return names
}
