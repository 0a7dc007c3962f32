package content

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/migiwa/migiwa/internal/filter/link"
	"github.com/migiwa/migiwa/internal/mail"
)

var addressIn = regexp.MustCompile(`[\w.+-]+@([\w-]+\.)+[A-Za-z]{2,}`)

// freeMail gives mailboxes to anybody.
var freeMail = map[string]bool{}

func init() {
	for _, d := range strings.Fields(`gmail.com googlemail.com yahoo.com yahoo.co.jp yahoo.co.uk yahoo.fr ymail.com hotmail.com
		hotmail.co.uk hotmail.fr outlook.com live.com msn.com aol.com icloud.com me.com mail.ru yandex.ru yandex.com bk.ru list.ru
		inbox.ru gmx.de gmx.net gmx.com web.de mail.com protonmail.com proton.me tutanota.com zoho.com qq.com 163.com 126.com sina.com
		foxmail.com aliyun.com rediffmail.com libero.it virgilio.it laposte.net orange.fr free.fr netscape.net excite.com lycos.com
		naver.com daum.net hanmail.net uol.com.br bol.com.br terra.com.br seznam.cz wp.pl o2.pl interia.pl tiscali.it`) {
		freeMail[d] = true
	}
}

// sender looks at From and what should agree with it.
func (c *checks) sender() {
	from := c.m.Header.Values("From")
	author, count := c.m.Author()
	address := author.Address.String()
	_, host, _ := strings.Cut(strings.ToLower(address), "@")
	domain, _ := link.Registrable(host)
	switch {
	case len(from) == 0 || strings.TrimSpace(from[0]) == "":
		c.add("FROM_MISSING", "no author")
		return
	case len(from) > 1:
		c.add("FROM_SEVERAL_FIELDS", fmt.Sprintf("%d From fields", len(from)))
	case count == 0 || domain == "":
		c.add("FROM_INVALID", cut(from[0]))
	}
	for _, shown := range addressIn.FindAllString(author.Name, 3) {
		_, other, _ := strings.Cut(strings.ToLower(shown), "@")
		if d, _ := link.Registrable(other); d != "" && d != domain {
			c.add("FROM_SHOWS_OTHER_ADDRESS", cut(author.Name)+" is "+cut(address))
			break
		}
	}
	if encodedASCII(from[0]) {
		c.add("FROM_NEEDLESSLY_ENCODED", cut(from[0]))
	}
	c.replies(host, domain)
	c.ways(host)
	local, _, _ := strings.Cut(address, "@")
	if digits := countDigits(local); digits >= 5 && freeMail[host] {
		c.add("FROM_DIGITS_AT_FREEMAIL", cut(address))
	}
	for _, to := range c.report.Recipients {
		if own := to.Address.String(); strings.EqualFold(own, address) && own != "" && c.m.Account == "" {
			c.report.AddFor(to.Index, c.finding("FROM_IS_RECIPIENT", cut(address)))
		}
	}
}

// replies looks at whether an answer goes to a mailbox that anybody can get.
func (c *checks) replies(host, domain string) {
	for _, value := range c.m.Header.Values("Reply-To") {
		list, _ := mail.ParseAddressList(value)
		for _, to := range list {
			_, other, _ := strings.Cut(strings.ToLower(to.Address.String()), "@")
			if d, _ := link.Registrable(other); freeMail[other] && d != domain && !c.m.Header.Has("List-Id") {
				symbol := "REPLY_TO_FREEMAIL"
				if freeMail[host] {
					symbol = "REPLY_TO_OTHER_FREEMAIL"
				}
				c.add(symbol, cut(value))
				return
			}
		}
	}
}

var spacedOut = regexp.MustCompile(`(?:^|\s)(?:[A-Za-z0-9][ ._*-]){5,}[A-Za-z0-9](?:\s|$)`)
var endsInID = regexp.MustCompile(`\s{6,}[A-Za-z0-9]{3,12}\s*$`)

