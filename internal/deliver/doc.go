// Package deliver takes mail to where it goes: Intake makes an accepted
// message durable, in mailboxes here and in the queue for other hosts; Runner
// empties the queue by SMTP and LMTP.
//
// # Accepting
//
// Intake.Accept does everything in one transaction: one row for the body, one
// for each mailbox, one queue message for each envelope sender (forwarded mail
// has a rewritten one) with its recipients. When it returns nil, the message
// is on disk and the caller may say 250.
//
// # Delivering
//
// Runner reads due recipients and groups them by next hop. A destination has a
// bounded line of jobs (a message with recipients that share the next hop) and
// workers, each with one connection that it keeps for further jobs. The number
// of workers starts small, grows with success and is halved by a failure to
// connect. After some failures in a row the destination is dead for a while:
// everything for it is put off in one statement.
//
// The result of a job is written before the worker takes the next one, and it
// is written until that succeeds: with a full disk the worker waits instead of
// sending the same mail again. A crash can repeat only what was in the hands
// of a worker.
//
// # What the next host does not take
//
// 8-bit and binary MIME is converted for a host without 8BITMIME or BINARYMIME
// (RFC 6152 section 3): parts that do not fit are encoded, the rest of the
// message stays octet for octet. Where that cannot be done - headers in 8 bits,
// no MIME, multipart/signed and multipart/encrypted - the recipient fails with
// 5.6.3. A conversion breaks DKIM signatures over the body; RFC 6376 section
// 5.3 asks signers to convert first, which migiwa does not do, because nearly
// every host has 8BITMIME and encoding for all would cost more than it saves.
// Internationalized addresses and headers are never changed but for the form
// of a domain (RFC 6531 section 3.2): 5.6.7.
//
// # Who hears of a failure
//
//	mail of a user of ours      the user gets a report (RFC 3464) as NOTIFY asks
//	forwarded for a user        the mail goes into that user's own INBOX
//	a stranger's, relayed       the mail goes to the postmaster; the stranger
//	                            heard 250 and hears nothing more
//	null sender, own reports    a line in the postmaster's digest
//
// The follow-up is written in the transaction that settles the recipient, so
// neither is ever without the other.
package deliver
