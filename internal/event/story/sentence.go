package story

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/migiwa/migiwa/internal/event"
)

// Sentence tells in plain words what happened. What strangers wrote is quoted,
// without control characters.
func Sentence(e *event.Event) string {
	if tell, ok := sentences[e.Kind]; ok {
		return clean(tell(e))
	}
	return clean(general(e))
}

// clean takes out what would move a terminal's cursor or hide text.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// sentences tell each kind of event.
var sentences = map[event.Kind]func(*event.Event) string{
	event.Connect: connect, event.Close: closed, event.Rcpt: rcpt, event.Refuse: refuse, event.Finding: finding, event.Accept: accept,
	event.Stored: stored, event.Attempt: attempt, event.Settled: settled, event.Bounce: bounce, event.Report: report, event.Retrieve: retrieve, event.Remove: remove,
	event.Login: login, event.Edge: edge, event.Setting: setting, event.Admin: administer, event.Search: search, event.Expire: expire,
	event.Fault: fault, event.Lifecycle: lifecycle,
}

// words joins those parts that say something.
func words(parts ...string) string {
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, " ")
}

// when gives the text made of a value, nothing when that is empty.
func when(format, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf(format, value)
}

// peer names the other side.
func peer(e *event.Event) string {
	if !e.IP.IsValid() {
		return cmp.Or(e.Host, "the client")
	}
	name := cmp.Or(e.Name, e.Host)
	if name != "" && name != "-" {
		return fmt.Sprintf("%s [%s]", name, e.IP)
	}
	return e.IP.String()
}

// reply gives a reply as it was said.
func reply(e *event.Event) string {
	if e.Code == 0 {
		return quoted(e.Text)
	}
	return words(fmt.Sprint(e.Code), e.Enhanced, quoted(e.Text))
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "“" + strings.TrimSpace(s) + "”"
}

// bracketed gives an address in angle brackets.
func bracketed(a string) string {
	if strings.HasPrefix(a, "<") {
		return a
	}
	return "<" + a + ">"
}

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d octets", n)
	case n < 1_000_000:
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// services are how a role is called.
var services = map[string]string{"mx": "port 25", "submission": "submission", "imap": "IMAP", "pop3": "POP3"}

func service(e *event.Event) string { return cmp.Or(services[e.Role], e.Role) }

func connect(e *event.Event) string {
	if e.Code != 0 || e.Reason != "" {
		return words(peer(e), when("connected to %s", service(e)), "and was turned away:", reply(e), when("(%s)", e.Reason))
	}
	return words(peer(e), when("connected to %s", service(e)), when("by %s", e.TLS)) + "."
}

func closed(e *event.Event) string {
	s := words("The connection of", peer(e), "ended")
	if e.Count > 0 {
		s += fmt.Sprintf(" after %s", plural(e.Count, "message"))
	}
	if e.Millis > 0 {
		s += fmt.Sprintf(" in %v", (time.Duration(e.Millis) * time.Millisecond).Round(10*time.Millisecond))
	}
	return words(s, when("(%s)", e.Reason)) + "."
}

// edgeReasons say in words why the edge answered or deferred.
var edgeReasons = map[string]string{
	"calm": "nothing spoke against the client", "proven": "the client or its domain has sent wanted mail before",
	"admitted": "the client has proved earlier to be a mail server", "retried": "the client has just proved by trying again that it is a mail server",
	"signed": "the recipient bears our own tag", "penalty": "the client has guessed at addresses", "identity-penalty": "the client's domain has guessed at addresses",
	"gate": "addresses are being guessed at by many, and the client is not known yet", "rationed": "the client has tried again, but so do the attackers",
	"flooded": "bounces come in masses",
}

func rcpt(e *event.Event) string {
	to := bracketed(e.To)
	why := edgeReasons[e.Why]
	switch {
	case e.Verdict == "defer":
		return words("Recipient", to, when("of mail from %s", e.From), "was put off with", reply(e)+":", cmp.Or(why, e.Why, e.Reason), when("(reference %s)", e.Ref)) + "."
	case e.Code/100 == 2 || e.Code == 0:
		return words("Recipient", to, "was taken", when("from %s", e.From), when("(%s)", cmp.Or(why, e.Why))) + "."
	case e.Enhanced == "5.1.1":
		return words("Recipient", to, when("of mail from %s", e.From), "was refused with", reply(e)+": there is no such address.")
	}
	return words("Recipient", to, when("of mail from %s", e.From), "was refused with", reply(e), when("(%s)", e.Reason)) + "."
}

func refuse(e *event.Event) string {
	if e.Code == 0 && e.Text == "" {
		return words("A fault of", peer(e)+":", e.Verb, when("(%s)", e.Reason)) + "."
	}
	return words(cmp.Or(e.Verb, "A command"), "of", peer(e), "was refused with", reply(e), when("(%s)", e.Reason)) + "."
}

func finding(e *event.Event) string {
	return words("Finding", e.Verb+":", cmp.Or(e.Reason, e.Evidence, e.Text), when("for %s", e.To)) + "."
}

