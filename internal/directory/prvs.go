package directory

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// Signed envelope senders: BATV with the tag type PRVS, as
// draft-levine-smtp-batv describes it. What our users send leaves with
//
//	prvs=KDDDSSSSSS=local@domain
//
// so that a bounce of it can be told from a bounce of mail that somebody else
// sent in our name. K is the digit of the key, DDD the last day on which the
// tag is good (days since 1970 modulo 1000), SSSSSS the first 24 bits of an
// HMAC over K, DDD and the address without its tag. Hosts on the way may
// change case, so the hash is of the address in its canonical form.
//
// Only who knows the key can tell a good tag, and that is all it takes: no
// record of what was sent is kept, and no mailbox is asked.
const (
	prvsPrefix = "prvs="
	prvsTag    = 1 + 3 + prvsHash // octets of KDDDSSSSSS
	prvsHash   = 6                // hex digits, 24 bits
	prvsDays   = 7                // that a tag is good
	prvsWindow = 1000             // days until the three digits come again

	// prvsRoom is the longest local part, in octets on the wire, that can be
	// signed. Longer ones leave, and are taken back, without a tag.
	prvsRoom = mail.MaxLocal - len(prvsPrefix) - prvsTag - len("=")
)

// prvs is a local part with a tag, taken apart. Nothing of it is believed yet.
type prvs struct {
	key   int    // digit
	day   int    // modulo prvsWindow
	sum   string // lower case
	local string // of the address that was signed, not empty
}

// isPRVS tells whether a local part begins as one with a tag does.
func isPRVS(local string) bool {
	return len(local) > len(prvsPrefix) && strings.EqualFold(local[:len(prvsPrefix)], prvsPrefix)
}

// parsePRVS takes a local part apart; false when it bears no tag, or a tag on a
// tag. Tags of other hosts look the same.
func parsePRVS(local string) (prvs, bool) {
	const end = len(prvsPrefix) + prvsTag
	if len(local) < end+2 || !isPRVS(local) || local[end] != '=' || isPRVS(local[end+1:]) {
		return prvs{}, false
	}
	tag := strings.ToLower(local[len(prvsPrefix):end])
	for i := range len(tag) {
		hexadecimal := i >= 4 && tag[i] >= 'a' && tag[i] <= 'f'
		if (tag[i] < '0' || tag[i] > '9') && !hexadecimal {
			return prvs{}, false
		}
	}
	day, _ := strconv.Atoi(tag[1:4]) // three digits
	return prvs{key: int(tag[0] - '0'), day: day, sum: tag[4:], local: local[end+1:]}, true
}

// prvsSum is the hash for a key's digit, a day and an address without tag.
func prvsSum(secret []byte, key, day int, a mail.Address) string {
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%d%03d%s", key, day, a.Key())
	return hex.EncodeToString(h.Sum(nil))[:prvsHash]
}

// dayNumber counts the days since 1970.
func dayNumber(t time.Time) int { return int(t.Unix() / 86400) }

// hasRoom tells whether a tag fits before a.
func hasRoom(a mail.Address) bool {
	return a.Domain != "" && len(mail.MakeAddress(a.Local, "").Wire) <= prvsRoom
}

// sign gives a with a tag made at a time.
func (k *prvsKeys) sign(a mail.Address, at time.Time) mail.Address {
	key, day := k.current(time.Now()), (dayNumber(at)+prvsDays)%prvsWindow
	sum := prvsSum(k.keys[key].secret, key, day, a)
	return mail.MakeAddress(fmt.Sprintf("%s%d%03d%s=%s", prvsPrefix, key, day, sum, a.Local), a.Domain)
}

