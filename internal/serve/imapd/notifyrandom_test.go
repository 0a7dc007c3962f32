package imapd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// learned is what a client of NOTIFY makes of what it hears: a line for each
// mailbox by its name.
type learned map[string]string

var (
	listLine = regexp.MustCompile(`^\* LIST \(([^)]*)\) "/" (\S+)(?: \("OLDNAME" \((\S+)\)\))?$`)
	statLine = regexp.MustCompile(`^\* STATUS (\S+) \((.*)\)$`)
	modseqOf = regexp.MustCompile(` HIGHESTMODSEQ \d+`)
)

// hear takes in responses, one after the other.
func (m learned) hear(t *testing.T, lines []string) {
	t.Helper()
	for _, line := range lines {
		if p := listLine.FindStringSubmatch(line); p != nil {
			attributes, name, old := p[1], p[2], p[3]
			state := "made"
			if old == "" {
				old = name
			}
			if s, there := m[old]; there {
				state, _, _ = strings.Cut(s, " | ")
				delete(m, old)
			}
			if m[name] = state + " | " + attributes; strings.Contains(attributes, `\NonExistent`) {
				delete(m, name)
			}
		} else if p := statLine.FindStringSubmatch(line); p != nil {
			_, attributes, _ := strings.Cut(m[p[1]], " | ")
			m[p[1]] = modseqOf.ReplaceAllString(p[2], "") + " | " + attributes
		} else if !strings.HasPrefix(line, "* OK") {
			t.Errorf("heard %q", line)
		}
	}
}

// TestNotifyRandom: other sessions do anything to mailboxes and messages. From
// what one session hears, and what it does itself, it knows in the end what LIST
// and STATUS tell.
func TestNotifyRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t)
	c, others := h.login(t, "alice"), []*client{h.login(t, "alice"), h.login(t, "alice")}
	names := []string{"a", "b", "a/x", "a/y", "b/x", "c"}
	name := func() string { return names[r.IntN(len(names))] }
	for round := range 15 {
		m := learned{}
		m.hear(t, c.ok(`LIST "" * RETURN (SUBSCRIBED)`))
		for n := range m { // as LIST has told attributes in another order, too
			m[n] = "made | " + strings.SplitN(m[n], " | ", 2)[1]
		}
		m.hear(t, c.ok("NOTIFY SET STATUS (PERSONAL (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))"))
		for range 40 {
			who := others[r.IntN(len(others))]
			switch r.IntN(9) {
			case 0, 1:
				who.do("CREATE " + name())
			case 2:
				who.do("DELETE " + name())
			case 3, 4:
				who.do("RENAME " + name() + " " + name())
			case 5:
				who.do([]string{"", "UN"}[r.IntN(2)] + "SUBSCRIBE " + name())
			case 6:
				who.do("APPEND " + name() + " {5+}\r\na\r\n\r\n")
			case 7:
				if _, tagged := who.do("SELECT " + name()); strings.HasPrefix(tagged, "OK") {
					who.do(`STORE 1:* FLAGS (\Seen)`)
				}
				who.do("UNSELECT")
			case 8:
				if _, tagged := who.do("SELECT " + name()); strings.HasPrefix(tagged, "OK") {
					who.do(`STORE 1 FLAGS (\Deleted)`)
					who.do("EXPUNGE")
				}
				who.do("UNSELECT")
			}
			if r.IntN(8) == 0 {
				time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
			}
		}
		is := learned{}
		is.hear(t, others[0].ok(`LIST "" * RETURN (SUBSCRIBED STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN))`))
		var wrong []string
		for end := time.Now().Add(2 * surveyPause); ; {
			time.Sleep(pushPause)
			m.hear(t, c.ok("NOOP"))
			if wrong = m.differs(is); len(wrong) == 0 || time.Now().After(end) {
				break
			}
		}
		c.ok("NOTIFY NONE")
		if len(wrong) > 0 {
			t.Fatalf("round %d: %s", round, strings.Join(wrong, "\n"))
		}
	}
}

