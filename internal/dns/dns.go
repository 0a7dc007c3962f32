// Package dns asks the domain name system what a mail server has to know: mail
// exchangers, addresses, names of addresses, texts and TLSA records.
//
// Two resolvers exist. Client asks recursive servers over the network, with a
// cache, deadlines and TCP where UDP is too small. Zone answers from the text
// of a zone file: for tests, and for test installations without a network.
// Everything above the single question is shared between them.
//
// Every lookup ends in one of four ways, and callers must tell them apart:
//
//	found            err == nil
//	no such name     errors.Is(err, ErrNoName)    NXDOMAIN: RFC 8020
//	no such record   errors.Is(err, ErrNoRecord)  the name exists: RFC 2308, 2.2
//	not known now    errors.Is(err, ErrTemporary) SERVFAIL, timeout, nonsense
//
// IsNotFound covers the two middle ones. Only those may ever lead to a permanent
// refusal; every other error is temporary, and IsTemporary says so.
//
// A result is Authentic when the server vouched for it with the AD bit (RFC
// 4035, 3.2.3) and the server is on a loopback address: over any other path the
// bit proves nothing. Denials carry the mark as well (see Error).
//
// Names are compared without regard to case. Names in results are in lower case
// and without the final dot. Internationalised names must be given as A-labels.
package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// Resolver answers the questions of a mail server. It is safe for use by many
// goroutines. Results are the caller's own to change.
type Resolver interface {
	// MX returns the mail exchangers of domain. ErrNoRecord means that the
	// implicit MX of RFC 5321, 5.1 applies: the caller then asks Addrs.
	MX(ctx context.Context, domain string) (MXResult, error)
	// Addrs returns the IPv4 and IPv6 addresses of host.
	Addrs(ctx context.Context, host string) (AddrsResult, error)
	// TXT returns the text records of name, the strings of each joined.
	TXT(ctx context.Context, name string) (TXTResult, error)
	// PTR returns the names of addr that are well-formed host names.
	PTR(ctx context.Context, addr netip.Addr) (PTRResult, error)
	// TLSA returns the records of a name such as _25._tcp.mx.example.jp.
	TLSA(ctx context.Context, name string) (TLSAResult, error)
}

// Meta is what every result tells about itself.
type Meta struct {
	// Name is the owner of the records: the name asked for, or what its
	// chain of aliases ended in. DANE needs it: RFC 7672, 2.2.2.
	Name string
	// Authentic says that every step of the answer was validated by a
	// server on a loopback address.
	Authentic bool
	// TTL is how long the answer may still be kept.
	TTL time.Duration
}

// MX is one mail exchanger.
type MX struct {
	Preference uint16 // lower is tried first
	Host       string
}

// MXResult holds mail exchangers, the most preferred first.
type MXResult struct {
	Meta
	Hosts []MX // empty only when Null
	// Null says that the domain accepts no mail at all: RFC 7505.
	Null bool
}

// Shuffled returns the hosts with those of equal preference in random order,
// as RFC 5321, 5.1 asks of a sender.
func (r MXResult) Shuffled() []MX {
	hosts := slices.Clone(r.Hosts)
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	sortMX(hosts)
	return hosts
}

func sortMX(hosts []MX) {
	slices.SortStableFunc(hosts, func(a, b MX) int { return int(a.Preference) - int(b.Preference) })
}

// AddrsResult holds the addresses of a host.
type AddrsResult struct {
	Meta
	Addrs []netip.Addr // never IPv4-mapped
	// Partial is the temporary failure of one of the two questions (A and
	// AAAA) while the other was answered; nil when both were. DANE must then
	// be put off (RFC 7672, 2.1.1); other uses may go on with what is there.
	Partial error
}

// TXTResult holds text records.
type TXTResult struct {
	Meta
	Texts []string
}

// PTRResult holds the names of an address.
type PTRResult struct {
	Meta
	Names []string
}

// TLSA is one record of RFC 6698, 2.1.
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte
}

// TLSAResult holds TLSA records. Those that are not Authentic must not be used.
type TLSAResult struct {
	Meta
	Records []TLSA
}

// The three ways in which a lookup finds nothing, for errors.Is.
var (
	ErrNoName    = errors.New("no such name")
	ErrNoRecord  = errors.New("no such record")
	ErrTemporary = errors.New("no answer")
)

// Error is the error of every lookup.
type Error struct {
	Name string // the name asked for
	Type string // the record type asked for: "MX", "A" …
	Kind error  // ErrNoName, ErrNoRecord or ErrTemporary
	// Authentic says that the denial was validated, as Meta.Authentic does
	// for an answer. Always false with ErrTemporary.
	Authentic bool
	// Cause is what went wrong, with ErrTemporary; may be nil.
	Cause error
}

// Error says what was asked and how it ended.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("dns: %s of %s: %v: %v", e.Type, e.Name, e.Kind, e.Cause)
	}
	return fmt.Sprintf("dns: %s of %s: %v", e.Type, e.Name, e.Kind)
}

// Unwrap makes errors.Is find both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause != nil {
		return []error{e.Kind, e.Cause}
	}
	return []error{e.Kind}
}

// IsNotFound says that the name or the record certainly does not exist.
func IsNotFound(err error) bool {
	return errors.Is(err, ErrNoName) || errors.Is(err, ErrNoRecord)
}

// IsTemporary says that err leaves the question open, so that it must be asked
// again later. Unknown errors are temporary.
func IsTemporary(err error) bool { return err != nil && !IsNotFound(err) }
