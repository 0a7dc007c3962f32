// Package mail holds the nouns of the field that every other room speaks in:
// addresses and domains, envelopes, replies, headers and MIME parts. It knows
// no network, no disk and no configuration.
//
// # Addresses
//
// An Address keeps the form the peer wrote beside the form decisions are made
// on; case folding, PRECIS and IDNA happen here and nowhere else. ParseAddress
// and ParsePath are strict, as the SMTP dialogue needs (RFC 5321, RFC 6531);
// ParseAddressList is tolerant, as headers need. RewriteAddresses changes
// addresses in a header value and leaves all else as it stands.
//
// # Replies
//
// A Reply is the error a peer may hear, with its cause kept apart for the log.
//
// # Headers
//
// A Header keeps every octet of a header section: read and written, it is the
// same. Edits touch only the fields they name; values are folded and encoded
// on the way in (FormatField), and decoded on demand (DecodeText). Received
// makes trace fields that no HELO text can break out of.
//
// # MIME
//
// ReadMIME takes a message apart in one pass over an io.Reader, in memory
// bounded by MIMELimits, and hands every body to a visitor. Parts know their
// IMAP section, offset, size and lines in the input, so that a reader of the
// stored message can fetch any of them without parsing again. Broken input is
// never an error: what is wrong with a part is listed as its Defects.
//
// Where mail programs disagree on broken MIME, ReadMIME takes the reading that
// shows more: boundaries match as prefixes (RFC 2046 section 5.1.1), base64
// goes on behind padding, encoded messages are opened. Text before the first
// boundary of a multipart is handed out, text behind the last is not.
package mail
