// Package milter is the filter "milter": it asks mail filters of others over
// sendmail's filter protocol, as sendmail and Postfix do.
//
// For each message a connection is made to each server, in order, and it is told
// the client, the greeting, the sender, the recipients who have the filter on,
// the header and the body. What one server changes is what the next is told. A
// server that refuses the message ends the row.
//
// What a server wants is never done here. A refusal, a temporary refusal and a
// quarantine are findings, whose consequence is the consent of each recipient;
// discarding and the removal of a recipient are quarantines, since mail is not
// lost. Changes to the message, its sender and further recipients are for those
// who have the filter on, and are the caller's to make.
//
// Values of header fields are sent as sendmail sends them: without the space
// behind the colon, unless the server wants it, and with LF where they are
// folded. Macros are those that sendmail and Postfix both have by default, as
// far as the dialogue tells them; the queue identifier is the trace, and is
// known from the sender on.
package milter
