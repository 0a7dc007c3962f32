// Package report exchanges reports on mail with other sites.
//
// What senders ask for by DMARC is counted while their mail is judged (Tally),
// and sent them once a day (Daily). What others report of mail of our domains
// comes to one address: its mailbox is read (Inbox), aggregate reports are kept
// for whoever looks after the domains, and complaints become events of the
// message they are about. Only what one domain asks for by DNS is sent, and only
// to whom it may name: RFC 9990.
//
// It also asks unknown senders for confirmation (Asker), for accounts that want
// that: the one question to a stranger that is not a report.
//
// One account, report.address, sends and gets all of it. It is an ordinary one:
// what is no report in its mailbox waits there for a person.
package report
