package senderauth

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var spfMacro = regexp.MustCompile(`%(?:([%_-])|\{([A-Za-z])([0-9]*)([rR]?)([.+,/_=-]*)\})`)

// expand gives the name that a domain-spec stands for (RFC 7208 section 7). One
// that is too long loses labels from the left.
func (c *spfCheck) expand(spec, domain string) string {
	name := spfMacro.ReplaceAllStringFunc(spec, func(macro string) string {
		m := spfMacro.FindStringSubmatch(macro)
		switch m[1] {
		case "%":
			return "%"
		case "_":
			return " "
		case "-":
			return "%20"
		}
		value := transform(c.letter(strings.ToLower(m[2]), domain), m[3], m[4], m[5])
		if m[2] == strings.ToUpper(m[2]) {
			value = strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
		}
		return value
	})
	name = strings.TrimSuffix(name, ".")
	for len(name) > 253 {
		_, rest, found := strings.Cut(name, ".")
		if !found {
			break
		}
		name = rest
	}
	return name
}

// letter gives the value of a macro.
func (c *spfCheck) letter(letter, domain string) string {
	switch letter {
	case "s":
		return c.local + "@" + c.sender
	case "l":
		return c.local
	case "o":
		return c.sender
	case "d":
		return domain
	case "i":
		return c.dotted()
	case "p":
		return c.name(domain)
	case "h":
		return c.helo
	case "v":
		if c.client.Is4() {
			return "in-addr"
		}
		return "ip6"
	}
	return ""
}

// dotted gives the client's address with dots: IPv6 in nibbles.
func (c *spfCheck) dotted() string {
	if c.client.Is4() {
		return c.client.String()
	}
	var nibbles []string
	for _, o := range c.client.As16() {
		nibbles = append(nibbles, fmt.Sprintf("%x", o>>4), fmt.Sprintf("%x", o&15))
	}
	return strings.Join(nibbles, ".")
}

// name gives a confirmed name of the client: the domain itself rather than one
// below it rather than any.
func (c *spfCheck) name(domain string) string {
	names := c.confirmed()
	for _, fits := range []func(string) bool{
		func(n string) bool { return strings.EqualFold(n, domain) },
		func(n string) bool { return below(n, domain) },
		func(string) bool { return true },
	} {
		if i := slices.IndexFunc(names, fits); i >= 0 {
			return names[i]
		}
	}
	return "unknown"
}

// transform splits a value, turns its parts round and keeps the last of them.
func transform(value, digits, reverse, delimiters string) string {
	if delimiters == "" {
		delimiters = "."
	}
	parts := splitAny(value, delimiters)
	if reverse != "" {
		slices.Reverse(parts)
	}
	if n, err := strconv.Atoi(digits); err == nil && n > 0 && n < len(parts) {
		parts = parts[len(parts)-n:]
	}
	return strings.Join(parts, ".")
}

func splitAny(s, chars string) []string {
	var out []string
	for {
		i := strings.IndexAny(s, chars)
		if i < 0 {
			return append(out, s)
		}
		out = append(out, s[:i])
		s = s[i+1:]
	}
}
