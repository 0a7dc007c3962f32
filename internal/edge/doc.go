// Package edge judges strangers, before anybody looks at what they bring: who
// may hear whether a recipient exists, who comes too often, who guesses
// passwords. It never sees a message body.
//
// # The question
//
// A server that answers "user unknown" to anybody as often as asked hands out
// its directory; one that never says it makes every guess look valid and keeps
// honest lists dirty. So each RCPT is first put to Engine.Decide, which answers
// one thing: may this client, now, hear the truth? It is blind: an Attempt has
// no room for whether the recipient exists. Whoever may not is deferred, with
// the same 4xx for every recipient. What the recipient turned out to be is told
// afterwards (Engine.Learn), for deferred ones too, from a look-up that no
// reply waits for.
//
// # Evidence
//
// Every source (an IPv4 address, an IPv6 /64) and every identity (a sender
// domain that SPF proves, or the pair of source and sender domain) has one
// entry: a sequential likelihood-ratio test over distinct first contacts, in
// nats. Unknown recipients add, accepted messages take away; so what counts is
// the proportion, not the volume. Over a threshold a penalty begins; it ends by
// itself, is followed by parole, and parole by the initial state.
//
// A source never seen before starts from a prior: what its networks and all
// unproven sources together have lately done. When that is bad, it is not
// answered before it has behaved as a mail server does: the same transaction
// again, after minutes. How strict this is follows from how many unknown
// recipients unproven sources have been told of in the last hour (disclosure).
//
// Everything decays and everything expires. There is no list to keep.
//
// # Our own users
//
// Outbound turns the question around: is it the owner who sends through an
// account? It compares each account with its own past. See outbound.go.
//
// # Memory
//
// Tables have a fixed size, hold no pointers and lie outside Go's heap. When
// one is full, what carries least evidence makes room. See table.go for the
// layout and snapshot.go for the file.
//
// # Time
//
// The engine takes the time as an argument, in seconds, and has no clock: the
// simulator in bench/edge and `migiwa edge replay` run the very same code.
package edge
