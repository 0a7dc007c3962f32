package smtpd

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestScripts plays the dialogues of testdata/*.smtp. A line "C: x" is sent
// with CR LF, neighbouring ones in one write; "C! "x"" sends a Go string as it
// is; "S: re" must match the next line of the server whole; "S." says that the
// server closes. "V step: 550 5.7.1 text" and "L name: n" come first: a verdict
// and a limit. "M text" wants text in the message accepted next, "N n" counts
// the messages accepted in the end, "F fault" wants a fault reported.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.smtp")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d scripts found: %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".smtp"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			runScript(t, string(text))
		})
	}
}

type script struct {
	t      *testing.T
	line   int
	client *memConn
	in     *bufio.Reader
	rec    *recorder
	srv    *Server
	seen   int // messages looked at
	send   strings.Builder
}

func runScript(t *testing.T, text string) {
	rec := &recorder{verdict: map[string]Verdict{}}
	s := &script{t: t, rec: rec, srv: &Server{Handler: rec, Hostname: "mx.example"}}
	for i, line := range strings.Split(text, "\n") {
		s.line = i + 1
		kind, arg, _ := strings.Cut(line, " ")
		if kind != "C:" && kind != "C!" {
			s.flush()
		}
		s.step(kind, arg)
	}
	s.flush()
}

func (s *script) step(kind, arg string) {
	switch kind {
	case "", "#":
	case "V":
		s.setVerdict(arg)
	case "L":
		s.setLimit(arg)
	case "C:":
		s.send.WriteString(arg + "\r\n")
	case "C!":
		raw, err := strconv.Unquote(arg)
		if err != nil {
			s.t.Fatalf("line %d: %v", s.line, err)
		}
		s.send.WriteString(raw)
	case "S:":
		s.expect(arg)
	case "S.":
		s.connect()
		if b, err := io.ReadAll(s.in); len(b) > 0 || err != nil {
			s.t.Fatalf("line %d: wanted the end, got %q, %v", s.line, b, err)
		}
	case "M":
		m := s.rec.accepted()
		if len(m) <= s.seen || !strings.Contains(m[s.seen].data, arg) {
			s.t.Fatalf("line %d: message %d of %+v has no %q", s.line, s.seen, m, arg)
		}
		s.seen++
	case "N":
		if m := s.rec.accepted(); strconv.Itoa(len(m)) != arg {
			s.t.Fatalf("line %d: %d messages, want %s: %+v", s.line, len(m), arg, m)
		}
	case "F":
		s.rec.mu.Lock()
		defer s.rec.mu.Unlock()
		for _, f := range s.rec.faults {
			if string(f) == arg {
				return
			}
		}
		s.t.Fatalf("line %d: faults are %v", s.line, s.rec.faults)
	default:
		s.t.Fatalf("line %d: what is %q?", s.line, kind)
	}
}

func (s *script) setVerdict(arg string) {
	name, text, _ := strings.Cut(arg, ": ")
	f := strings.SplitN(text, " ", 3)
	code, err := strconv.Atoi(f[0])
	if err != nil || len(f) < 3 {
		s.t.Fatalf("line %d: verdict %q", s.line, arg)
	}
	s.rec.verdict[name] = Verdict{Reply: reply(code, f[1], f[2])}
}

func (s *script) setLimit(arg string) {
	name, text, _ := strings.Cut(arg, ": ")
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatalf("line %d: %v", s.line, err)
	}
	l := &s.srv.Limits
	switch name {
	case "messagesize":
		l.MessageSize = int64(n)
	case "textline":
		l.TextLine = n
	case "recipients":
		l.Recipients = n
	case "messages":
		l.Messages = n
	case "errors":
		l.Errors = n
	case "commands":
		l.Commands = n
	default:
		s.t.Fatalf("line %d: limit %q", s.line, name)
	}
}

func (s *script) connect() {
	if s.client != nil {
		return
	}
	s.client = serveOne(s.t, s.srv, "192.0.2.7:2525")
	s.client.SetReadDeadline(time.Now().Add(10 * time.Second))
	s.in = bufio.NewReader(s.client)
}

func (s *script) flush() {
	if s.send.Len() == 0 {
		return
	}
	s.connect()
	s.client.Write([]byte(s.send.String()))
	s.send.Reset()
}

func (s *script) expect(pattern string) {
	s.connect()
	line, err := s.in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		s.t.Fatalf("line %d: want %q, got %v", s.line, pattern, err)
	}
	re := regexp.MustCompile("^(?:" + pattern + ")\r\n$")
	if !re.MatchString(line) {
		s.t.Fatalf("line %d: want %q, got %q", s.line, pattern, line)
	}
}
