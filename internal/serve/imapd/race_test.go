//go:build race

package imapd

// raced says that the race detector takes memory, too.
const raced = true
