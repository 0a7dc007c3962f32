// Package fulltext finds the messages of a folder that have a text, without
// reading them. What it finds is what a plain scan finds: a message has a
// string when Normal of one of its texts (Texts, or Header) contains Normal of
// the string, at any place, in the middle of a word, too.
//
// # The index
//
// A folder that is never searched has no index. The first search takes in all
// its messages, each later one those that came since; nothing is done at
// delivery. Bodies and headers have an index each, made when it is first asked.
// Because all is kept by folder and UID, an answer is UIDs, whoever reads a
// shared folder uses its one index, and a folder that goes takes its index
// along. A message that is moved is read again when its new folder is searched.
//
// Normal text is cut into tokens, runs of characters of one class: letters and
// digits, Han, Hiragana, Katakana, symbols. So Japanese falls into pieces of a
// few characters without a dictionary. A run of more than 64 characters is cut
// into pieces that overlap by half.
//
// Every different token is one word of the index. A string is taken apart the
// same way: its inner tokens must be words, its first one the end of a word, its
// last one the beginning, and one that is alone any part of a word. All words are
// looked through for that, which is quick: they stand one behind the other in
// a few megabytes. Where a string has several tokens, their places tell whether
// they follow one another, and with which separator. Only strings with rare
// characters between their tokens, with any outside, with very long tokens or
// many, leave messages that must be looked at (Result.May).
//
// # On disk
//
// An index is a few segments, each of messages with UIDs above those of the one
// before. A segment never changes. It is a row of fulltext_segment and, in
// fulltext_block, its words in blocks: for each block one row with the words, one
// with the messages that have each of them, and one with the places in those
// (kind). A row ends in a checksum. Segments of like size are merged when there
// are eight; messages that are no more leave with that, or when they are a fifth
// of all (Tend).
//
// A segment is written in transactions of a quarter of a megabyte, so that deliveries
// go on. It is in use when the last of them is done, which moves the mark of
// fulltext_folder as well. What a crash leaves is deleted by Tend. When two
// processes take in the same, the mark lets one of them win.
//
// An index that is damaged is dropped, which the log tells, and built anew by
// the next search; the search that found it is answered by reading.
package fulltext
