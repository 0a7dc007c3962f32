// Package directory knows who an address is: domains, accounts, aliases,
// forwarding, credentials and the settings of each.
//
// # What becomes of mail to an address
//
// Resolve looks an address up by its canonical form (mail.Address.Key), in
// this order, and stops at the first that holds:
//
//  1. an account or an alias of exactly that address;
//  2. the same without its detail: bob+lists is bob (DomainSettings.PlusSeparator);
//  3. an SRS address that this installation made for a forward;
//  4. the address behind the tag of a signed sender (prvs.go);
//  5. in a domain with a route that takes any recipient: on to the back-end;
//  6. postmaster: whom the domain names, or the first administrator. Somebody
//     always reads it (RFC 5321 section 4.5.1), so no row is needed for it;
//  7. the catch-all of the domain, if it has one;
//  8. nobody: Unknown.
//
// Aliases and forwarding are followed to their ends within maxDepth steps and
// maxVisits addresses. Beyond that Resolve gives ErrTooDeep, which a sender
// hears as a temporary problem: a mistake of ours costs no mail. A forward that
// leads back to its own account, or nowhere, leaves the mail in the mailbox.
//
// # Routed domains
//
// A domain given to Directory.SetRoutes has its mailboxes behind a route of the
// configuration. Its accounts and aliases say who exists there and may log in
// here; mail for them goes on as Target.Relay. A domain may be routed, in
// the database, or in both.
//
// # Cache
//
// Answers are kept for cacheTime at most, in bounded memory. Every change of
// the directory, in this process or in another of the same data directory,
// makes all of them stale at once (bus topic Topic). How full a mailbox is
// changes without such a notice and is kept for usedTime only; it is advice,
// the mailbox itself decides in the transaction that stores the message.
//
// # Transactions
//
// Methods that take a *db.Tx work inside the caller's transaction, so that one
// action of an administrator is one transaction; methods that take a context
// open their own.
//
// # Credentials
//
// Passwords are prepared by PRECIS OpaqueString (RFC 8265) and kept as argon2id
// in PHC form, with SCRAM-SHA-256 keys beside them (RFC 5803). Imported hashes
// (argon2, bcrypt, sha256-crypt, sha512-crypt) are verified as they are and
// replaced by both at the first plain login.
package directory
