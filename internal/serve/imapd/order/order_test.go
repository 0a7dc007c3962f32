package order

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/mail/outline"
)

// message makes a Message of "Name: value" lines; sent at minute n.
func message(number uint32, minute int, fields ...string) Message {
	o := &outline.Outline{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		switch name {
		case "Subject":
			o.Envelope.Subject = value
		case "From":
			o.Envelope.From = value
		case "To":
			o.Envelope.To = value
		case "Cc":
			o.Envelope.Cc = value
		case "Message-ID":
			o.Envelope.MessageID = value
		case "In-Reply-To":
			o.Envelope.InReplyTo = value
		case "References":
			o.References = mail.MessageIDs(value)
		case "Sent":
			o.Sent, _ = time.Parse(time.RFC3339, value)
		default:
			panic(name)
		}
	}
	return Message{Number: number, Arrival: time.Date(2026, 11, 26, 10, minute, 0, 0, time.UTC), Size: int64(number), Outline: o}
}

func sorted(criteria []Criterion, messages ...Message) string {
	s := NewSorter(criteria)
	for _, m := range messages {
		s.Add(m)
	}
	return strings.Trim(fmt.Sprint(s.Numbers()), "[]")
}

func TestSortSubject(t *testing.T) {
	messages := []Message{
		message(1, 0, "Subject: b"), message(2, 0, "Subject: Re: [x] A"), message(3, 0, "Subject: _"),
		message(4, 0), message(5, 0, "Subject: B (fwd)"), message(6, 0, "Subject: [only]"),
		message(7, 0, "Subject: =?utf-8?Q?=C3=A4a?="), message(8, 0, "Subject: =?iso-8859-1?Q?=C4b?="),
	}
	if got := sorted([]Criterion{{Key: Subject}}, messages...); got != "4 2 7 8 1 5 6 3" {
		t.Error(got)
	}
	if got := sorted([]Criterion{{Key: Subject, Reverse: true}}, messages...); got != "3 6 1 5 8 7 2 4" {
		t.Error(got)
	}
	if got := sorted([]Criterion{{Key: Subject}, {Key: Size, Reverse: true}}, messages...); got != "4 2 7 8 5 1 6 3" {
		t.Error(got)
	}
}

func TestSortDates(t *testing.T) {
	messages := []Message{
		message(1, 30), message(2, 10, "Sent: 2026-11-26T10:45:00Z"), message(3, 20, "Sent: 2026-11-26T19:00:00+09:00"),
	}
	if got := sorted([]Criterion{{Key: Date}}, messages...); got != "3 1 2" {
		t.Error(got)
	}
	if got := sorted([]Criterion{{Key: Arrival}}, messages...); got != "2 3 1" {
		t.Error(got)
	}
	if got := sorted([]Criterion{{Key: Date, Reverse: true}}, messages...); got != "2 1 3" {
		t.Error(got)
	}
}

func TestSortAddresses(t *testing.T) {
	messages := []Message{
		message(1, 0, "From: Zoe <b@z.example>", "To: team: x@example.test;", "Cc: z@example.test, a@example.test"),
		message(2, 0, "From: a@example.test", "To: Bob <zz@example.test>"),
		message(3, 0, "From: =?utf-8?B?5bGx55Sw?= <B@a.example>", "To: alice@example.test"),
	}
	for key, want := range map[Key]string{From: "2 1 3", To: "3 1 2", Cc: "2 3 1", DisplayFrom: "2 1 3", DisplayTo: "3 2 1"} {
		if got := sorted([]Criterion{{Key: key}}, messages...); got != want {
			t.Errorf("key %d: %s, want %s", key, got, want)
		}
	}
}

func threaded(byReference bool, messages ...Message) string {
	th := NewThreader(byReference)
	for _, m := range messages {
		th.Add(m)
	}
	return string(th.Threads().Append(nil))
}

