package smtpd

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/migiwa/migiwa/internal/mail"
)

// syntax is a 501 for a parameter or its place.
func syntax(text string) *mail.Reply {
	return &mail.Reply{Code: 501, Enhanced: "5.5.4", Text: text}
}

// parseMail reads the argument of MAIL (RFC 5321 section 4.1.1.2) with the
// parameters SIZE, BODY, SMTPUTF8, RET, ENVID and AUTH.
func parseMail(arg string) (*mail.Envelope, *mail.Reply) {
	env := new(mail.Envelope)
	from, params, bad := cutPath(arg, "FROM:", "5.1.7")
	if bad != nil {
		return nil, bad
	}
	if bad := eachParam(params, func(key, value string, has bool) *mail.Reply {
		return mailParam(env, key, value, has)
	}); bad != nil {
		return nil, bad
	}
	if !from.IsNull() && from.Domain == "" {
		return nil, &mail.Reply{Code: 501, Enhanced: "5.1.7", Text: "Sender without a domain"}
	}
	if from.UTF8() && !env.SMTPUTF8 {
		return nil, &replyNeedUTF8
	}
	env.From = from
	return env, nil
}

// mailParam puts one parameter of MAIL into env.
func mailParam(env *mail.Envelope, key, value string, has bool) *mail.Reply {
	switch key {
	case "SIZE":
		n, ok := parseSize(value)
		if !ok {
			return syntax("SIZE is a number of octets")
		}
		env.Size = n
	case "BODY":
		env.Body = mail.BodyType(strings.ToUpper(value))
		if env.Body != mail.Body7Bit && env.Body != mail.Body8Bit && env.Body != mail.BodyBinary {
			return syntax("BODY is 7BIT, 8BITMIME or BINARYMIME")
		}
	case "SMTPUTF8":
		if has {
			return syntax("SMTPUTF8 has no value")
		}
		env.SMTPUTF8 = true
	case "RET":
		env.Ret = strings.ToUpper(value)
		if env.Ret != "FULL" && env.Ret != "HDRS" {
			return syntax("RET is FULL or HDRS")
		}
	case "ENVID":
		id, ok := decodeXtext(value)
		if !ok || value == "" || len(value) > 100 {
			return syntax("ENVID is xtext of at most 100 octets")
		}
		env.EnvID = id
	case "AUTH":
		who, ok := decodeXtext(value)
		if !ok || value == "" || len(value) > 500 {
			return syntax("AUTH is xtext of at most 500 octets")
		}
		env.Auth = who
	default:
		return &mail.Reply{Code: 555, Enhanced: "5.5.4", Text: "Parameter of MAIL not known"}
	}
	return nil
}

// parseRcpt reads the argument of RCPT (RFC 5321 section 4.1.1.3) with the
// parameters NOTIFY and ORCPT.
func parseRcpt(arg string, utf8ok bool) (mail.Recipient, *mail.Reply) {
	var r mail.Recipient
	to, params, bad := cutPath(arg, "TO:", "5.1.3")
	if bad != nil {
		return r, bad
	}
	if bad := eachParam(params, func(key, value string, _ bool) *mail.Reply {
		return rcptParam(&r, key, value, utf8ok)
	}); bad != nil {
		return r, bad
	}
	if to.IsNull() {
		return r, &mail.Reply{Code: 501, Enhanced: "5.1.3", Text: "Recipient is empty"}
	}
	if to.UTF8() && !utf8ok {
		return r, &replyNeedUTF8
	}
	r.Address = to
	return r, nil
}

// rcptParam puts one parameter of RCPT into r.
func rcptParam(r *mail.Recipient, key, value string, utf8ok bool) *mail.Reply {
	var ok bool
	switch key {
	case "NOTIFY":
		if r.Notify, ok = parseNotify(value); !ok {
			return syntax("NOTIFY is NEVER or a list of SUCCESS, FAILURE, DELAY")
		}
	case "ORCPT":
		if r.ORcpt, ok = parseORcpt(value, utf8ok); !ok {
			return syntax("ORCPT is a type, a semicolon and an address in xtext")
		}
	default:
		return &mail.Reply{Code: 555, Enhanced: "5.5.4", Text: "Parameter of RCPT not known"}
	}
	return nil
}

