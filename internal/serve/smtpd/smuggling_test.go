package smtpd

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sequences are ends of data that are none. What follows them must never be
// read as commands.
var sequences = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\r", "\n.\r", "\r\n.\r", "\r\n\x00.\r\n", "\r\n\x00.\r",
	"\r\n\x00.\n", "\r\n.\x00\r\n", "\n\n.\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n. \r\n", "\r\n.\t\r\n", "\r\n..\r\n",
}

// clean are those without a bare CR, a bare LF or a NUL: text as good as any.
var clean = map[string]bool{"\r\n. \r\n": true, "\r\n.\t\r\n": true, "\r\n..\r\n": true}

func TestSmuggling(t *testing.T) {
	for _, seq := range append(sequences, collected(t)...) {
		t.Run(strconv.Quote(seq), func(t *testing.T) { smuggle(t, seq) })
	}
}

func smuggle(t *testing.T, seq string) {
	rec := &recorder{}
	client := serveOne(t, &Server{Handler: rec}, "192.0.2.1:1")
	client.SetReadDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(client)
	client.Write([]byte("HELO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"))
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "354") {
			break
		}
	}
	evil := "MAIL FROM:<evil@b.example>\r\nRCPT TO:<victim@d.example>\r\nDATA\r\nsmuggled\r\n.\r\nQUIT\r\n"
	client.Write([]byte("Subject: x\r\n\r\ntext" + seq + evil))
	out, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	mails := 0
	for _, s := range rec.steps {
		if s == "mail" {
			mails++
		}
	}
	if mails != 1 {
		t.Fatalf("%d MAIL commands, replies %q", mails, out)
	}
	m := rec.messages[0]
	if !clean[seq] {
		if m.err == nil || !strings.HasPrefix(string(out), "554 ") {
			t.Fatalf("accepted %q with %q", m.data, out)
		}
		return
	}
	if m.err != nil || !strings.HasPrefix(string(out), "250 ") || !strings.HasSuffix(m.data, "smuggled\r\n") {
		t.Fatalf("message %q, %v, replies %q", m.data, m.err, out)
	}
	if want := "text\r\n" + seq[3:]; !strings.Contains(m.data, want) {
		t.Fatalf("%q is not in %q", want, m.data)
	}
}

// collected reads the sequences gathered from the known attack tools.
func collected(t *testing.T) []string {
	dir := os.Getenv("MIGIWA_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	b, err := os.ReadFile(filepath.Join(dir, "03-smtp", "smuggling-sequences", "sequences.tsv"))
	if err != nil {
		t.Logf("no collected sequences: %v (set MIGIWA_TESTDATA)", err)
		return nil
	}
	var out []string
	for _, line := range strings.Split(string(b), "\n") {
		seq, _, ok := strings.Cut(line, "\t")
		if !ok || strings.HasPrefix(line, "#") || seq == "sequence" {
			continue
		}
		s, err := strconv.Unquote(`"` + seq + `"`)
		if err != nil {
			t.Errorf("sequence %q: %v", seq, err)
			continue
		}
		if s != "\r\n." { // the end of a segment; whatever follows decides
			out = append(out, s)
		}
	}
	if len(out) < 10 {
		t.Errorf("only %d sequences collected", len(out))
	}
	return out
}

// TestSegments sends one message octet by octet, so that every state of the
// reader meets the end of what has come.
func TestSegments(t *testing.T) {
	rec := &recorder{}
	client := serveOne(t, &Server{Handler: rec}, "192.0.2.1:1")
	go io.Copy(io.Discard, client)
	say := func(s string) {
		for i := range len(s) {
			client.Write([]byte{s[i]})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
	}
	say("HELO c\r\n")
	say("MAIL FROM:<a@b.example>\r\n")
	say("RCPT TO:<c@d.example>\r\n")
	say("DATA\r\n")
	say("a\r\n..\r\n.x\r\n\r\n. \r\n.\r\n")
	say("QUIT\r\n")
	if m := rec.accepted(); len(m) != 1 || m[0].data != "a\r\n.\r\nx\r\n\r\n \r\n" {
		t.Fatalf("%+v", m)
	}
}

// TestCollectedDialogues plays the client's side of dialogues that another
// server is tested with: what it must take we take, what it must refuse we
// refuse.
func TestCollectedDialogues(t *testing.T) {
	dir := os.Getenv("MIGIWA_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	dir = filepath.Join(dir, "03-smtp", "james-mpt-smtp", "mpt", "impl", "smtp", "core", "src", "main", "resources", "org", "apache", "james", "smtp", "scripts")
	for _, name := range []string{"helo", "data_with_starttls", "data_starts_with_starttls", "rcpt_with_starttls"} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, name+".test"))
			if err != nil {
				t.Skipf("collected dialogues are absent: %v", err)
			}
			rec := &recorder{}
			client := serveOne(t, &Server{Handler: rec}, "192.0.2.1:1")
			client.SetReadDeadline(time.Now().Add(10 * time.Second))
			in := bufio.NewReader(client)
			final := func(want string) {
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						t.Fatalf("wanting %s: %v", want, err)
					}
					if line[3] == ' ' {
						if line[:3] != want {
							t.Fatalf("want %s, got %q", want, line)
						}
						return
					}
				}
			}
			final("220")
			text := false
			for _, line := range strings.Split(string(b), "\n") {
				cmd, ok := strings.CutPrefix(line, "C:")
				if !ok {
					continue
				}
				cmd = strings.TrimPrefix(strings.TrimRight(cmd, "\r"), " ")
				client.Write([]byte(cmd + "\r\n"))
				switch {
				case text && cmd != ".":
				case cmd == "data":
					text = true
					final("354")
				default:
					final("250")
				}
			}
			if m := rec.accepted(); len(m) != 1 || !strings.Contains(m[0].data, "content") {
				t.Fatalf("%+v", m)
			}
		})
	}
}
