package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// parse reads a text that has nothing to tell.
func parse(t testing.TB, text string) *List {
	t.Helper()
	l, errs := ParseSendmail(strings.NewReader(text))
	for _, err := range errs {
		var line *LineError
		if !errors.As(err, &line) || !line.Warning {
			t.Fatal(err)
		}
	}
	return l
}

const text = `# the order of sendmail
example.com           REJECT
friend@example.com    OK
From:boss@example.com OK
boss@example.com      REJECT
sub.example.com       SKIP
spammer@              REJECT
spammer@example.net   OK
From:org              REJECT
good.org              OK
user+*@example.com    ERROR:5.7.1:550 No details
192.0.2               REJECT
192.0.2.7             OK
Connect:10            ERROR:"550 private"
IPv6:2001:db8         REJECT
2001:db8:1::/48       OK
mx.example.com        OK
To:old@example.jp     REJECT
example.jp            OK
Spam:abuse@example.jp FRIEND
xn--wgv71a.example    REJECT
`

func TestSearchOrder(t *testing.T) {
	l := parse(t, text)
	for _, c := range []struct {
		from string
		want Action
	}{
		{"x@example.com", Block},
		{"FRIEND@Example.COM", Allow},
		{"friend+news@example.com", Allow},
		{"boss@example.com", Allow}, // the tag goes first
		{"x@a.sub.example.com", Skip},
		{"x@other.example.com", Block},
		{"spammer@anywhere.test", Block},
		{"spammer+1@anywhere.test", Block},
		{"spammer@example.net", Allow},
		{"x@good.org", Allow}, // longer than the tagged org
		{"x@bad.org", Block},
		{"user+a@example.com", Block},
		{"x@notexample.com", ""},
		{"x@日本.example", Block},
		{`"with space"@example.net`, ""},
	} {
		m, ok := l.Sender(address(t, c.from))
		if ok != (c.want != "") || m.Action != c.want {
			t.Errorf("%s: got %q of %q, want %q", c.from, m.Action, m.Pattern, c.want)
		}
	}
	if m, ok := l.Sender(mail.Address{}); ok {
		t.Errorf("the null sender is under %q", m.Pattern)
	}
}

func TestSearchClient(t *testing.T) {
	l := parse(t, text)
	for _, c := range []struct {
		name, addr string
		want       Action
	}{
		{"", "192.0.2.1", Block},
		{"", "192.0.2.7", Allow},
		{"", "::ffff:192.0.2.7", Allow},
		{"mx.example.com", "192.0.2.1", Allow},
		{"www.example.com", "203.0.113.1", Block},
		{"", "10.1.2.3", Block},
		{"", "11.1.2.3", ""},
		{"", "2001:db8:2::1", Block},
		{"", "2001:db8:1::1", Allow},
		{"not a name", "2001:db9::1", ""},
	} {
		m, _ := l.Client(c.name, netip.MustParseAddr(c.addr))
		if m.Action != c.want {
			t.Errorf("%s [%s]: got %q of %q, want %q", c.name, c.addr, m.Action, m.Pattern, c.want)
		}
	}
	if _, ok := l.Client("", netip.Addr{}); ok {
		t.Error("no address was found")
	}
}

// TestRecipientIsNotAllowedByDomain: sites write their own domain into the
// text; that must not switch everything off.
func TestRecipientIsNotAllowedByDomain(t *testing.T) {
	l := parse(t, text+"To:example.jp RELAY\n")
	for to, want := range map[string]Action{"someone@example.jp": "", "old@example.jp": Block, "abuse@example.jp": Allow} {
		if m, _ := l.Recipient(address(t, to)); m.Action != want {
			t.Errorf("%s: got %q of %q, want %q", to, m.Action, m.Pattern, want)
		}
	}
}