// good tells whether the tag that parsePRVS found before an address of domain
// is ours and still good. A day of grace covers clocks that differ.
func (k *prvsKeys) good(t prvs, domain mail.Domain, at time.Time) bool {
	key := k.keys[t.key]
	today := dayNumber(at)
	left := (t.day - today%prvsWindow + prvsWindow) % prvsWindow
	if key.secret == nil || left > prvsDays+1 || today+left > key.last {
		return false
	}
	return hmac.Equal([]byte(t.sum), []byte(prvsSum(key.secret, t.key, t.day, mail.MakeAddress(t.local, domain))))
}

// SignSender gives the envelope sender under which mail of our user a leaves
// for another host, tagged as of a time: that of the mail, so that each try of
// it has the same sender, and at most a day ago, so that a late bounce of a
// late delivery still finds a good tag. It is a itself when its domain signs
// nothing, when there is no room for a tag or when a bears one already.
func (d *Directory) SignSender(ctx context.Context, a mail.Address, at time.Time) (mail.Address, error) {
	if !hasRoom(a) || isPRVS(a.Local) {
		return a, nil
	}
	e, err := d.domainEntry(ctx, a.Domain)
	if err != nil || e.domain.Settings.BouncesSigned.IsZero() {
		return a, err
	}
	keys, err := d.prvsKeys(ctx)
	if err != nil {
		return a, err
	}
	if oldest := time.Now().Add(-24 * time.Hour); at.Before(oldest) {
		at = oldest
	}
	return keys.sign(a, at), nil
}

// BounceProof says what the recipient of a null-sender message proves of it.
type BounceProof int

// What a recipient proves.
const (
	BounceOpen    BounceProof = iota // nothing: its mail is not signed, or was not a tag's lifetime ago
	BounceOurs                       // it bears a good tag, or is a rewritten sender of ours: we did send
	BounceForeign                    // what it sends is signed, and it bears no good tag: we did not send
)

// Bounce is what the directory says of null-sender mail to one address.
type Bounce struct {
	Proof  BounceProof
	Mode   BounceMode // of BounceForeign: what the domain wants
	Reason string     // of BounceForeign: in words
}

// Bounce tells what null-sender mail to a is, from the address, the domain's
// settings and the keys alone; whether a exists plays no part. Postmaster and
// the role addresses of RFC 2142 are open to everybody, as is an address too
// long to be signed.
func (d *Directory) Bounce(ctx context.Context, a mail.Address) (Bounce, error) {
	return d.bounce(ctx, a, time.Now())
}

func (d *Directory) bounce(ctx context.Context, a mail.Address, at time.Time) (Bounce, error) {
	t, tagged := parsePRVS(a.Local)
	if tagged {
		keys, err := d.prvsKeys(ctx)
		if err != nil {
			return Bounce{}, err
		}
		if keys.good(t, a.Domain, at) {
			return Bounce{Proof: BounceOurs}, nil
		}
		a = mail.MakeAddress(t.local, a.Domain)
	}
	if isSRS(a.Local) {
		secret, err := d.Secret(ctx, srsSecret, secretSize)
		if err != nil {
			return Bounce{}, err
		}
		if _, err := decodeSRS(secret, a.Local, srsDay()); err == nil {
			return Bounce{Proof: BounceOurs}, nil
		}
	}
	e, err := d.domainEntry(ctx, a.Domain)
	set := e.domain.Settings
	if err != nil || !set.demandsTags(at) || isRole(a.Local) || !hasRoom(a) {
		return Bounce{}, err
	}
	b := Bounce{Proof: BounceForeign, Mode: set.UnsignedBounces, Reason: "null sender, and <" + a.Wire + "> came without the tag of a signed sender"}
	if tagged {
		b.Reason = "null sender, and the tag of <" + a.Wire + "> is too old or not ours"
	}
	return b, nil
}

// demandsTags tells whether all mail of the domain whose bounces may still come
// at a time was signed.
func (s *DomainSettings) demandsTags(at time.Time) bool {
	return !s.BouncesSigned.IsZero() && at.Sub(s.BouncesSigned) >= prvsDays*24*time.Hour
}
