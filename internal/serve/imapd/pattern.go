package imapd

import (
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/migiwa/migiwa/internal/mailbox"
)

// pattern is a mailbox name with wildcards as LIST has it (RFC 9051 section
// 6.3.9): "*" stands for anything, "%" for anything within a level. The zero
// pattern fits no name.
//
// It is an automaton whose state i means that the first i octets that are no
// wildcards have been found. All states that are possible are followed at
// once, a bit each, so that the time is that of one pass over the name for
// every 64 octets of the pattern, whatever the two are.
type pattern struct {
	octets  int       // that are no wildcards
	is      [256]bits // by octet: the states it leads on from
	star    bits      // the states in which anything may follow
	percent bits      // the states in which anything of the level may follow
}

type bits []uint64

func (b bits) set(i int) { b[i/64] |= 1 << (i % 64) }

func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// newPattern puts a reference in front of a pattern. One that no name can
// match gives the zero pattern.
func newPattern(reference, text string) (p pattern) {
	text = norm.NFC.String(reference + text)
	plain := len(text) - strings.Count(text, "*") - strings.Count(text, "%")
	if plain > maxListed {
		return pattern{}
	}
	words := plain/64 + 1
	p.star, p.percent = make(bits, words), make(bits, words)
	for i := range len(text) {
		switch c := text[i]; c {
		case '*':
			p.star.set(p.octets)
		case '%':
			p.percent.set(p.octets)
		default:
			if p.is[c] == nil {
				p.is[c] = make(bits, words)
			}
			p.is[c].set(p.octets)
			p.octets++
		}
	}
	return p
}

// maxListed bounds the names that LIST can give, in octets: a folder's with
// the address of its owner in front.
const maxListed = mailbox.MaxName + 400

// match tells whether a name fits. INBOX is matched in any case.
func (p *pattern) match(name string) bool {
	if p.star == nil {
		return false
	}
	fold := name == inbox || strings.HasPrefix(name, inbox+"/")
	now := make(bits, len(p.star))
	now.set(0)
	for i := range len(name) {
		is := p.is[name[i]]
		if fold && i < len(inbox) {
			is = either(is, p.is[name[i]-'A'+'a'])
		}
		if !p.step(now, is, name[i] != '/') {
			return false
		}
	}
	return now.has(p.octets)
}

// step goes on by one octet. It tells whether any state is left.
func (p *pattern) step(now, is bits, inLevel bool) (left bool) {
	var carry uint64
	for w, was := range now {
		next := was&p.star[w] | carry
		carry = 0
		if inLevel {
			next |= was & p.percent[w]
		}
		if is != nil {
			led := was & is[w]
			next |= led << 1
			carry = led >> 63
		}
		now[w] = next
		left = left || next != 0
	}
	return left || carry != 0
}

// either gives the bits that a or b has; nil has none.
func either(a, b bits) bits {
	if a == nil || b == nil {
		return slices.Concat(a, b)
	}
	out := slices.Clone(a)
	for i := range out {
		out[i] |= b[i]
	}
	return out
}

// patterns are alternatives.
type patterns []pattern

func (ps patterns) match(name string) bool {
	for i := range ps {
		if ps[i].match(name) {
			return true
		}
	}
	return false
}
