// Package smtpd is the server side of SMTP (RFC 5321): it speaks, and decides
// nothing. A Handler is asked about every connection, the Session it returns
// about every step, and each answer is a Verdict: go on, reply, delay, tarpit,
// close. What follows is what the package itself sees to, whatever the
// Handler says.
//
// # Lines
//
// Lines end in CR LF. A CR or LF alone, in a command or in a message, is
// refused and the connection closed; so a message ends at CR LF . CR LF only,
// and nothing can be smuggled behind one. NUL is refused in messages as well,
// unless they are BINARYMIME. Commands are ASCII; UTF-8 is allowed in the
// paths of a transaction that began with SMTPUTF8 (RFC 6531). A text line may
// be longer than the 998 octets of RFC 5322, since honest programs write such
// lines, up to Limits.TextLine.
//
// After any error while a message is read the connection is closed, behind a
// reply. What is left of the message is then thrown away for a short while, so
// that the reply arrives; it is never read as commands. Only a message over
// its size limit is read to its end and refused with the connection kept.
//
// # Pipelining
//
// Replies to commands that came together leave together (RFC 2920). Commands
// sent ahead where that RFC forbids it are reported to Session.Broken. They
// are refused, and the connection closed, behind STARTTLS, where what was sent
// ahead could be injected, and behind DATA, where it would be a message that
// might be read as commands.
//
// # Chunking
//
// BDAT (RFC 3030) reaches Session.Body as one stream, as DATA does; chunks are
// acknowledged while Body reads, and what comes between them is answered
// without asking the Session. Without BODY=BINARYMIME its lines are held to the
// same rules as those of DATA. Its last line may lack CR LF.
//
// # Cost
//
// A connection that waits for its peer holds a goroutine and a buffer of 512
// octets; larger buffers are borrowed while commands or messages need them. One
// that is held back by a greet pause or a tarpit is such a connection: it takes
// some 6 KB and no thread, ends when its peer leaves, and at once on Shutdown.
//
// # Limits
//
// Limits bounds everything a peer can make large or slow. A connection above
// the number of connections hears 421 at once, and so does one that would be
// held back when many are. Clients on this machine are exempt from the numbers
// of connections, commands and messages (Conn.Exempt), unless a balancer
// presents another address. Faults of protocol are counted, and too many end
// the connection; refusals by a Session are not faults.
//
// # Balancers
//
// With Server.Proxy set, networks that are trusted must begin each connection
// with a PROXY header, version 1 or 2. Others are served without one, or with
// Required turned away.
//
// # Goroutines
//
// Serve runs one accept loop for each listener and one goroutine for each
// connection, which alone touches the Session. Shutdown and Close reach a
// connection only through its read deadline and its socket.
package smtpd
