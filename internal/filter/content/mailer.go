package content

import (
	"regexp"
	"strings"
)

// sends are words one of which is in the names of the servers by which a
// provider of free mailboxes sends.
var sends = map[string][]string{
	"yahoo.com": {"yahoo"}, "yahoo.co.jp": {"yahoo"}, "yahoo.co.uk": {"yahoo"}, "yahoo.fr": {"yahoo"}, "ymail.com": {"yahoo"},
	"hotmail.com": {"hotmail", "outlook", "msn", "microsoft"}, "live.com": {"hotmail", "outlook", "microsoft"}, "msn.com": {"msn", "hotmail", "outlook"},
	"outlook.com": {"outlook", "hotmail", "microsoft"}, "hotmail.co.uk": {"hotmail", "outlook", "microsoft"}, "gmail.com": {"google"}, "googlemail.com": {"google"},
	"aol.com": {"aol", "yahoo"}, "netscape.net": {"netscape", "aol", "yahoo"}, "icloud.com": {"icloud", "apple", "me.com"}, "mail.ru": {"mail.ru"},
	"yandex.ru": {"yandex"}, "yandex.com": {"yandex"}, "gmx.de": {"gmx"}, "gmx.net": {"gmx"}, "web.de": {"web.de"}, "excite.com": {"excite"},
	"lycos.com": {"lycos", "mailcity"}, "juno.com": {"juno", "untd"}, "mail.com": {"mail.com", "gmx", "outblaze"}, "163.com": {"163"}, "126.com": {"126"},
	"qq.com": {"qq.com"}, "naver.com": {"naver"}, "libero.it": {"libero"}, "laposte.net": {"laposte"}, "free.fr": {"free.fr", "proxad"}, "usa.net": {"usa.net"},
}

// ways looks at whether the program and the way that a message claims fit it.
func (c *checks) ways(host string) {
	h := c.m.Header
	received := strings.ToLower(strings.Join(h.Values("Received"), " "))
	if words := sends[host]; words != nil && received != "" && c.m.Account == "" && !h.Has("List-Id") {
		passed := false
		for _, w := range words {
			passed = passed || strings.Contains(received, w)
		}
		if !passed && !strings.Contains(strings.ToLower(c.m.ClientName), words[0]) {
			c.add("FREEMAIL_FORGED", host+" is in no Received field")
		}
	}
	mailer := h.Get("X-Mailer")
	if strings.Contains(mailer, "Outlook Express") && !h.Has("X-MimeOLE") {
		c.add("MAILER_FORGED", cut(mailer)+" writes X-MimeOLE")
	}
	if (h.Has("X-Priority") || h.Has("X-MSMail-Priority")) && mailer == "" && !h.Has("User-Agent") && !h.Has("X-MimeOLE") {
		c.add("PRIORITY_WITHOUT_MAILER", "a priority, and no program that set it")
	}
	if date := h.Get("Date"); date != "" && !zone.MatchString(date) {
		c.add("DATE_WITHOUT_ZONE", cut(date))
	}
	if advertising.MatchString(h.Get("Subject")) {
		c.add("SUBJECT_ADVERTISES", cut(h.Get("Subject")))
	}
}

var (
	zone        = regexp.MustCompile(`[+-]\d{4}|\b(?:GMT|UTC?|[ECMP][SD]T|Z)\b`)
	advertising = regexp.MustCompile(`(?i)^\s*\(?adv(?:ertisement)?\)?\s*[:!-]`)
)
