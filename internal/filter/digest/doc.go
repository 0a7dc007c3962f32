// Package digest is the filter "digest": it knows again what others reported as
// spam. A message is turned into fingerprints (Fingerprints), reports of users
// are kept with the fingerprints of what they reported, and a message whose
// fingerprints were reported by enough people who deserve belief is found.
// Nothing but fingerprints is kept: no text, and accounts as keyed hashes.
//
// # Fingerprints
//
// Each text part gives one exact fingerprint, of its words after everything that
// changes from copy to copy was taken away (see words), and 16 near ones. A near
// fingerprint is a band of three minimum hashes over its words of four letters
// or more, or groups of three characters: two texts with a share j of those in
// common (Jaccard) have each band in common with probability j³. Three common
// bands make them near: 95 % at j = 0.7, 69 % at 0.6, under 1 % at 0.3. Other
// parts give the hash of their decoded octets. So the transfer encoding, the charset, and HTML or not, make no
// difference.
//
// # Whose reports count
//
// A reporter weighs 0.2 at first and up to 1 with the record of having been
// right (see reporter). One is right when, later, four others who did not agree
// before report the same the same way, and wrong when others of more weight and
// more domains say the opposite, which costs four times as much. One is proven
// who was right six times as often as wrong, was agreed with by 12 others, so
// that a closed circle of 12 cannot make its own reputation, and began a week
// ago; before that none weighs above 0.4.
//
// The weight of all reports of a message, fading with a half-life of three days,
// must reach Bar. Against it count, doubly, reports that it is no spam, and,
// when it is delivered to many for half a day and they do not report it, a
// fiftieth for each of them: what is wanted by many cannot be reported away by
// few. All reporters of one domain together weigh less than Bar, so that the
// users of two domains must agree, and so do all together who are not proven;
// those of one domain who are not proven and say that it is no spam weigh a
// third of Bar (see Memory.MinDomains).
//
// What remains: a circle of some two dozen accounts in two domains that is
// patient for weeks can have one edition of a newsletter found, until those who
// want it take it out of Junk; then the circle has lost its reputation. And
// accounts of a spammer in several domains can praise his spam, so that it takes
// more reports.
//
// # Several nodes
//
// Nodes tell each other their reports and deliveries (Memory.Changes and
// Memory.Merge); each makes up its own mind on the reputations. Merging a
// change twice, or late, or in another order changes nothing more.
package digest
