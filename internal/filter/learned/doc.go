// Package learned is a statistical filter: what the site knows of mail in
// general, and on top of it what each account taught by moving its own mail
// into Junk and out of it.
//
// Tokens takes a message apart, in any language and without a dictionary. A
// Site is a fixed table of weights that comes with the program; a Store keeps
// how many taught messages of an account held each token, by hash. A Model
// joins both to a Verdict. The account's counts weigh nothing at first and more
// with each message taught, as long as both classes are taught: some thirty
// taught messages leave the site's verdict nearly as it is, some hundreds
// outweigh it.
//
// The site model was trained on mail of 2002. It therefore holds words only,
// and a few disguises of links: no sender, no host, no charset, no mailer, no
// style of HTML. Words of honest trade never count against a message there. The
// site is held back when it knows few of a message's words or when few of them
// say anything, so that another language or another time leads to "no idea"
// instead of spam; what the account taught is not, as it is of its own mail.
//
// Whoever wants to be heard can add a salad of words from wanted mail to spam.
// The weights of the site are capped and were trained with such salads, and what
// an account learns of their words is that they stand in both classes. That is a
// part of an answer only; bench/filters says how much of one.
package learned