// subject looks at the Subject.
func (c *checks) subject() {
	raw := c.m.Header.Get("Subject")
	shown := mail.DecodeText(raw)
	letters, upper, hidden := 0, 0, 0
	for _, r := range shown {
		switch {
		case invisible(r), r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			hidden++
		case unicode.IsUpper(r):
			letters++
			upper++
		case unicode.IsLetter(r):
			letters++
		}
	}
	switch {
	case strings.TrimSpace(shown) == "":
		c.add("SUBJECT_EMPTY", "no subject")
	case letters >= 12 && upper == letters:
		c.add("SUBJECT_SHOUTS", cut(shown))
	}
	if hidden > 2 {
		c.add("SUBJECT_HIDDEN_LETTERS", fmt.Sprintf("%d letters that are not seen", hidden))
	}
	if spacedOut.MatchString(shown) {
		c.add("SUBJECT_SPACED_OUT", cut(shown))
	}
	if endsInID.MatchString(shown) {
		c.add("SUBJECT_ENDS_IN_ID", cut(shown))
	}
	if encodedASCII(raw) {
		c.add("SUBJECT_NEEDLESSLY_ENCODED", cut(raw))
	}
	if looksLikeReply(shown) && !c.m.Header.Has("References") && !c.m.Header.Has("In-Reply-To") {
		c.add("SUBJECT_POSES_AS_REPLY", cut(shown))
	}
	if eightBit(raw) {
		c.add("HEADER_EIGHT_BIT", "letters in Subject that are not declared")
	}
}

func looksLikeReply(subject string) bool {
	return len(subject) > 3 && strings.EqualFold(subject[:3], "re:")
}

func eightBit(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return true
		}
	}
	return false
}

var encodedWords = regexp.MustCompile(`=\?[^?\s]+\?[bB]\?[^?\s]*\?=`)

// encodedASCII tells of base64 that hides what any program could show as it is.
func encodedASCII(raw string) bool {
	if !encodedWords.MatchString(raw) || strings.Contains(strings.ToLower(raw), "=?iso-2022-") {
		return false
	}
	for _, r := range mail.DecodeText(raw) {
		if r > 0x7e {
			return false
		}
	}
	return true
}

// fields looks at the fields that every honest program writes.
func (c *checks) fields() {
	h := c.m.Header
	if !h.Has("To") && !h.Has("Cc") || strings.Contains(strings.ToLower(h.Get("To")), "undisclosed") {
		c.add("TO_HIDDEN", "no recipient is named")
	}
	switch ids := mail.MessageIDs(h.Get("Message-ID")); {
	case !h.Has("Message-ID"):
		c.add("MESSAGE_ID_MISSING", "no Message-ID")
	case len(ids) != 1 || !strings.Contains(ids[0], "@"):
		c.add("MESSAGE_ID_INVALID", cut(h.Get("Message-ID")))
	}
	for _, defect := range c.m.Root.Defects {
		if defect.Kind == mail.DefectNUL || defect.Kind == mail.DefectHeaderLine {
			c.add("HEADER_BROKEN", string(defect.Kind)+" "+cut(defect.Detail))
			break
		}
	}
}

// dates looks at how Date agrees with now, or with the last Received field of
// a file.
func (c *checks) dates() {
	if !c.m.Header.Has("Date") {
		c.add("DATE_MISSING", "no Date")
		return
	}
	said, err := mail.ParseDate(c.m.Header.Get("Date"))
	if err != nil {
		c.add("DATE_INVALID", cut(c.m.Header.Get("Date")))
		return
	}
	came := c.now
	if !c.m.Client.IsValid() {
		_, last, found := cutLast(c.m.Header.Get("Received"), ";")
		if came, err = mail.ParseDate(last); err != nil || !found {
			return
		}
	}
	switch off := said.Sub(came); {
	case off > 12*time.Hour:
		c.add("DATE_IN_FUTURE", fmt.Sprintf("by %v", off.Round(time.Hour)))
	case off < -4*24*time.Hour:
		c.add("DATE_LONG_AGO", fmt.Sprintf("by %v", -off.Round(time.Hour)))
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func countDigits(s string) int {
	n := 0
	for _, r := range s {
		if r >= '0' && r <= '9' {
			n++
		}
	}
	return n
}