func TestParseSendmailTells(t *testing.T) {
	for _, c := range []struct {
		line, want string // part of what is told, "" for nothing
		action     Action
	}{
		{"a.example\tOK", "", Allow},
		{"a.example RELAY", "warning: RELAY: taken as OK", Allow},
		{"To:a.example RELAY", "nothing was taken", ""},
		{"a.example DISCARD", "warning: DISCARD: mail is never discarded", Label},
		{"a.example QUARANTINE:looks odd", "warning: QUARANTINE", Label},
		{"a.example TEMPFAIL", "warning: a temporary refusal", Label},
		{"a.example ERROR:4.7.1:450 later", "warning: a temporary refusal", Label},
		{`a.example ERROR:5.7.1:"550 no"`, "", Block},
		{"a.example ERROR:5.7.1:no", "", Block},
		{`a.example ERROR:"550 no"`, "", Block},
		{"a.example 553 5.3.0 no", "", Block},
		{"a.example ERROR:hello", "line 2: \"hello\" does not begin", ""},
		{"a.example MAYBE", "unknown value", ""},
		{"a.example", "has no value", ""},
		{"Form:a.example OK", "unknown tag", ""},
		{"TLS_Srv:a.example VERIFY", "warning: TLS_Srv:a.example is no list", ""},
		{"Spam:a@a.example HATER", "warning: HATER", ""},
		{"Spam:a@a.example OK", "neither FRIEND nor HATER", ""},
		{"a b@a.example REJECT", "unknown value", ""},
		{"192.0.2.1.5 OK", "no IPv4 network", ""},
		{"192.0.2.1/24 OK", "bits set", ""},
		{"IPv6:2001:zz OK", "no IPv6 network", ""},
		{"From:192.0.2.1 OK", "never held against a network", ""},
		{"Connect:a@a.example OK", "never held against an address", ""},
	} {
		l, errs := ParseSendmail(strings.NewReader("# comment\n" + c.line + "\n"))
		told := ""
		if len(errs) > 0 {
			told = errs[0].Error()
		}
		if len(errs) > 1 || (told == "") != (c.want == "") || !strings.Contains(told, c.want) || told != "" && !strings.HasPrefix(told, "line 2: ") {
			t.Errorf("%s: told %v, want %q", c.line, errs, c.want)
		}
		if got := only(l); got.Action != c.action {
			t.Errorf("%s: action %q, want %q", c.line, got.Action, c.action)
		}
	}
	_, errs := ParseSendmail(strings.NewReader("a.example OK\nA.Example. REJECT\n" + strings.Repeat("x", maxLine+1)))
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), "line 2: A.Example. is there already") || !strings.Contains(errs[1].Error(), "after line 2") {
		t.Errorf("told %v", errs)
	}
}

func only(l *List) Entry {
	for _, e := range l.entries {
		return e
	}
	return Entry{}
}

// lists is what a database gives in service.
// Accounts with lists of their own, and one whose list cannot be read.
const (
	mio int64 = iota + 1
	skip
	broken
)

type lists map[int64]*List

func (l lists) Lookup(_ context.Context, account int64) (*List, error) {
	if account == broken {
		return nil, errors.New("the database is away")
	}
	return l[account], nil
}

