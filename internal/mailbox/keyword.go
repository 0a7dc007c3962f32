package mailbox

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of the keywords of one message. They do not count for the quota.
const (
	MaxKeywords       = 64
	MaxKeyword        = 100  // octets
	MaxKeywordsOctets = 1000 // of all, with a space between two
)

// joinKeywords checks keywords and gives them as column message.keywords
// keeps them: sorted, each once whatever its case.
func joinKeywords(words []string) (string, error) {
	if len(words) == 0 {
		return "", nil
	}
	words = slices.Clone(words)
	for _, w := range words {
		if !validKeyword(w) {
			return "", fmt.Errorf("%w: %.100q", ErrKeyword, w)
		}
	}
	slices.SortStableFunc(words, foldCompare)
	words = slices.CompactFunc(words, strings.EqualFold)
	return packKeywords(words)
}

// packKeywords is joinKeywords for words in that order.
func packKeywords(words []string) (string, error) {
	packed := strings.Join(words, " ")
	if len(words) > MaxKeywords || len(packed) > MaxKeywordsOctets {
		return "", fmt.Errorf("%w: more than %d, or than %d octets", ErrKeyword, MaxKeywords, MaxKeywordsOctets)
	}
	return packed, nil
}

func foldCompare(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }

// validKeyword tells whether w is an atom (RFC 9051 section 9, flag-keyword).
func validKeyword(w string) bool {
	if w == "" || len(w) > MaxKeyword {
		return false
	}
	for i := range len(w) {
		if w[i] <= ' ' || w[i] >= 0x7f || strings.IndexByte(`(){%*"\]`, w[i]) >= 0 {
			return false
		}
	}
	return true
}

// splitKeywords is the inverse of joinKeywords.
func splitKeywords(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, " ")
}
