package content

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/migiwa/migiwa/internal/filter"
	"github.com/migiwa/migiwa/internal/mail"
)

// honest is a letter in which nothing is to be found.
const honest = `From: Ann Example <ann@example.com>
To: bob@example.org
Subject: Tuesday
Date: Thu, 26 Nov 2026 10:00:00 +0000
Message-ID: <1@example.com>

See you on Tuesday.
`

func symbols(t *testing.T, text string) map[string]string {
	t.Helper()
	m, err := filter.FromBytes(filter.Envelope{}, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f, err := New("")
	if err != nil {
		t.Fatal(err)
	}
	to, _ := mail.ParseAddress("bob@example.org")
	p := filter.Pipeline{Filters: []filter.Filter{f}}
	result := p.Run(t.Context(), m, []filter.Recipient{{Address: to}}, func(int, string) bool { return true })
	if len(result.Failures) > 0 {
		t.Fatal(result.Failures)
	}
	found := map[string]string{}
	for _, f := range result.Findings[0] {
		found[f.Symbol] = f.Evidence
	}
	return found
}

// Each case changes the honest letter in one place.
func TestFindings(t *testing.T) {
	for _, test := range []struct{ name, old, new, want string }{
		{"nothing", "", "", ""},
		{"no author", "From: Ann Example <ann@example.com>\n", "", "FROM_MISSING"},
		{"two From fields", "To:", "From: eve@example.net\nTo:", "FROM_SEVERAL_FIELDS"},
		{"no address", "<ann@example.com>", "", "FROM_INVALID"},
		{"another address as name", "Ann Example", `"security@bank.example.net"`, "FROM_SHOWS_OTHER_ADDRESS"},
		{"own address as name", "Ann Example", `"ann@example.com"`, ""},
		{"base64 of ASCII", "Ann Example", "=?utf-8?B?QW5u?=", "FROM_NEEDLESSLY_ENCODED"},
		{"base64 of Japanese", "Ann Example", "=?utf-8?B?5pel5pys?=", ""},
		{"digits", "ann@example.com", "ann48151@gmail.com", "FROM_DIGITS_AT_FREEMAIL"},
		{"from oneself", "ann@example.com", "bob@example.org", "FROM_IS_RECIPIENT"},
		{"answers elsewhere", "To:", "Reply-To: x@gmail.com\nTo:", "REPLY_TO_FREEMAIL"},
		{"empty", "Subject: Tuesday", "Subject:", "SUBJECT_EMPTY"},
		{"shouts", "Tuesday\nDate", "BUY THIS NOW OR NEVER\nDate", "SUBJECT_SHOUTS"},
		{"spaced", "Tuesday\nDate", "v i a g r a now\nDate", "SUBJECT_SPACED_OUT"},
		{"id", "Tuesday\nDate", "Tuesday         xk38d\nDate", "SUBJECT_ENDS_IN_ID"},
		{"reply to nothing", "Tuesday\nDate", "Re: Tuesday\nDate", "SUBJECT_POSES_AS_REPLY"},
		{"reply", "Tuesday\nDate", "Re: Tuesday\nReferences: <0@example.org>\nDate", ""},
		{"raw letters", "Tuesday\nDate", "Caf\xe9\nDate", "HEADER_EIGHT_BIT"},
		{"hidden letters", "Tuesday\nDate", "T\u200bu\u200be\u200bs\nDate", "SUBJECT_HIDDEN_LETTERS HEADER_EIGHT_BIT"},
		{"no recipient", "To: bob@example.org\n", "", "TO_HIDDEN"},
		{"no id", "Message-ID: <1@example.com>\n", "", "MESSAGE_ID_MISSING"},
		{"bad id", "<1@example.com>", "<1>", "MESSAGE_ID_INVALID"},
		{"no date", "Date: Thu, 26 Nov 2026 10:00:00 +0000\n", "", "DATE_MISSING"},
		{"bad date", "Thu, 26 Nov 2026 10:00:00 +0000", "yesterday", "DATE_INVALID DATE_WITHOUT_ZONE"},
		{"future", "From:", "Received: by x; Wed, 25 Nov 2026 10:00:00 +0000\nFrom:", "DATE_IN_FUTURE"},
		{"past", "From:", "Received: by x; Wed, 2 Dec 2026 10:00:00 +0000\nFrom:", "DATE_LONG_AGO"},
		{"forged freemail", "From: Ann Example <ann@example.com>", "Received: from x.example by y.example; Thu, 26 Nov 2026 10:00:00 +0000\nFrom: ann@gmail.com", "FREEMAIL_FORGED"},
		{"freemail", "From: Ann Example <ann@example.com>", "Received: from mail-x.google.com by y.example; Thu, 26 Nov 2026 10:00:00 +0000\nFrom: ann@gmail.com", ""},
		{"forged mailer", "To:", "X-Mailer: Microsoft Outlook Express 6.00\nTo:", "MAILER_FORGED"},
		{"priority", "To:", "X-Priority: 1\nTo:", "PRIORITY_WITHOUT_MAILER"},
		{"no zone", " +0000", "", "DATE_WITHOUT_ZONE"},
		{"says so", "Tuesday\nDate", "ADV: Tuesday\nDate", "SUBJECT_ADVERTISES"},
		{"broken words", "See you on Tuesday.", strings.Repeat("v\u200bi\u200ba\u200bgra ", 5), "TEXT_HIDDEN_LETTERS"},
		{"padding", "See you on Tuesday.", strings.Repeat(" \u200c", 500) + "See you.", ""},
		{"script", "\n\nSee", "\nContent-Type: text/html\n\n<script>run()</script>See", "HTML_SCRIPT"},
		{"page attached", "\n\nSee", "\nContent-Type: text/html\nContent-Disposition: attachment; filename=a.html\n\n<p>See", "ATTACHED_PAGE"},
		{"advance fee", "See you on Tuesday.", "I am the widow of the late Mr. Smith. He left 12.5 million dollars. This is strictly confidential, no risk involved.", "FRAUD_ADVANCE_FEE"},
		{"account", "See you on Tuesday.", "Dear customer, we have noticed unusual activity. Verify your account within 24 hours.", "FRAUD_ACCOUNT"},
		{"account, Japanese", "See you on Tuesday.", "お客様のアカウントが一時停止されました。24時間以内に本人確認をお願いします。", "FRAUD_ACCOUNT_JA"},
		{"extortion", "See you on Tuesday.", "Your device was infected. I recorded you by the webcam. Send 900 USD in bitcoin within 48 hours.", "FRAUD_EXTORTION"},
		{"a list", "To:", "List-Unsubscribe: <https://x.example/u?1>, <mailto:u@x.example>\nTo:", "LIST_UNSUBSCRIBE"},
		{"no way out of a list", "To:", "List-Unsubscribe: write to us\nTo:", ""},
		{"a shop", "See you on Tuesday.", "20 % off everything! Order now and get free shipping. Unsubscribe here.", ""},
	} {
		text := honest
		if test.old != "" {
			if !strings.Contains(text, test.old) {
				t.Fatalf("%s: nothing to change", test.name)
			}
			text = strings.Replace(text, test.old, test.new, 1)
		}
		found := symbols(t, strings.ReplaceAll(text, "\n", "\r\n"))
		for _, symbol := range strings.Fields(test.want) {
			if _, ok := found[symbol]; !ok {
				t.Errorf("%s: no %s in %v", test.name, symbol, found)
			}
			delete(found, symbol)
		}
		if len(found) > 0 {
			t.Errorf("%s: also %v", test.name, found)
		}
	}
}

// One click is told before any other way out, wherever it stands.
func TestOneClick(t *testing.T) {
	text := strings.Replace(honest, "To:", "List-Unsubscribe: <mailto:u@x.example>,\n <https://x.example/u?1>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\nTo:", 1)
	if got := symbols(t, strings.ReplaceAll(text, "\n", "\r\n"))["LIST_UNSUBSCRIBE"]; got != "can be left by one click: https://x.example/u?1" {
		t.Error(got)
	}
}

// A text without the words that a pattern needs must not be one it matches.
func TestLiteralsAreNeeded(t *testing.T) {
	for _, rule := range DefaultRules().list {
		for _, p := range rule.patterns {
			if p.where == "text" && p.needs == nil {
				t.Logf("%s: nothing is needed for %s", rule.symbol, p.re)
			}
		}
	}
	for pattern, want := range map[string]string{
		`(?i)\bnext of kin\b`:       "next of kin",
		`(?i)(widow|Inheritance)s?`: "widow widows inheritance inheritances",
		`(?i)viagra+ now`:           "viagr",
		`a|inheritance`:             "",
		`x*y?`:                      "",
		`(fund|bank)s? (release)`:   "fund release funds release bank release banks release",
		`(?:pay){2}`:                "paypay",
	} {
		if got := strings.Join(literals(pattern), " "); got != want {
			t.Errorf("%s needs %q, want %q", pattern, got, want)
		}
	}
}

func TestRulesTellWhatIsWrong(t *testing.T) {
	_, err := ParseRules(strings.NewReader("text early\nrule A\nrule BAD-NAME 1\nrule GOOD 99\nrule GOOD 1 at-least 0\nrule GOOD 1\ntext (\nwhat x\nheader: x\n"))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"line 1:", "line 2:", "line 3:", "line 4:", "line 5:", "line 7:", "line 8:", "line 9:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
}

func TestRulesFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules")
	write := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Now(), time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	write("rule OWN_ONE 1\nsubject tuesday\nheader:X-Shop sale\n", time.Hour)
	f, err := New(path)
	if err != nil {
		t.Fatal(err)
	}
	find := func() (string, error) {
		m, _ := filter.FromBytes(filter.Envelope{}, []byte(honest))
		p := filter.Pipeline{Filters: []filter.Filter{f}}
		result := p.Run(t.Context(), m, []filter.Recipient{{}}, func(int, string) bool { return true })
		var names []string
		for _, f := range result.Findings[0] {
			names = append(names, f.Symbol)
		}
		if len(result.Failures) > 0 {
			err = result.Failures[0].Err
		}
		return strings.Join(names, " "), err
	}
	if got, err := find(); got != "OWN_ONE" || err != nil {
		t.Errorf("at first: %q, %v", got, err)
	}
	write("rule OWN_TWO 1\nsubject tuesday\n", time.Minute)
	f.looked = time.Time{}
	if got, err := find(); got != "OWN_TWO" || err != nil {
		t.Errorf("changed: %q, %v", got, err)
	}
	write("nonsense", 0)
	f.looked = time.Time{}
	if got, err := find(); got != "OWN_TWO" || err == nil {
		t.Errorf("broken: %q, %v", got, err)
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add("rule A 1\ntext x")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ParseRules(strings.NewReader(text))
		if err == nil {
			m, _ := filter.FromBytes(filter.Envelope{}, []byte(honest))
			rules.match(&view{m: m, text: honest})
		}
	})
}
