// Package search is the program of SEARCH: its keys as a client writes them
// (RFC 9051 section 6.4.4 with RFC 3501, 5032, 7162, 8474 and 8514), and what
// they say of the messages of a mailbox.
//
// # Levels
//
// What a key asks for costs more or less to get: its number, the row of the
// message, its outline, its stored header, its text. A program is evaluated
// level by level in three-valued logic; a message goes to the next level only
// while the levels before leave the answer open. So SEARCH UNSEEN BODY x reads
// the text of unseen messages only.
//
// # Text
//
// Strings are compared by fulltext.Normal: without case, width and the breaks
// of lines. What is encoded in a message is decoded before.
package search

import (
	"slices"
	"time"

	"github.com/migiwa/migiwa/internal/mailbox"
	"github.com/migiwa/migiwa/internal/serve/imapd/wire"
)

// level is what must be known of a message to be sure of an answer.
type level uint8

const (
	byNumber  level = iota // sequence number and UID
	byRow                  // mailbox.Message
	byOutline              // outline.Outline
	byHeader               // header as stored
	byText                 // all of it
)

// op is what a key asks.
type op uint8

const (
	opAnd op = iota // all of kids: ALL has none
	opOr
	opNot
	opNumbers
	opUIDs
	opFlags    // flags set
	opRecent   // RECENT
	opKeyword  // word set
	opReceived // date in days
	opSaved    // likewise, SAVEDATE
	opSent     // likewise
	opOlder    // n seconds
	opYounger  // likewise
	opLarger   // n octets
	opSmaller  // likewise
	opModSeq   // n or more
	opEmailID  // word
	opThreadID // word
	opAddress  // field word of the envelope has text
	opSubject  // text
	opHeader   // field word has text
	opBody     // text
	opText     // text
)

// key is one search key.
type key struct {
	op      op
	level   level
	kids    []*key
	set     wire.Set
	bound   bool         // set has been given its meaning:
	numbers []wire.Range // UIDs
	uids    []uint32     // of "$"
	flags   mailbox.Flags
	days    dayRange
	n       int64
	word    string
	text    string // normal
	place   int    // among the text keys of the program, for opBody and opText
}

// dayRange is days since 1970, both included.
type dayRange struct{ first, last int64 }

func (r dayRange) has(t time.Time) bool {
	d := day(t)
	return r.first <= d && d <= r.last
}

// day gives the days since 1970 of the date that t shows in its own zone: SEARCH
// disregards time and zone.
func day(t time.Time) int64 {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

// Program is what a SEARCH asks. It is for one search at a time.
type Program struct {
	root  *key
	texts []*key // opBody and opText

	// BadCharset says that the charset is not known: NO [BADCHARSET].
	BadCharset bool
	// CharsetGiven says that the client named one by CHARSET.
	CharsetGiven bool
	// ModSeq says that mod-sequences belong in the result (RFC 7162 section 3.1.5).
	ModSeq bool
	// Numbers says that a key has sequence numbers, forbidden with UIDONLY
	// (RFC 9586 section 3).
	Numbers bool
	// Timed says that the answer changes with time.
	Timed bool
	// Saved says that a key has "$".
	Saved bool
}

// weigh sets the levels of k and what is in it and puts cheap keys first.
func (k *key) weigh() {
	if k.kids == nil {
		k.level = k.own()
		return
	}
	for _, kid := range k.kids {
		kid.weigh()
		k.level = max(k.level, kid.level)
	}
	slices.SortStableFunc(k.kids, func(a, b *key) int { return int(a.level) - int(b.level) })
}

// own is the level of a key without kids.
func (k *key) own() level {
	switch k.op {
	case opAnd, opOr, opNot, opNumbers, opUIDs, opRecent, opThreadID:
		return byNumber
	case opSent, opAddress, opSubject:
		return byOutline
	case opHeader:
		return headerLevel(k.word, k.text)
	case opBody, opText:
		return byText
	}
	return byRow
}
