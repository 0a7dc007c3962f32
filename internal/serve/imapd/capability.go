package imapd

import (
	"strconv"
	"strings"
)

// capabilities are told to everybody.
var capabilities = []string{
	"IMAP4rev1",
	"IMAP4rev2",
	"LITERAL+",
	"SASL-IR",
	"ENABLE",
	"ID",
}

// loginCapabilities are told after login.
var loginCapabilities = []string{
	"ACL",
	"BINARY",
	"CATENATE",
	"CHILDREN",
	"CONTEXT=SEARCH",
	"CONTEXT=SORT",
	"CREATE-SPECIAL-USE",
	"ESEARCH",
	"ESORT",
	"IDLE",
	"LIST-EXTENDED",
	"LIST-METADATA",
	"LIST-MYRIGHTS",
	"LIST-STATUS",
	"METADATA",
	"MOVE",
	"MULTIAPPEND",
	"NAMESPACE",
	"NOTIFY",
	"PREVIEW",
	"QUOTA",
	"QUOTA=RES-STORAGE",
	"REPLACE",
	"RIGHTS=kxte",
	"SAVEDATE",
	"SEARCHRES",
	"SORT",
	"SORT=DISPLAY",
	"SPECIAL-USE",
	"STATUS=SIZE",
	"THREAD=ORDEREDSUBJECT",
	"THREAD=REFERENCES",
	"UIDPLUS",
	"UNSELECT",
	"WITHIN",
	"CONDSTORE",
	"QRESYNC",
	"UIDONLY",
	"UTF8=ACCEPT",
}

// capability gives the text of CAPABILITY, without that word.
func (c *conn) capability() string {
	words := append([]string(nil), capabilities...)
	switch {
	case c.name != "":
		words = append(words, loginCapabilities...)
		if !c.compressed {
			words = append(words, "COMPRESS=DEFLATE")
		}
		words = append(words, "APPENDLIMIT="+strconv.FormatInt(c.srv.limits.Append, 10))
	case c.state == nil:
		words = append(words, "STARTTLS", "LOGINDISABLED")
	default:
		for _, m := range c.srv.SASL.Mechanisms(c.state) {
			words = append(words, "AUTH="+m)
		}
	}
	return strings.Join(words, " ")
}
