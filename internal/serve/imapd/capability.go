package imapd

import (
	"strconv"
	"strings"
)

// capabilities are told to everybody.
var capabilities = []string{
	"IMAP4rev1", // RFC 3501
	"IMAP4rev2", // RFC 9051
	"LITERAL+",  // RFC 7888
	"SASL-IR",   // RFC 4959
	"ENABLE",    // RFC 5161
	"ID",        // RFC 2971
}

// loginCapabilities are told after login.
var loginCapabilities = []string{
	"ACL",                   // RFC 4314
	"BINARY",                // RFC 3516
	"CATENATE",              // RFC 4469
	"CHILDREN",              // RFC 3348
	"CONDSTORE",             // RFC 7162
	"CONTEXT=SEARCH",        // RFC 5267
	"CONTEXT=SORT",          // RFC 5267
	"CREATE-SPECIAL-USE",    // RFC 6154
	"ESEARCH",               // RFC 4731
	"ESORT",                 // RFC 5267
	"IDLE",                  // RFC 2177
	"LIST-EXTENDED",         // RFC 5258
	"LIST-METADATA",         // RFC 9590
	"LIST-MYRIGHTS",         // RFC 8440
	"LIST-STATUS",           // RFC 5819
	"METADATA",              // RFC 5464
	"MOVE",                  // RFC 6851
	"MULTIAPPEND",           // RFC 3502
	"NAMESPACE",             // RFC 2342
	"NOTIFY",                // RFC 5465
	"OBJECTID",              // RFC 8474
	"PREVIEW",               // RFC 8970
	"QRESYNC",               // RFC 7162
	"QUOTA",                 // RFC 9208
	"QUOTA=RES-STORAGE",     // RFC 9208
	"REPLACE",               // RFC 8508
	"RIGHTS=kxte",           // RFC 4314
	"SAVEDATE",              // RFC 8514
	"SEARCHRES",             // RFC 5182
	"SORT",                  // RFC 5256
	"SORT=DISPLAY",          // RFC 5957
	"SPECIAL-USE",           // RFC 6154
	"STATUS=SIZE",           // RFC 8438
	"THREAD=ORDEREDSUBJECT", // RFC 5256
	"THREAD=REFERENCES",     // RFC 5256
	"UIDONLY",               // RFC 9586
	"UIDPLUS",               // RFC 4315
	"UNSELECT",              // RFC 3691
	"UTF8=ACCEPT",           // RFC 6855
	"WITHIN",                // RFC 5032
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
