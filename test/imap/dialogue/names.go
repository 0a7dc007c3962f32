package dialogue

import (
	"regexp"
	"strings"

	"github.com/migiwa/migiwa/test/imap/client"
)

// names turns the names of mailboxes as James has them into the server's:
// James's levels are separated by ".", its personal namespace is also
// "#private.", and that of others "#user.".
type names struct {
	separator string // of the server
	others    string // prefix of other users' mailboxes, with the separator
	boby      string // prefix of the mailboxes that Boby shares
}

// learn asks the server for its separator and namespaces.
func learn(c *client.Conn, has map[string]bool) (names, error) {
	n := names{separator: "/"}
	all, err := c.OK(`LIST "" ""`)
	if err != nil {
		return n, err
	}
	if r := all[0]; r.Name() == "LIST" && len(r.Values) == 4 {
		n.separator = r.Values[2].Text
	}
	if !has["NAMESPACE"] {
		return n, nil
	}
	if all, err = c.OK("NAMESPACE"); err != nil {
		return n, err
	}
	for _, r := range all {
		if r.Name() == "NAMESPACE" && len(r.Values) == 4 && len(r.Values[2].List) > 0 && len(r.Values[2].List[0].List) > 0 {
			n.others = r.Values[2].List[0].List[0].Text
		}
	}
	all, err = c.OK("LIST " + client.Quote(n.others) + " *mailbox-lr")
	for _, r := range all {
		if r.Name() == "LIST" && len(r.Values) == 4 {
			n.boby = strings.TrimSuffix(r.Values[3].Text, "mailbox-lr")
		}
	}
	return n, err
}

var (
	withName   = regexp.MustCompile(`(?i)^\S+ (UID )?(CREATE|DELETE|RENAME|SELECT|EXAMINE|SUBSCRIBE|UNSUBSCRIBE|LIST|LSUB|XLIST|STATUS|APPEND|COPY|MOVE|GETACL|SETACL|DELETEACL|MYRIGHTS|LISTRIGHTS|GETQUOTAROOT|GETMETADATA|SETMETADATA) `)
	sharedName = regexp.MustCompile(`#(boby|others)#[^ "]*`) // not quoted
	dot        = regexp.MustCompile(`([\pL\d_%*-])\.`)
	answerOf   = regexp.MustCompile(`^\\\* (LIST|LSUB|XLIST|STATUS|MYRIGHTS|ACL|LISTRIGHTS|QUOTAROOT|METADATA) `)
)

// command gives a command with the server's names.
func (n names) command(line string) string {
	if !withName.MatchString(line) {
		return line
	}
	tag, rest, _ := strings.Cut(line, " ")
	rest = strings.NewReplacer("#private."+User+".", "", "#private.", "", "#user.boby.", "#boby#", "#user.", "#others#").Replace(rest)
	rest = dot.ReplaceAllString(rest, "${1}"+n.separator)
	if strings.Contains(rest, "#") && strings.ContainsAny(n.boby+n.others, " ") {
		rest = sharedName.ReplaceAllString(rest, `"$0"`)
	}
	return tag + " " + strings.NewReplacer("#boby#", n.boby, "#others#", n.others).Replace(rest)
}

// answer gives a pattern with the server's names.
func (n names) answer(pattern string) string {
	if !answerOf.MatchString(pattern) {
		return pattern
	}
	for _, private := range []string{`#private\.` + User + `\.`, "#private." + User + ".", `#private\.`, "#private."} {
		pattern = strings.ReplaceAll(pattern, private, "")
	}
	for _, user := range []string{`#user\.boby\.`, "#user.boby."} {
		pattern = strings.ReplaceAll(pattern, user, regexp.QuoteMeta(n.boby))
	}
	for _, user := range []string{`#user\.`, "#user."} {
		pattern = strings.ReplaceAll(pattern, user, regexp.QuoteMeta(n.others))
	}
	return strings.ReplaceAll(pattern, `\.`, "[./]")
}
