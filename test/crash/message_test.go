package crash

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// message is one message of the load. All of it follows from its id, so that
// whoever finds it later can tell whether every octet is right.
type message struct {
	id    string
	local []string // local parts of our mailboxes
	sent  []string // recipients at the sink
	text  []byte   // header and body, each line ending in CRLF
}

// remote is the domain that the route sends to the sink.
const remote = "remote.test"

// header is what the text of every message begins with.
const header = "X-Id: "

// recipients are the kinds of envelopes in the load.
var recipients = []struct{ local, sent []string }{
	{[]string{"alice", "bob"}, nil},
	{[]string{"alice", "bob"}, nil},
	{[]string{"alice"}, nil},
	{[]string{"carol"}, nil},
	{[]string{"bob", "carol"}, []string{"r1@" + remote}},
	{[]string{"alice", "bob"}, []string{"r1@" + remote, "r2@" + remote}},
	{nil, []string{"r1@" + remote}},
}

func newMessage(id string) *message {
	h := fnv.New64a()
	h.Write([]byte(id))
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	kind := recipients[r.IntN(len(recipients))]
	m := &message{id: id, local: kind.local, sent: kind.sent}
	size := 200 + r.IntN(8<<10)
	if r.IntN(12) == 0 {
		size = 60<<10 + r.IntN(200<<10) // some of them get a file of their own
	}
	m.text = randomText(r, id, size)
	return m
}

// randomText is a message of about size octets, with lines that begin with a
// full stop.
func randomText(r *rand.Rand, id string, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%s\r\nFrom: a@sender.test\r\nTo: undisclosed:;\r\nSubject: %s\r\nDate: Tue, 3 Mar 2026 10:00:00 +0900\r\nMessage-ID: <%s@sender.test>\r\n\r\n",
		header, id, id, id)
	for b.Len() < size {
		line := make([]byte, r.IntN(78))
		for i := range line {
			line[i] = "abcdefghijklmnopqrstuvwxyz .,0123456789"[r.IntN(39)]
		}
		b.Write(line)
		b.WriteString("\r\n")
	}
	b.WriteString("end of " + id + "\r\n")
	return b.Bytes()
}

// identify tells which message a stored or delivered text is: its id, and whether
// it ends in exactly what was sent. What stands before was put there by
// servers on the way.
func identify(text []byte) (id string, trace []byte, err error) {
	at := bytes.Index(text, []byte("\r\n"+header))
	if at < 0 {
		return "", nil, fmt.Errorf("not a message of ours: %.200q", text)
	}
	at += 2
	line, _, _ := bytes.Cut(text[at+len(header):], []byte("\r\n"))
	id = string(line)
	trace = text[:at]
	var want []byte
	if strings.HasPrefix(id, "fill-") {
		want = fillText(id)
	} else {
		want = newMessage(id).text
	}
	if !bytes.Equal(text[at:], want) {
		return id, trace, fmt.Errorf("message %s has other octets than were sent (%d, not %d)", id, len(text)-at, len(want))
	}
	return id, trace, nil
}

// fillText is the text of a message that fills a disk.
func fillText(id string) []byte {
	return randomText(rand.New(rand.NewPCG(uint64(len(id)), 2)), id, 30<<10)
}
