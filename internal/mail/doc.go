// Package mail holds the nouns of the field that every other room speaks in:
// addresses and domains, envelopes, replies, headers and MIME parts. It knows
// no network, no disk and no configuration.
//
// An Address keeps the form the peer wrote beside the form decisions are made
// on; case folding, PRECIS and IDNA happen here and nowhere else. A Reply is
// the error a peer may hear, with its cause kept apart for the log.
package mail