func TestFilter(t *testing.T) {
	all := lists{
		0:    parse(t, "example.com REJECT\nConnect:192.0.2 OK\nok.example OK\n"),
		mio:  parse(t, "From:news@example.com OK\n"),
		skip: parse(t, "From:example.com SKIP\n"),
	}
	for _, c := range []struct {
		account              int64
		from, author, client string
		proven               []string
		want                 string
	}{
		{0, "x@example.com", "x@example.com", "203.0.113.1", nil, "ACCESS_BLOCKED 15"},
		{mio, "news@example.com", "News <news@example.com>", "203.0.113.1", []string{"example.com"}, "ACCESS_ALLOWED -10"},
		{mio, "news@example.com", "News <news@example.com>", "203.0.113.1", []string{"sub.example.com", "le.com"}, ""},
		{mio, "bounce@mailer.example", "news@example.com", "203.0.113.1", []string{"EXAMPLE.com."}, "ACCESS_ALLOWED -10"},
		{mio, "bounce@mailer.example", "news@example.com, evil@mailer.example", "203.0.113.1", []string{"example.com"}, ""},
		{mio, "x@example.com", "x@example.com", "203.0.113.1", nil, "ACCESS_BLOCKED 15"},
		{skip, "x@example.com", "x@example.com", "203.0.113.1", nil, ""},
		{0, "x@example.com", "x@example.com", "192.0.2.1", nil, "ACCESS_ALLOWED -10, ACCESS_BLOCKED 15"},
		{0, "", "x@sub.ok.example", "203.0.113.1", []string{"ok.example"}, "ACCESS_ALLOWED -10"},
	} {
		m := message(t, c.from, c.author, c.client)
		f := &Filter{Lists: all, Authenticated: func(context.Context, *filter.Message) []string { return c.proven }}
		res := run(t, f, m, c.account)
		var got []string
		for _, x := range res.Findings[0] {
			got = append(got, fmt.Sprintf("%s %g", x.Symbol, x.Score))
			if !strings.Contains(x.Evidence, "line ") {
				t.Errorf("evidence %q", x.Evidence)
			}
		}
		if s := strings.Join(got, ", "); s != c.want || len(res.Failures) > 0 {
			t.Errorf("%+v: got %s %v", c, s, res.Failures)
		}
	}
	if res := run(t, &Filter{Lists: all}, message(t, "x@example.com", "x@example.com", "203.0.113.1"), broken); len(res.Failures) != 1 || len(res.Findings[0]) != 1 {
		t.Errorf("with a list that cannot be read: %+v", res)
	}
}

func message(t testing.TB, from, author, client string) *filter.Message {
	t.Helper()
	env := filter.Envelope{Client: netip.MustParseAddr(client)}
	if from != "" {
		env.From = address(t, from)
	}
	m, err := filter.FromBytes(env, []byte("From: "+author+"\r\n\r\nHello\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func run(t testing.TB, f *Filter, m *filter.Message, account int64) filter.Result {
	t.Helper()
	p := &filter.Pipeline{Filters: []filter.Filter{f}}
	to := filter.Recipient{ID: account, Address: address(t, "someone@example.jp")}
	return p.Run(t.Context(), m, []filter.Recipient{to}, func(int, string) bool { return true })
}

// FuzzSendmail: nothing breaks the reader, every entry is found by its own
// pattern, and every line that was not taken is told.
func FuzzSendmail(f *testing.F) {
	f.Add(text)
	f.Add("a.example ERROR:4.7.1:450 later\nIPv6:2001:db8 OK\n[192.0.2.1] REJECT\n\"a b\"@x OK\n")
	f.Fuzz(func(t *testing.T, s string) {
		l, errs := ParseSendmail(strings.NewReader(s))
		if l == nil {
			t.Fatal("no list")
		}
		told := map[int]bool{}
		for _, err := range errs {
			var line *LineError
			if errors.As(err, &line) {
				told[line.Line] = true
			} else {
				return
			}
		}
		for k, e := range l.entries {
			told[e.Line] = true
			again, err := parsePattern(e.Pattern)
			if again.tag = e.Tag; err != nil || again != k {
				t.Fatalf("%q is %v, then %v %v", e.Pattern, k, again, err)
			}
			if strings.Contains(k.name, "@") && !strings.HasSuffix(k.name, "@") && e.Action == Block {
				a, err := mail.ParseAddress(e.Pattern)
				if err != nil {
					t.Fatal(err)
				}
				if m, ok := l.address(e.Tag, a); !ok {
					t.Fatalf("%q does not find itself: %v", e.Pattern, m)
				}
			}
		}
		for i, line := range strings.Split(s, "\n") {
			line = strings.TrimSpace(line)
			if line != "" && line[0] != '#' && !told[i+1] && len(errs) < maxErrors {
				t.Fatalf("line %d, %q, is neither taken nor told", i+1, line)
			}
		}
	})
}

func BenchmarkSender(b *testing.B) {
	l := &List{}
	for i := range 200_000 {
		if err := l.Add(Entry{Pattern: fmt.Sprintf("host%d.example.net", i), Action: Block}); err != nil {
			b.Fatal(err)
		}
	}
	a := address(b, "someone+detail@mail.host7.example.net")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := l.Sender(a); !ok {
			b.Fatal("not found")
		}
	}
}
