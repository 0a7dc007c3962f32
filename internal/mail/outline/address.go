package outline

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
	p := addressParser{lexer: lexer{in: value}}
	if p.space() != more {
		return nil
	}
	for len(p.out) < maxAddresses {
		if p.address() == ended || !p.take(',') {
			break
		}
		if st := p.space(); st != more {
			if st == broken {
				p.add(Address{})
			}
			break
		}
	}
	return p.out
}

type addressParser struct {
	lexer
	out []Address
}

// add keeps a mailbox, with words for what is missing.
func (p *addressParser) add(a Address) {
	if a.Mailbox == "" {
		a.Mailbox = missingMailbox
	}
	if a.Host == "" {
		a.Host = missingDomain
	}
	p.out = append(p.out, a)
}

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
	p.out = append(p.out, Address{Role: GroupStart, Mailbox: name})
	st := p.space()
	if st == more && !p.at(';') {
		st = p.members()
	}
	if st != broken {
		if st = broken; p.take(';') {
			st = p.space()
		}
	}
	p.out = append(p.out, Address{Role: GroupEnd})
	if st == ended {
		return ended
	}
	return more
}

func (p *addressParser) members() state {
	for len(p.out) < maxAddresses {
		if p.mailbox() != more {
			return broken
		}
		if !p.take(',') {
			return more
		}
		if p.space() != more {
			return broken
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
	a := Address{Name: name}
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
			return broken
		}
		st = p.space()
	}
	if st == more && !p.at('>') {
		if st = p.local(a); st == more && p.at('@') {
			a.Host, st = p.domain()
		}
	}
	if st != more || !p.take('>') {
		return broken
	}
	return p.space()
}

// route reads "@a,@b".
func (p *addressParser) route() (string, state) {
	route := ""
	for p.at('@') {
		if route != "" {
			route += ","
		}
		host, st := p.domain()
		route += "@" + host
		if st != more {
			return route, st
		}
		for st == more && p.take(',') {
			st = p.space()
		}
	}
	if p.end() {
		return route, ended
	}
	return route, more
}

func (p *addressParser) local(a *Address) (st state) {
	read := p.dotAtom
	if p.at('"') {
		read = p.quoted
	}
	word, st := read()
	if st != broken {
		a.Mailbox = word
	}
	return st
}

// plain reads an address without brackets; a comment behind it is its name.
func (p *addressParser) plain() state {
	var a Address
	p.comment = ""
	st := p.local(&a)
	if st != ended && p.at('@') {
		var host string
		if host, st = p.domain(); st != broken {
			a.Host = host
		}
	}
	a.Name = p.comment
	p.add(a)
	return st
}