func accept(e *event.Event) string {
	s := words("The message was taken and is on disk:", size(e.Size), when("from %s", e.From))
	if e.Count > 0 {
		s = words(s, "for", plural(e.Count, "recipient"))
	}
	return words(s, when("with subject %s", quoted(e.Subject)), when("(Message-ID %s)", bracketedID(e.MessageID))) + "."
}

func bracketedID(id string) string {
	if id == "" {
		return ""
	}
	return "<" + id + ">"
}

func stored(e *event.Event) string {
	box := when("%s of ", e.Mailbox) + cmp.Or(e.Account, "an account")
	if e.Role == "delivery" || e.Role == "" {
		return words("It was put into the mailbox", box, when("for %s", e.To)) + "."
	}
	return words("It was put into the mailbox", box, "by", service(e), e.Verb) + "."
}

func attempt(e *event.Event) string {
	host := peer(e)
	if e.Host != "" && e.IP.IsValid() {
		host = fmt.Sprintf("%s [%s]", e.Host, e.IP)
	}
	switch e.Verb {
	case "delivered":
		return words("Delivered to", host, when("for %s", e.To)+":", "it said", reply(e)) + "."
	case "waiting":
		return words("Delivery to", host, when("for %s", e.To), "was put off: it said", reply(e)+";", cmp.Or(e.Reason, "it is tried again")) + "."
	}
	return words("Delivery to", host, when("for %s", e.To), "failed: it said", reply(e), when("(%s)", e.Reason)) + "."
}

func settled(e *event.Event) string {
	if e.Verb == "delivered" {
		return words("Recipient", bracketed(e.To), "is done.")
	}
	return words("Recipient", bracketed(e.To), "is given up:", cmp.Or(reply(e), e.Reason, e.Verb)) + "."
}

func bounce(e *event.Event) string {
	return words("A report", when("(%s)", e.Verb), "was sent to", bracketed(e.To)) + "."
}

func report(e *event.Event) string {
	if e.Verb == "dmarc" {
		return words("A report about mail that shows our domain arrived:", e.Reason) + "."
	}
	return words(cmp.Or(e.From, "Another site"), "complains about it", when("(%s)", e.Verb), when(": %s", e.Reason)) + "."
}

func retrieve(e *event.Event) string {
	return words(cmp.Or(e.Account, "Its reader"), "fetched it by", service(e), when("from %s", ipOf(e)), when("(%s)", e.Helo)) + "."
}

// removals say how a message left a mailbox.
var removals = map[string]string{"MOVE": "moved it", "EXPUNGE": "deleted it", "CLOSE": "deleted it", "DELE": "deleted it"}

func remove(e *event.Event) string {
	what := cmp.Or(removals[e.Verb], "removed it")
	if e.Count > 0 {
		what = strings.Replace(what, "it", plural(e.Count, "more message"), 1)
	}
	return words(cmp.Or(e.Account, "Its reader"), what, when("from %s", e.Mailbox), when("to %s", e.Text), when("by %s", service(e)), when("from %s", ipOf(e)), when("(%s)", e.Helo)) + "."
}

func ipOf(e *event.Event) string {
	if e.IP.IsValid() {
		return e.IP.String()
	}
	return ""
}

func login(e *event.Event) string {
	if e.Reason == "" && (e.Code == 0 || e.Code == 235) {
		return words(cmp.Or(e.Account, "An account"), "logged in by", service(e), "from", peer(e), when("(%s)", e.Verb)) + "."
	}
	return words("A login by", service(e), when("as %s", e.Account), "from", peer(e), "failed:", cmp.Or(e.Reason, reply(e))) + "."
}

func edge(e *event.Event) string {
	return words("The edge:", cmp.Or(e.Evidence, edgeReasons[e.Why], e.Why), when("(%s)", e.Verb), when("account %s:", e.Account), e.Reason) + "."
}

func setting(e *event.Event) string {
	return words(cmp.Or(e.Actor, "Somebody"), "changed", e.Verb, when("of %s", e.Account), when("(%s)", e.Reason)) + "."
}

func administer(e *event.Event) string {
	return words(cmp.Or(e.Actor, "Somebody")+":", e.Verb, e.Account, when("(%s)", e.Reason)) + "."
}

func search(e *event.Event) string {
	s := words(cmp.Or(e.Actor, "Somebody"), "read events:", e.Verb, quoted(e.Query), "found", plural(e.Count, "event"))
	return words(s, when("because of %s", quoted(e.Text)), when("(%s)", e.Reason)) + "."
}

func expire(e *event.Event) string {
	return words(plural(e.Count, "event"), "of", cmp.Or(e.Text, e.Verb), "deleted:", e.Reason) + "."
}

func fault(e *event.Event) string {
	s := words("Fault", when("of %s", e.Role), when("(%s)", e.Verb)) + ": " + e.Reason
	if e.Count > 0 {
		s += fmt.Sprintf(" (%d)", e.Count)
	}
	return s + "."
}

func lifecycle(e *event.Event) string {
	return words(cmp.Or(e.Role, "The node")+":", e.Verb, e.Text, e.Reason) + "."
}

// general tells of a kind that is not known here.
func general(e *event.Event) string {
	return words(string(e.Kind)+":", e.Verb, e.From, e.To, e.Account, reply(e), e.Reason) + "."
}