var replyNeedUTF8 = mail.Reply{Code: 553, Enhanced: "5.6.7", Text: "Address needs SMTPUTF8"}

// cutPath takes the keyword and the path in angle brackets off arg. enhanced
// is the code of a malformed address.
func cutPath(arg, keyword, enhanced string) (a mail.Address, params string, bad *mail.Reply) {
	if len(arg) <= len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) || arg[len(keyword)] != '<' {
		return a, "", &mail.Reply{Code: 501, Enhanced: "5.5.2", Text: "Say " + keyword + "<address>, with brackets and no spaces"}
	}
	a, params, err := mail.ParsePath(arg[len(keyword):])
	if err != nil {
		return a, "", &mail.Reply{Code: 501, Enhanced: enhanced, Text: "Malformed address", Cause: err}
	}
	if params != "" && params[0] != ' ' {
		return a, "", syntax("A space must follow the path")
	}
	return a, params, nil
}

// eachParam calls set for each esmtp-param (RFC 5321 section 4.1.2) of s, with
// its keyword in upper case, and refuses a keyword that comes twice.
func eachParam(s string, set func(key, value string, has bool) *mail.Reply) *mail.Reply {
	if s == "" {
		return nil
	}
	var known [8]string
	seen := known[:0]
	for param := range strings.SplitSeq(s[1:], " ") {
		key, value, has := strings.Cut(param, "=")
		if !validKeyword(key) || has && !validValue(value) {
			return syntax("Malformed parameter")
		}
		key = strings.ToUpper(key)
		for _, k := range seen {
			if k == key {
				return syntax("Parameter given twice")
			}
		}
		seen = append(seen, key)
		if bad := set(key, value, has); bad != nil {
			return bad
		}
	}
	return nil
}

func validKeyword(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !alnum && (c != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

func validValue(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == '=' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// parseSize reads 1*20DIGIT (RFC 1870). What no int64 holds is too big
// whatever it is.
func parseSize(s string) (int64, bool) {
	if s == "" || len(s) > 20 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return n, true
}

func parseNotify(s string) (mail.Notify, bool) {
	var set mail.Notify
	for word := range strings.SplitSeq(s, ",") {
		var one mail.Notify
		switch strings.ToUpper(word) {
		case "NEVER":
			one = mail.NotifyNever
		case "SUCCESS":
			one = mail.NotifySuccess
		case "FAILURE":
			one = mail.NotifyFailure
		case "DELAY":
			one = mail.NotifyDelay
		default:
			return 0, false
		}
		if set&one != 0 {
			return 0, false
		}
		set |= one
	}
	return set, set&mail.NotifyNever == 0 || set == mail.NotifyNever
}

// parseORcpt decodes "addr-type;xtext" (RFC 3461 section 4.2), with the utf-8
// address type of RFC 6533 section 3.
func parseORcpt(s string, utf8ok bool) (string, bool) {
	kind, text, ok := strings.Cut(s, ";")
	if !ok || !validKeyword(kind) || text == "" || len(s) > 500 {
		return "", false
	}
	if !strings.EqualFold(kind, "utf-8") {
		address, ok := decodeXtext(text)
		return kind + ";" + address, ok
	}
	address, err := mail.DecodeAddrXtext(text)
	if !utf8ok && strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
		return "", false
	}
	return kind + ";" + address, err == nil && isPrintable(address)
}

// decodeXtext decodes xtext (RFC 3461 section 4). What would not be printable
// ASCII is refused, as it would have to be guarded against ever after.
func decodeXtext(s string) (string, bool) {
	text, err := mail.DecodeXtext(s)
	if err != nil || !isPrintable(text) {
		return "", false
	}
	return text, strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// isPrintable tells whether s is UTF-8 without control characters.
func isPrintable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}