func TestThreadReferences(t *testing.T) {
	for name, tt := range map[string]struct {
		messages []Message
		want     string
	}{
		"none":  {nil, ""},
		"alone": {[]Message{message(1, 0), message(2, 0)}, "(1)(2)"},
		"chain and branch": {[]Message{message(1, 0, "Message-ID: <a@b>"), message(2, 1, "Message-ID: <b@b>", "In-Reply-To: <a@b>"),
			message(3, 2, "References: <a@b> <b@b>"), message(4, 3, "References: <a@b>")}, "(1 (2 3)(4))"},
		"a parent that is missing":         {[]Message{message(1, 0, "References: <x@b>"), message(2, 1, "References: <x@b>")}, "((1)(2))"},
		"one child of one that is missing": {[]Message{message(1, 0, "References: <x@b> <y@b>")}, "(1)"},
		"missing in the middle": {[]Message{message(1, 0, "Message-ID: <a@b>"), message(2, 1, "References: <a@b> <x@b>"),
			message(3, 2, "References: <a@b> <x@b>")}, "(1 (2)(3))"},
		"the same identifier twice": {[]Message{message(1, 0, "Message-ID: <a@b>"), message(2, 0, "Message-ID: <a@b>")}, "(1)(2)"},
		"quoted identifier":         {[]Message{message(1, 0, `Message-ID: <"a"@b>`), message(2, 0, "References: <a@b>")}, "(1 2)"},
		"a loop": {[]Message{message(1, 0, "Message-ID: <a@b>", "References: <b@b>"),
			message(2, 1, "Message-ID: <b@b>", "References: <a@b>")}, "(2 1)"},
		"of itself": {[]Message{message(1, 0, "Message-ID: <a@b>", "References: <a@b>")}, "(1)"},
		"In-Reply-To counts only alone": {[]Message{message(1, 0, "Message-ID: <a@b>"), message(2, 0, "Message-ID: <b@b>"),
			message(3, 1, "References: <a@b>", "In-Reply-To: <b@b>"), message(4, 2, "In-Reply-To: <b@b> <a@b>")}, "(1 3)(2 4)"},
		"a truncated list gives way": {[]Message{message(1, 0, "Message-ID: <a@b>"), message(2, 1, "References: <a@b> <c@b>"),
			message(3, 2, "Message-ID: <c@b>", "References: <d@b>"), message(4, 3, "Message-ID: <d@b>")}, "(1)(4 3 2)"},
		"a reply by subject":      {[]Message{message(1, 0, "Subject: foo"), message(2, 1, "Subject: Re: foo")}, "(1 2)"},
		"a reply sent before":     {[]Message{message(1, 1, "Subject: foo"), message(2, 0, "Subject: Re: foo")}, "(1 2)"},
		"two of one subject":      {[]Message{message(1, 0, "Subject: foo"), message(2, 1, "Subject: FOO")}, "((1)(2))"},
		"three replies":           {[]Message{message(1, 0, "Subject: re: a"), message(2, 1, "Subject: re: a"), message(3, 2, "Subject: re: a")}, "((1)(2)(3))"},
		"reply between originals": {[]Message{message(1, 0, "Subject: re: a"), message(2, 1, "Subject: a"), message(3, 2, "Subject: a")}, "((2 1)(3))"},
		"dummies of one subject": {[]Message{message(1, 0, "Subject: a", "References: <x@b>"), message(2, 3, "Subject: a", "References: <x@b>"),
			message(3, 1, "Subject: a", "References: <y@b>"), message(4, 2, "Subject: a", "References: <y@b>")}, "((1)(3)(4)(2))"},
		"a message and a dummy": {[]Message{message(1, 0, "Subject: a"), message(2, 1, "Subject: re: a", "References: <x@b>"),
			message(3, 2, "Subject: re: a", "References: <x@b>")}, "((1)(2)(3))"},
		"siblings by date": {[]Message{message(1, 0, "Message-ID: <a@b>"), message(2, 9, "References: <a@b>"),
			message(3, 5, "References: <a@b>"), message(4, 5, "References: <a@b>")}, "(1 (3)(4)(2))"},
	} {
		if got := threaded(true, tt.messages...); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestThreadOrderedSubject(t *testing.T) {
	got := threaded(false, message(1, 9, "Subject: a"), message(2, 1, "Subject: b"), message(3, 2, "Subject: Re: A"),
		message(4, 3, "Subject: a"), message(5, 0), message(6, 8))
	if got != "(5 6)(2)(3 (4)(1))" {
		t.Error(got)
	}
}

// TestThreadsHoldEachMessageOnce does so whatever the references say, and
// however they are counted.
func TestThreadsHoldEachMessageOnce(t *testing.T) {
	digits := regexp.MustCompile(`[0-9]+`)
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 1 + r.IntN(60)
		id := func() string { return fmt.Sprintf("<%d@x>", r.IntN(n+n/2)) }
		th := NewThreader(seed%4 != 0)
		if seed%3 == 0 {
			th.references = maxReferences
		}
		for i := range n {
			fields := []string{"Message-ID: " + id(), "Subject: " + []string{"", "a", "re: a", "b", "re: b"}[r.IntN(5)]}
			var refs []string
			for range r.IntN(5) {
				refs = append(refs, id())
			}
			fields = append(fields, "References: "+strings.Join(refs, " "))
			th.Add(message(uint32(i+1), r.IntN(60), fields...))
		}
		text := string(th.Threads().Append(nil))
		var got []int
		for _, d := range digits.FindAllString(text, -1) {
			v, _ := strconv.Atoi(d)
			got = append(got, v)
		}
		slices.Sort(got)
		if len(got) != n || slices.Compact(got)[0] != 1 || len(slices.Compact(got)) != n || got[n-1] != n {
			t.Fatalf("seed %d: %d messages in %s", seed, n, text)
		}
		if strings.Count(text, "(") != strings.Count(text, ")") || strings.Contains(text, "()") || strings.Contains(text, " )") {
			t.Fatalf("seed %d: %s", seed, text)
		}
	}
}

// TestLongThread goes through a thread of 100,000 messages, each the answer to
// the one before, in both orders.
func TestLongThread(t *testing.T) {
	const n = 100_000
	for _, backward := range []bool{false, true} {
		th := NewThreader(true)
		start := time.Now()
		for i := range n {
			k := i
			if backward {
				k = n - 1 - i
			}
			th.Add(message(uint32(i+1), 0, fmt.Sprintf("Message-ID: <%d@x>", k), fmt.Sprintf("References: <%d@x>", k-1)))
		}
		text := string(th.Threads().Append(nil))
		if strings.Count(text, "(") != 1 || len(text) < 5*n {
			t.Errorf("%.60s", text)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("took %v", d)
		}
	}
}