// differs says where what was heard is not what is. A mailbox whose making was
// heard of is empty as long as nothing more is.
func (heard learned) differs(is learned) (wrong []string) {
	for _, n := range slices.Sorted(maps.Keys(is)) {
		got := heard[n]
		if rest, made := strings.CutPrefix(got, "made | "); made {
			_, after, _ := strings.Cut(is[n], " | ")
			if after == rest && strings.HasPrefix(is[n], "MESSAGES 0 UIDNEXT 1 ") {
				continue
			}
		}
		if got != is[n] {
			wrong = append(wrong, fmt.Sprintf("%s is %q, heard %q", n, is[n], got))
		}
	}
	for n := range heard {
		if _, there := is[n]; !there {
			wrong = append(wrong, fmt.Sprintf("%s is not there, heard %q", n, heard[n]))
		}
	}
	return wrong
}

var (
	fetchLine = regexp.MustCompile(`^\* (\d+) FETCH \(UID (\d+) FLAGS (\([^)]*\))`)
	countLine = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE)$`)
)

// numberedView is the selected mailbox as a client knows it: UID and flags by number.
type numberedView []string

func (v *numberedView) hear(t *testing.T, lines []string) {
	t.Helper()
	for _, line := range lines {
		n := 0
		if p := fetchLine.FindStringSubmatch(line); p != nil {
			if fmt.Sscan(p[1], &n); n < 1 || n > len(*v) {
				t.Fatalf("%q of %d messages", line, len(*v))
			}
			if uid, _, _ := strings.Cut((*v)[n-1], " "); uid != "" && uid != p[2] {
				t.Fatalf("%q, but it is UID %s", line, uid)
			}
			(*v)[n-1] = p[2] + " " + p[3]
			continue
		}
		p := countLine.FindStringSubmatch(line)
		if p == nil {
			t.Fatalf("heard %q", line)
		}
		switch fmt.Sscan(p[1], &n); {
		case p[2] == "EXPUNGE":
			*v = slices.Delete(*v, n-1, n)
		case n < len(*v):
			t.Fatalf("%q of %d messages", line, len(*v))
		default:
			*v = append(*v, make([]string, n-len(*v))...)
		}
	}
}

// TestNotifySelectedRandom: other sessions do anything to messages; who hears of
// it at any time knows in the end what FETCH tells.
func TestNotifySelectedRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t)
	h.fill(t, 5)
	c, others := h.login(t, "alice"), []*client{h.login(t, "alice"), h.login(t, "alice")}
	for _, o := range append(others, c) {
		o.ok("SELECT INBOX")
	}
	v := numberedView(make([]string, 5))
	v.hear(t, c.ok("FETCH 1:* (UID FLAGS)"))
	v.hear(t, c.ok("NOTIFY SET (SELECTED (MessageNew (UID FLAGS) MessageExpunge FlagChange))"))
	for round := range 8 {
		for range 25 {
			who := others[r.IntN(len(others))]
			switch r.IntN(6) {
			case 0, 1:
				who.ok("APPEND INBOX {5+}\r\na\r\n\r\n")
			case 2:
				who.do(fmt.Sprintf(`STORE 1:%d FLAGS (\Seen k%d)`, 1+r.IntN(4), r.IntN(3)))
			case 3:
				who.do(fmt.Sprintf(`STORE %d +FLAGS (\Deleted)`, 1+r.IntN(5)))
			case 4:
				who.ok("EXPUNGE")
			case 5:
				who.do(fmt.Sprintf("COPY %d INBOX", 1+r.IntN(5)))
			}
		}
		time.Sleep(2 * pushPause)
		responses := c.ok("NOOP")
		v.hear(t, slices.DeleteFunc(responses, func(l string) bool {
			return strings.HasPrefix(l, "* FLAGS ") || strings.HasPrefix(l, "* OK [PERMANENTFLAGS")
		}))
		is := numberedView(make([]string, len(v)))
		is.hear(t, c.ok("FETCH 1:* (UID FLAGS)"))
		if !slices.Equal(v, is) {
			t.Fatalf("round %d: heard %q, is %q", round, v, is)
		}
	}
}
