package directory

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// sha256-crypt and sha512-crypt, after Ulrich Drepper's "Unix crypt using
// SHA-256 and SHA-512", version 0.6.

const cryptText = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// cryptKind is one of the two.
type cryptKind struct {
	hash  func() hash.Hash
	order []int // of the sum's octets, in groups of three; -1: none
	chars int   // of the sum's text
}

var (
	crypt256 = cryptKind{hash: sha256.New, chars: 43, order: []int{
		0, 10, 20, 21, 1, 11, 12, 22, 2, 3, 13, 23, 24, 4, 14, 15, 25, 5, 6, 16, 26, 27, 7, 17, 18, 28, 8, 9, 19, 29, -1, 31, 30}}
	crypt512 = cryptKind{hash: sha512.New, chars: 86, order: []int{
		0, 21, 42, 22, 43, 1, 44, 2, 23, 3, 24, 45, 25, 46, 4, 47, 5, 26, 6, 27, 48, 28, 49, 7, 50, 8, 29, 9, 30, 51, 31, 52, 10,
		53, 11, 32, 12, 33, 54, 34, 55, 13, 56, 14, 35, 15, 36, 57, 37, 58, 16, 59, 17, 38, 18, 39, 60, 40, 61, 19, 62, 20, 41,
		-1, -1, 63}}
)

func verifyCrypt(hash string, password []byte) error {
	kind := crypt512
	if hash[1] == '5' {
		kind = crypt256
	}
	rest, rounds := hash[3:], 5000
	if n, behind, ok := strings.Cut(rest, "$"); ok && strings.HasPrefix(n, "rounds=") {
		var err error
		if rounds, err = strconv.Atoi(n[7:]); err != nil || rounds < 1000 || rounds > maxRounds {
			return fmt.Errorf("crypt %s out of range", n)
		}
		rest = behind
	}
	salt, sum, ok := strings.Cut(rest, "$")
	if !ok || len(salt) > 16 || len(sum) != kind.chars || strings.Trim(sum, cryptText) != "" {
		return errors.New("crypt hash malformed")
	}
	if password == nil {
		return nil
	}
	if subtle.ConstantTimeCompare([]byte(sum), []byte(kind.sum(password, []byte(salt), rounds))) != 1 {
		return errMismatch
	}
	return nil
}

// sum follows the numbered steps of the paper.
func (k cryptKind) sum(key, salt []byte, rounds int) string {
	b := k.of(key, salt, key) // 4 to 8
	h := k.hash()             // 1 to 3
	h.Write(key)
	h.Write(salt)
	h.Write(stretch(b, len(key)))       // 9, 10
	for n := len(key); n > 0; n >>= 1 { // 11
		if n&1 != 0 {
			h.Write(b)
		} else {
			h.Write(key)
		}
	}
	a := h.Sum(nil) // 12

	p := stretch(k.of(bytes.Repeat(key, len(key))), len(key))       // 13 to 16
	s := stretch(k.of(bytes.Repeat(salt, 16+int(a[0]))), len(salt)) // 17 to 20
	for i := range rounds {                                         // 21
		h.Reset()
		if i&1 != 0 {
			h.Write(p)
		} else {
			h.Write(a)
		}
		if i%3 != 0 {
			h.Write(s)
		}
		if i%7 != 0 {
			h.Write(p)
		}
		if i&1 != 0 {
			h.Write(a)
		} else {
			h.Write(p)
		}
		a = h.Sum(a[:0])
	}
	return k.text(a)
}

func (k cryptKind) of(parts ...[]byte) []byte {
	h := k.hash()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// stretch repeats b to n octets.
func stretch(b []byte, n int) []byte {
	return bytes.Repeat(b, n/len(b)+1)[:n]
}

// text is step 22.
func (k cryptKind) text(sum []byte) string {
	var out strings.Builder
	octet := func(i int) uint {
		if i < 0 {
			return 0
		}
		return uint(sum[i])
	}
	for i := 0; i < len(k.order); i += 3 {
		w := octet(k.order[i])<<16 | octet(k.order[i+1])<<8 | octet(k.order[i+2])
		for range min(4, k.chars-out.Len()) {
			out.WriteByte(cryptText[w&63])
			w >>= 6
		}
	}
	return out.String()
}
