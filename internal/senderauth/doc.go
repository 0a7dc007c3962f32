// Package senderauth knows what is proven of a sender. It signs with DKIM
// (RFC 6376, RFC 8301, RFC 8463), and checks SPF (RFC 7208).
//
// A Signer reads a message once: header in memory, body streamed into one
// hash that serves all its keys. What it gives is put in front of the message,
// which itself does not change. Signatures are relaxed/relaxed, over the whole
// body, without expiry unless one is set.
//
// A Key is kept as PKCS#8 PEM; Key.Record is the text of the TXT record that
// publishes it and ZoneText the form of that text for a zone file.
package senderauth
