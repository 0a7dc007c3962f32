package state

import (
	"fmt"
	"slices"
	"strings"

	"github.com/migiwa/migiwa/test/imap/client"
)

// message is what a session knows of one message.
type message struct {
	uid    uint32
	flags  []string // sorted, without \Recent
	known  bool     // the flags are
	modseq uint64
}

// view is the selected mailbox as a session knows it, from responses alone.
type view struct {
	box         string
	uidValidity uint32
	uidNext     uint32 // as SELECT said it
	highest     uint64 // HIGHESTMODSEQ as SELECT said it
	messages    []message
	// expunges tells whether the running command may be answered with EXPUNGE
	// (RFC 9051, 7.5.1).
	expunges bool
	// vanished tells that expunges come as VANISHED.
	vanished bool
}

// apply takes an untagged response in.
func (v *view) apply(r *client.Response) error {
	switch r.Name() {
	case "EXISTS":
		n, err := r.Values[0].Number()
		if err != nil || int(n) < len(v.messages) {
			return fmt.Errorf("%s when %d messages are known", r, len(v.messages))
		}
		v.messages = append(v.messages, make([]message, int(n)-len(v.messages))...)
	case "EXPUNGE":
		i, err := v.index(r)
		if err != nil || !v.expunges || v.vanished {
			return fmt.Errorf("%s where it must not be (%v)", r, err)
		}
		v.messages = slices.Delete(v.messages, i, i+1)
	case "VANISHED":
		return v.vanish(r)
	case "FETCH":
		return v.fetch(r)
	}
	return nil
}

// index gives the index of the message that a response is about.
func (v *view) index(r *client.Response) (int, error) {
	n, err := r.Values[0].Number()
	if err != nil || n < 1 || n > uint64(len(v.messages)) {
		return 0, fmt.Errorf("%s when %d messages are known", r, len(v.messages))
	}
	return int(n) - 1, nil
}

// vanish takes VANISHED in. With EARLIER it may name what is not known.
func (v *view) vanish(r *client.Response) error {
	last := r.Values[len(r.Values)-1]
	earlier := len(r.Values) == 3 && len(r.Values[1].List) == 1 && r.Values[1].List[0].Is("EARLIER")
	if !v.vanished || !earlier && (len(r.Values) != 2 || !v.expunges) {
		return fmt.Errorf("%s where it must not be", r)
	}
	uids, err := parseSet(last.Text)
	if err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	for _, u := range uids {
		i := v.place(u)
		if i < 0 && !earlier {
			return fmt.Errorf("%s names messages that were never there", r)
		}
		if i >= 0 {
			v.messages = slices.Delete(v.messages, i, i+1)
		}
	}
	return nil
}

// place gives the index of a message by its UID: a known one, or one whose UID
// the session has not heard and that stands where it must be.
func (v *view) place(uid uint32) int {
	unknown := -1
	for i, m := range v.messages {
		switch {
		case m.uid == uid:
			return i
		case m.uid == 0 && unknown < 0:
			unknown = i
		case m.uid > uid:
			return unknown
		case m.uid > 0:
			unknown = -1
		}
	}
	return unknown
}

// fetch takes a FETCH response in.
func (v *view) fetch(r *client.Response) error {
	i, err := v.index(r)
	if err != nil {
		return err
	}
	if len(r.Values) != 3 || len(r.Values[2].List)%2 != 0 {
		return fmt.Errorf("%s is no FETCH response", r)
	}
	m := v.messages[i]
	items := r.Values[2].List
	for k := 0; k < len(items); k += 2 {
		if err := m.item(items[k], items[k+1]); err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
	}
	if v.vanished && m.uid == 0 {
		return fmt.Errorf("%s without a UID, with QRESYNC", r)
	}
	v.messages[i] = m
	if m.uid > 0 {
		return v.ascending(i, r)
	}
	return nil
}

func (m *message) item(name, value client.Value) error {
	switch {
	case name.Is("UID"):
		n, err := value.Number()
		if err != nil || n == 0 || n > 1<<32-1 || m.uid > 0 && m.uid != uint32(n) {
			return fmt.Errorf("the message has the UID %d", m.uid)
		}
		m.uid = uint32(n)
	case name.Is("FLAGS"):
		m.flags, m.known = nil, true
		for _, f := range value.List {
			if !f.Is(`\Recent`) {
				m.flags = append(m.flags, strings.ToLower(f.Text))
			}
		}
		slices.Sort(m.flags)
		if len(slices.Compact(slices.Clone(m.flags))) != len(m.flags) {
			return fmt.Errorf("a flag twice")
		}
	case name.Is("MODSEQ"):
		if value.Kind != client.List || len(value.List) != 1 {
			return fmt.Errorf("MODSEQ is no list")
		}
		n, err := value.List[0].Number()
		if err != nil || n < m.modseq {
			return fmt.Errorf("the mod-sequence goes back from %d", m.modseq)
		}
		m.modseq = n
	}
	return nil
}

// ascending compares the UID of a message with the known ones beside it.
func (v *view) ascending(i int, r *client.Response) error {
	uid := v.messages[i].uid
	for k, m := range v.messages {
		if m.uid > 0 && (k < i && m.uid >= uid || k > i && m.uid <= uid) {
			return fmt.Errorf("%s, but message %d has the UID %d", r, k+1, m.uid)
		}
	}
	return nil
}

// code takes a response code of SELECT in. Those of later commands are about
// changes of which the session need not know all.
func (v *view) code(r *client.Response) {
	if len(r.Code) != 2 {
		return
	}
	n, err := r.Code[1].Number()
	if err != nil {
		return // of another kind
	}
	switch {
	case r.CodeIs("UIDVALIDITY"):
		v.uidValidity = uint32(n)
	case r.CodeIs("UIDNEXT"):
		v.uidNext = uint32(n)
	case r.CodeIs("HIGHESTMODSEQ"):
		v.highest = n
	}
}

// forget makes the flags of messages unknown, as after STORE .SILENT.
func (v *view) forget(indexes ...int) {
	for _, i := range indexes {
		v.messages[i].known = false
	}
}

// maxSet bounds the members of a set.
const maxSet = 1 << 20

// parseSet gives the numbers of a set without "*".
func parseSet(text string) ([]uint32, error) {
	var all []uint32
	for part := range strings.SplitSeq(text, ",") {
		var from, to uint32
		if n, _ := fmt.Sscanf(part, "%d:%d", &from, &to); n == 1 {
			to = from
		}
		if from == 0 || to == 0 {
			return nil, fmt.Errorf("no set: %q", text)
		}
		if from > to {
			from, to = to, from
		}
		if to-from > maxSet {
			return nil, fmt.Errorf("too long a set: %q", text)
		}
		for n := uint64(from); n <= uint64(to); n++ {
			all = append(all, uint32(n))
		}
	}
	return all, nil
}
