package outline

import "strings"

// Address is one element of an address field as ENVELOPE has it (RFC 9051
// section 7.5.2), nothing in it decoded.
type Address struct {
	Role    Role
	Name    string // display name, or the comment behind a plain address; "" for none
	Route   string // obsolete source route; "" for none
	Mailbox string // local part; the name of the group where one begins
	Host    string
}

// Role tells mailboxes from the marks around those of a group.
type Role uint8

// Roles of an Address.
const (
	Mailbox Role = iota
	GroupStart
	GroupEnd
)

// What stands for what is missing or cannot be read, in the words that
// Dovecot made known to mail programs.
const (
	missingMailbox = "MISSING_MAILBOX"
	missingDomain  = "MISSING_DOMAIN"
	syntaxError    = "SYNTAX_ERROR"
	invalidRoute   = "INVALID_ROUTE"
)

// maxAddresses bounds what is read of one field.
const maxAddresses = 100_000

// Addresses reads the value of an address field of an Envelope. What is broken
// is read as far as possible; an address without mailbox or domain gets a word
// that says so in its place.
func Addresses(value string) []Address {
	var p addressParser
	for field := range strings.SplitSeq(value, fieldBreak) {
		p.lexer = lexer{in: field}
		if p.space() == more {
			p.list()
		}
	}
	return p.out
}

// fieldBreak stands between the values of fields of one name.
const fieldBreak = ",\n"

type addressParser struct {
	lexer
	out []Address
}

// list reads addresses up to the end of the field, or to where it is broken
// beyond hope.
func (p *addressParser) list() {
	for len(p.out) < maxAddresses && p.address() != ended && p.take(',') {
		if st := p.space(); st != more {
			if st == broken {
				p.add(nobody())
			}
			return
		}
	}
}

func (p *addressParser) add(a Address) { p.out = append(p.out, a) }

// nobody is an address of which nothing has been read yet.
func nobody() Address { return Address{Mailbox: missingMailbox, Host: missingDomain} }

// address reads a group or a mailbox.
func (p *addressParser) address() state {
	start := p.pos
	name, st := p.phrase()
	if st == more && p.take(':') {
		return p.group(name)
	}
	p.pos = start
	return p.mailbox()
}

func (p *addressParser) group(name string) state {
	p.add(Address{Role: GroupStart, Mailbox: name})
	st := p.space()
	if st == more && !p.at(';') {
		st = p.members()
	}
	if st != broken {
		if st = broken; p.take(';') {
			st = p.space()
		}
	}
	p.add(Address{Role: GroupEnd})
	if st == ended {
		return ended
	}
	return more
}

func (p *addressParser) members() state {
	for len(p.out) < maxAddresses {
		p.mailbox()
		if !p.take(',') {
			return more
		}
		if p.space() != more {
			break
		}
	}
	return broken
}

// mailbox reads "name <local@host>" or "local@host".
func (p *addressParser) mailbox() state {
	start := p.pos
	name, st := p.phrase()
	if st != more || !p.at('<') {
		p.pos = start
		return p.plain()
	}
	a := nobody()
	a.Name = name
	if p.angle(&a) == broken {
		a.Host = syntaxError
	}
	p.add(a)
	if p.end() {
		return ended
	}
	return more
}

// angle reads an address in angle brackets, which may be empty.
func (p *addressParser) angle(a *Address) state {
	p.pos++
	st := p.space()
	if st == more && p.at('@') {
		if a.Route, st = p.route(); st != more || !p.take(':') {
			a.Route = invalidRoute
		}
		st = p.space()
	}
	if st == more && !p.at('>') {
		if st = p.local(a); st == more && p.at('@') {
			st = p.host(a)
		}
	}
	if st != more || !p.take('>') {
		return broken
	}
	return p.space()
}

// route reads "@a,@b".
func (p *addressParser) route() (string, state) {
	var b strings.Builder
	for p.at('@') {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		host, st := p.domain()
		b.WriteString("@" + host)
		for st == more && p.take(',') {
			st = p.space()
		}
		if st != more {
			return b.String(), st
		}
	}
	return b.String(), more
}

func (p *addressParser) local(a *Address) state {
	word, st := p.localPart()
	if st != broken {
		a.Mailbox = word
	}
	return st
}

// localPart also gives what it read of a broken one.
func (p *addressParser) localPart() (string, state) {
	if p.at('"') {
		return p.quoted()
	}
	return p.looseDots()
}

func (p *addressParser) host(a *Address) state {
	host, st := p.domain()
	if st != broken && host != "" {
		a.Host = host
	}
	return st
}

// plain reads an address without brackets; a comment behind it is its name.
// One word without a host is taken for a mailbox, more or quoted ones for a
// name.
func (p *addressParser) plain() state {
	a := nobody()
	p.comment = ""
	quoted := p.at('"')
	word, st := p.localPart()
	if st != broken {
		a.Mailbox = word
	}
	if st != ended && p.at('@') {
		if at := p.host(&a); at != more {
			st = at
		}
		a.Name = p.comment
		p.add(a)
		return st
	}
	if a.Name = p.comment; a.Name == "" {
		rest, _ := p.phrase()
		if rest != "" || quoted && st != broken {
			a.Name, a.Mailbox = word+" "+rest, missingMailbox
		}
		st = broken
	}
	p.add(a)
	return st
}
