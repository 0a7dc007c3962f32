//go:build !race

package imapd

const raced = false
