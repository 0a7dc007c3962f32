// Package filter looks at messages for their recipients. A filter says what it
// found and never decides: a Finding carries a score and its evidence, and what
// a finding may do to a message is the consent of each recipient (see Decide).
//
// A message is read once (Read). The filters of a Pipeline then work side by
// side on what was read, each with a deadline and each only for those
// recipients who have it on: a filter that nobody has on is not called, and one
// recipient's choice never shows in the copy of another. A filter that fails,
// is too slow or panics costs its own findings and is told to the event log;
// the message goes on.
package filter
