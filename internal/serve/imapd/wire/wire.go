// Package wire reads and writes the syntax of IMAP (RFC 9051 section 9, with
// what its extensions add): atoms, strings, literals, lists, sets, mailbox
// names and dates. It knows no command.
//
// A Decoder reads one command after the other from a stream. Literals that a
// command only quotes, such as names and search keys, are bounded and kept in
// memory; messages are streamed by Literal. Its methods may be called one after
// the other without looking at errors: after the first one they all give zero
// values, and Err tells it.
//
// It is strict in what a command means and tolerant of what clients are known
// to send: several spaces for one, a space before the end of the line, LF alone
// as its end, 8-bit octets in quoted strings.
//
// An Encoder writes responses. Whatever a string holds cannot break out of it.
package wire

import "fmt"

// SyntaxError is what is wrong with a command, for its sender: the text of BAD.
type SyntaxError struct{ Text string }

// Error gives the text.
func (e *SyntaxError) Error() string { return e.Text }

func syntax(format string, args ...any) *SyntaxError {
	return &SyntaxError{Text: fmt.Sprintf(format, args...)}
}

// TooBigError is a literal over its limit. The client hears of it before it
// sends a synchronizing one.
type TooBigError struct{ Size, Limit int64 }

// Error gives the reason in words.
func (e *TooBigError) Error() string {
	return fmt.Sprintf("literal of %d octets, at most %d are taken", e.Size, e.Limit)
}
