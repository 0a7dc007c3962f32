package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/migiwa/migiwa/internal/event"
	"github.com/migiwa/migiwa/internal/event/archive"
	"github.com/migiwa/migiwa/internal/mail"
)

var (
	begun  = time.Date(2026, 11, 25, 5, 0, 0, 0, time.UTC)
	client = netip.MustParseAddr("192.0.2.7")
)

// session gives events their time, a second apart, node, trace and role.
func session(node string, trace mail.TraceID, role string, start int, events ...event.Event) []event.Event {
	for i := range events {
		e := &events[i]
		e.Time, e.Node = begun.Add(time.Duration(start+i)*time.Second), node
		if e.Trace == "" {
			e.Trace = trace
		}
		if e.Role == "" {
			e.Role = role
		}
	}
	return events
}

func texts(s *Story) string {
	var all []string
	for _, t := range s.Sentences {
		all = append(all, t.Node+": "+t.Text)
	}
	return strings.Join(all, "\n")
}

func recipients(s *Story) string {
	var all []string
	for _, r := range s.Recipients {
		all = append(all, r.Address+" "+string(r.State)+" "+r.Text)
	}
	return strings.Join(all, "\n")
}

// finder reads a journal with the events.
func finder(t testing.TB, events ...[]event.Event) *Finder {
	t.Helper()
	r, err := event.Open(event.Options{Dir: filepath.Join(t.TempDir(), "journal"), Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	for _, some := range events {
		for _, e := range some {
			r.Record(e)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return &Finder{Archive: &archive.Archive{Journal: r.Dir()}}
}

func one(t *testing.T, f *Finder, question string) *Story {
	t.Helper()
	stories, _, err := f.Find(context.Background(), question, begun.Add(time.Hour))
	if err != nil || len(stories) != 1 {
		t.Fatalf("%s: %d stories, %v", question, len(stories), err)
	}
	return stories[0]
}

// incoming is a session with a wrong recipient and two messages.
func incoming() []event.Event {
	return session("mx1", "aaaaaaaaaaaaaaaa", "mx", 0,
		event.Event{Kind: event.Connect, IP: client, Name: "mail.client.test"},
		event.Event{Kind: event.Rcpt, IP: client, From: "<hanako@client.test>", To: "bbo@here.test", Code: 550, Enhanced: "5.1.1", Text: "No such mailbox here"},
		event.Event{Kind: event.Rcpt, IP: client, From: "<hanako@client.test>", To: "bob@here.test", Code: 250, Verdict: "answer", Why: "proven"},
		event.Event{Kind: event.Accept, From: "<hanako@client.test>", MessageID: "m1@client.test", Subject: "Meeting", Size: 14_000, Count: 1},
		event.Event{Kind: event.Stored, Role: "delivery", From: "<hanako@client.test>", To: "bob@here.test", Account: "bob@here.test", Mailbox: "INBOX", Size: 14_100},
		event.Event{Kind: event.Rcpt, IP: client, From: "<hanako@client.test>", To: "carol@here.test", Code: 250},
		event.Event{Kind: event.Accept, From: "<hanako@client.test>", MessageID: "m2@client.test", Size: 900, Count: 1},
		event.Event{Kind: event.Stored, Role: "delivery", From: "<hanako@client.test>", To: "carol@here.test", Account: "carol@here.test", Size: 950},
		event.Event{Kind: event.Close, IP: client, Count: 2, Millis: 1200},
		event.Event{Kind: event.Retrieve, Role: "imap", IP: netip.MustParseAddr("203.0.113.9"), Account: "bob@here.test", Session: "ssssssssssssssss", Size: 14_100})
}

func TestStoryOfOneOfTwoMessages(t *testing.T) {
	f := finder(t, incoming())
	s := one(t, f, "<m1@client.test>")
	want := `mx1: mail.client.test [192.0.2.7] connected to port 25.
mx1: Recipient <bbo@here.test> of mail from <hanako@client.test> was refused with 550 5.1.1 “No such mailbox here”: there is no such address.
mx1: Recipient <bob@here.test> was taken from <hanako@client.test> (the client or its domain has sent wanted mail before).
mx1: The message was taken and is on disk: 14 kB from <hanako@client.test> for 1 recipient with subject “Meeting” (Message-ID <m1@client.test>).
mx1: It was put into the mailbox INBOX of bob@here.test for bob@here.test.
mx1: bob@here.test fetched it by IMAP from 203.0.113.9.`
	if got := texts(s); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := recipients(s); got != "bbo@here.test refused refused with 550 5.1.1 “No such mailbox here”\nbob@here.test retrieved fetched by bob@here.test" {
		t.Errorf("recipients\n%s", got)
	}
	if s := one(t, f, "aaaaaaaaaaaaaaaa#2"); s.MessageID != "m2@client.test" || strings.Contains(texts(s), "bob") || s.Of != 2 {
		t.Errorf("the second message:\n%s", texts(s))
	}
	if stories, _, err := f.Find(context.Background(), "from hanako@client.test", begun.Add(time.Hour)); err != nil || len(stories) != 2 {
		t.Errorf("%d stories, %v", len(stories), err)
	}
	if s := one(t, f, "from hanako to carol on 2026-11-25"); s.Number != 2 {
		t.Errorf("number %d", s.Number)
	}
	if _, _, err := f.Find(context.Background(), "to dave", begun); err == nil || !strings.Contains(err.Error(), "nothing is known") {
		t.Error(err)
	}
}

func TestStoryAcrossNodes(t *testing.T) {
	f := finder(t, session("edge1", "aaaaaaaaaaaaaaaa", "mx", 0,
		event.Event{Kind: event.Connect, IP: client},
		event.Event{Kind: event.Rcpt, From: "<>", To: "bob@here.test", Code: 250},
		event.Event{Kind: event.Accept, From: "<>", MessageID: "m1@client.test", Queue: 7, Count: 1},
		event.Event{Kind: event.Attempt, Role: "delivery", To: "bob@here.test", Queue: 7, Host: "core1", Code: 451, Enhanced: "4.3.2", Text: "Not now", Verb: "waiting", Reason: "next try at 06:00"},
		event.Event{Kind: event.Attempt, Role: "delivery", To: "bob@here.test", Queue: 7, Host: "core1", Code: 451, Enhanced: "4.3.2", Text: "Not now", Verb: "waiting", Reason: "next try at 07:00"},
		event.Event{Kind: event.Attempt, Role: "delivery", To: "bob@here.test", Queue: 7, Host: "core1", Code: 250, Enhanced: "2.0.0", Text: "Accepted as bbbbbbbbbbbbbbbb", Verb: "delivered", Next: "bbbbbbbbbbbbbbbb"}),
		session("core1", "bbbbbbbbbbbbbbbb", "mx", 5,
			event.Event{Kind: event.Connect, IP: netip.MustParseAddr("10.0.0.1")},
			event.Event{Kind: event.Rcpt, From: "<>", To: "bob@here.test", Code: 250},
			event.Event{Kind: event.Accept, From: "<>", MessageID: "m1@client.test", Count: 1},
			event.Event{Kind: event.Stored, Role: "delivery", To: "bob@here.test", Account: "bob@here.test", Size: 5}))
	for _, question := range []string{"m1@client.test", "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "to bob"} {
		s := one(t, f, question)
		text := texts(s)
		if s.Trace != "aaaaaaaaaaaaaaaa" || !strings.Contains(text, "core1: It was put into the mailbox bob@here.test") || strings.Count(text, "was put off") != 1 ||
			!strings.Contains(text, "Tried again since") || s.Recipients[0].State != InMailbox || strings.Index(text, "edge1: Delivered") > strings.Index(text, "core1: It was put") {
			t.Errorf("%s: %v\n%s", question, s.Recipients, text)
		}
	}
}

func TestStoryOfWhatWasNeverAccepted(t *testing.T) {
	f := finder(t, session("mx1", "aaaaaaaaaaaaaaaa", "mx", 0,
		event.Event{Kind: event.Connect, IP: client},
		event.Event{Kind: event.Rcpt, IP: client, From: "<x@new.test>", To: "bob@here.test", Code: 451, Enhanced: "4.7.1", Text: "Try again later (abc234)", Verdict: "defer", Why: "gate", Ref: "abc234"}))
	s := one(t, f, "abc234")
	if !strings.Contains(texts(s), "was put off with 451 4.7.1 “Try again later (abc234)”: addresses are being guessed at by many") || s.Number != 0 || s.Recipients[0].State != Deferred {
		t.Errorf("%+v\n%s", s.Recipients, texts(s))
	}
}

func TestQuestions(t *testing.T) {
	for text, want := range map[string]string{
		"from taro@a.test to @b.test yesterday": `from:"taro@a.test" to:"@b.test" since:yesterday until:yesterday`,
		"1.a@b.test":                            `id:"1.a@b.test"`,
		"abcd#3":                                `id:"abcd"`,
		"kind:rcpt":                             "kind:rcpt",
		"to taro* 2026-11-25 invoice":           "to:taro* invoice since:2026-11-25 until:2026-11-25",
		"to taro subject invoice since 2h":      `subject:"invoice" since:"2h"`,
	} {
		if got, _, err := Question(text, begun); err != nil || got.Search.Text != want {
			t.Errorf("%s: %s, %v, want %s", text, got.Search.Text, err, want)
		}
	}
	f := finder(t, incoming())
	if s := one(t, f, "to bob subject meeting"); s.Number != 1 {
		t.Errorf("number %d", s.Number)
	}
	if _, _, err := f.Find(context.Background(), "to carol subject meeting", begun); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
}

// TestOthersChangeNothing: whatever others did, the owner of an account sees the
// same.
func TestOthersChangeNothing(t *testing.T) {
	const me = "bob@here.test"
	mine := func(a string) bool { return a == me || a == "info@here.test" }
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 2))
	for round := range 300 {
		all := session("mx1", "trace", pick(r, "mx", "mx", "submission"), 0, randomSession(r)...)
		own := withoutOthers(all, mine, me)
		see := Own(me, mine)
		a, b := Stories(see(all)), Stories(see(own))
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if string(x) != string(y) {
			t.Fatalf("seed %d, round %d: others change what is seen\nwith    %s\nwithout %s", seed, round, x, y)
		}
		if strings.Contains(string(x), "secret") {
			t.Fatalf("seed %d: what others did is seen: %s", seed, x)
		}
	}
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// randomSession brings mail of strangers, or of another account, to some.
func randomSession(r *rand.Rand) []event.Event {
	events := []event.Event{{Kind: event.Connect, IP: client}}
	for range 1 + r.IntN(3) {
		for range 1 + r.IntN(3) {
			to := pick(r, "bob@here.test", "info@here.test", "secret@here.test", "secret2@here.test")
			events = append(events, event.Event{Kind: event.Rcpt, From: "<x@new.test>", To: to, Code: pick(r, 250, 451, 550), Account: "secret@here.test",
				Evidence: "secret", Score: 3, Why: "gate", Identity: "secret", Truth: "secret"})
		}
		events = append(events, event.Event{Kind: event.Accept, From: "<x@new.test>", MessageID: fmt.Sprint(r.IntN(100)), Count: int64(r.IntN(5)), Queue: int64(r.IntN(9))})
		for range r.IntN(3) {
			account := pick(r, "bob@here.test", "secret@here.test")
			events = append(events, event.Event{Kind: pick(r, event.Stored, event.Retrieve, event.Remove), Account: account, Size: 5, Reason: "secret"},
				event.Event{Kind: pick(r, event.Edge, event.Attempt, event.Settled, event.Admin), Account: "secret", Host: "secret"})
		}
	}
	return events
}

// withoutOthers takes out what concerns others alone, and with it the messages
// that only they got.
func withoutOthers(events []event.Event, mine func(string) bool, me string) (own []event.Event) {
	var message []event.Event
	concerned := false
	for _, e := range events {
		switch {
		case e.Kind == event.Rcpt && !mine(e.To), (e.Kind == event.Stored || e.Kind == event.Retrieve || e.Kind == event.Remove) && e.Account != me:
			continue
		case e.Kind == event.Edge || e.Kind == event.Attempt || e.Kind == event.Settled || e.Kind == event.Admin:
			continue
		case e.Kind == event.Rcpt:
			concerned = concerned || e.Code == 250
		case e.Kind == event.Accept && !concerned:
			continue
		case e.Kind == event.Accept:
			concerned = false
		}
		message = append(message, e)
	}
	return message
}

// FuzzSentences: whatever an event holds, it is told, in one line without
// control characters.
func FuzzSentences(f *testing.F) {
	f.Add("rcpt", "mx", "defer", "x\x1b[2Jy\n", 550)
	f.Fuzz(func(t *testing.T, kind, role, verb, text string, code int) {
		e := event.Event{Time: begun, Kind: event.Kind(kind), Trace: "t", Code: code}
		v := reflect.ValueOf(&e).Elem()
		for i, field := range event.Fields {
			if v.Field(i).Kind() == reflect.String && field.Name != "kind" && field.Name != "trace" {
				v.Field(i).SetString(text)
			}
		}
		e.Role, e.Verb = role, verb
		s := Sentence(&e)
		if s == "" || strings.ContainsFunc(s, unicode.IsControl) {
			t.Errorf("%q", s)
		}
		for _, story := range Stories([]event.Event{e, e}) {
			for _, told := range story.Sentences {
				if strings.ContainsFunc(told.Text, unicode.IsControl) {
					t.Errorf("%q", told.Text)
				}
			}
		}
	})
}
