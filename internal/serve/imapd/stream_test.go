package imapd

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/eventtest"
)

// noise gives n octets of text that seed determines.
func noise(seed byte, n int64) io.Reader {
	r := rand.NewChaCha8([32]byte{seed})
	line := make([]byte, 76)
	return io.LimitReader(readerFunc(func(p []byte) (int, error) {
		r.Read(line)
		for i := range line {
			line[i] = 'a' + line[i]%26
		}
		line[74], line[75] = '\r', '\n'
		return copy(p, line), nil
	}), n)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestLargeMessagesAreStreamed: neither way takes more memory than buffers.
func TestLargeMessagesAreStreamed(t *testing.T) {
	_, c := boxed(t, 0)
	const size = 20 << 20
	var before, behind runtime.MemStats
	runtime.ReadMemStats(&before)
	c.send(fmt.Sprintf("a APPEND INBOX {%d+}\r\n", size))
	sent := sha256.New()
	if _, err := io.Copy(struct{ io.Writer }{c.nc}, io.TeeReader(noise(1, size), sent)); err != nil {
		t.Fatal(err)
	}
	c.send("\r\n")
	if line := c.line(); line != "* 1 EXISTS" {
		t.Fatal(line)
	}
	if line := c.line(); !strings.HasPrefix(line, "a OK") {
		t.Fatal(line)
	}
	for _, item := range []string{"BODY.PEEK[]", "BINARY.PEEK[]"} {
		c.send("b FETCH 1 (" + item + ")\r\n")
		head, err := c.r.ReadString('\n')
		if err != nil || !strings.HasSuffix(head, fmt.Sprintf("{%d}\r\n", size)) {
			t.Fatal(head, err)
		}
		got := sha256.New()
		if _, err := io.CopyN(got, c.r, size); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
			t.Errorf("%s gives something else", item)
		}
		c.line()
		if line := c.line(); !strings.HasPrefix(line, "b OK") {
			t.Fatal(line)
		}
	}
	runtime.ReadMemStats(&behind)
	// Three ways, of which each would take more than that if it were not streamed.
	if grown := behind.TotalAlloc - before.TotalAlloc; grown > 2*size {
		t.Errorf("%d octets allocated on the way of a message of %d", grown, size)
	}
}

// TestEventsOfMessages: the journal tells once a session that somebody has read
// a message, under the trace that it came with.
func TestEventsOfMessages(t *testing.T) {
	h := newHouse(t)
	dir := t.TempDir()
	r, err := event.Open(event.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	h.Server.Events = r
	c := h.login(t, "alice")
	c.append("INBOX", simple)
	c.append("INBOX", simple)
	c.ok("SELECT INBOX")
	for _, command := range []string{"FETCH 1:* (FLAGS BODY.PEEK[HEADER] BINARY.SIZE[1] RFC822.SIZE PREVIEW)", "FETCH 1 BODY.PEEK[]", "FETCH 1 BODY[TEXT]<0.3>", "FETCH 1 BINARY[1]"} {
		c.ok(command)
	}
	c.ok("LOGOUT")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range eventtest.Events(t, dir) {
		if e.Kind == event.Stored || e.Kind == event.Retrieve {
			got = append(got, fmt.Sprint(e.Kind, " ", e.Verb, " ", e.Size, " ", e.Trace != "", " ", e.Role, " ", e.Account))
		}
	}
	want := []string{fmt.Sprintf("stored APPEND %d true imap 1", len(simple)), fmt.Sprintf("stored APPEND %d true imap 1", len(simple)),
		fmt.Sprintf("retrieve FETCH %d true imap 1", len(simple))}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}
