// Package access is the filter "access": lists of senders, hosts and recipients
// that a site or a user allows, blocks or labels, with the meaning of
// sendmail's access database, whose text it reads (ParseSendmail).
//
// An entry is a pattern and an action. Patterns are
//
//	user@example.com   one address; user+detail@example.com falls under it
//	user@              a local part at any domain
//	example.com        a domain, and all below it
//	192.0.2            IPv4, by whole octets, as sendmail writes networks
//	192.0.2.0/24       a network of any length, IPv4 or IPv6
//	IPv6:2001:db8      IPv6, by whole groups
//
// A tag says what a pattern is held against: Connect the client's confirmed name
// and address, From the sender, To the recipient. An entry without a tag is
// held against the client and the sender; against the recipient only when it
// speaks against a message, since a site that writes its own domain there, as
// sites do, would otherwise allow everything.
//
// Each tag is one search, which ends at the first entry found, in sendmail's
// order: address, local part, domain, then the domains above it one label at a
// time; for a client its name and the domains above, then networks from the
// longest. On every step an entry with the tag goes before one without. Skip
// ends a search without a result.
//
// A recipient's own list is searched before that of the site, for each tag
// anew. Findings are added up by whoever decides: an allowed client does not
// hide a blocked sender.
//
// Anyone can write any address into a message, so an entry that allows a sender
// counts only when the sender's domain was authenticated (Filter.Authenticated).
package access
