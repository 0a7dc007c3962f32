package directory

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/mail"
)

// The Sender Rewriting Scheme. A forward leaves with an envelope sender of our
// own domain, so that SPF holds, and the original sender is written into its
// local part, so that a bounce finds its way back:
//
//	SRS0=hash=day=domain=local   of local@domain
//	SRS1=hash=host=…             of SRS0…@host: the bounce goes to host, which
//	                             undoes its own rewriting
//	SRS0=hash=day==number        of a sender too long for the limit of a local
//	                             part: the bounce goes into the mailbox of
//	                             account number, which forwarded
//
// The hash is an HMAC over everything behind it in lower case, because hosts
// on the way may change case. Without the secret nobody can make this server
// send bounces anywhere. An address is good for srsDays.
const (
	srsDays   = 21
	srsWindow = 32 * 32 // days, until the two letters of a day come again
	srsHash   = 6       // characters, 30 bits
)

var (
	srsText = base32.StdEncoding.WithPadding(base32.NoPadding)
	errSRS  = errors.New("not a valid SRS address of ours")
)

// reversed is what an SRS address stands for.
type reversed struct {
	sender  mail.Address
	own     bool  // goes to account instead
	account int64 // 0: the postmaster
}

// srsDay is today's number.
func srsDay() int { return int(time.Now().Unix() / 86400 % srsWindow) }

// isSRS tells whether a local part looks like an SRS address.
func isSRS(local string) bool {
	return len(local) > 5 && (strings.EqualFold(local[:4], "SRS0") || strings.EqualFold(local[:4], "SRS1")) &&
		strings.IndexByte("=+-", local[4]) >= 0
}

// Rewrite gives the envelope sender under which owner's forward of mail from
// sender goes on to somewhere else. The null sender and senders of our own
// domains stay as they are. Account is the number of the account that forwards,
// 0 when it is an alias.
func (d *Directory) Rewrite(ctx context.Context, sender, owner mail.Address, account int64) (mail.Address, error) {
	if sender.IsNull() {
		return sender, nil
	}
	secret, err := d.Secret(ctx, srsSecret, secretSize)
	if err != nil {
		return mail.Address{}, err
	}
	ours, err := d.Ours(ctx, sender.Domain)
	if err != nil {
		return mail.Address{}, err
	}
	if ours && !isSRS(sender.Local) {
		return sender, nil
	}
	return mail.MakeAddress(encodeSRS(secret, sender, account, srsDay()), owner.Domain), nil
}

// loadSigned makes known what an address with a signature of ours needs before
// it is looked up inside a read transaction, which could not create a secret:
// that of SRS, or the keys of signed senders.
func (d *Directory) loadSigned(ctx context.Context, a mail.Address) (*prvsKeys, error) {
	if _, tagged := parsePRVS(a.Local); tagged {
		return d.prvsKeys(ctx)
	}
	if !isSRS(a.Local) {
		return nil, nil
	}
	_, err := d.Secret(ctx, srsSecret, secretSize)
	return nil, err
}

// encodeSRS gives the local part for sender. What would be too long, or could
// not be turned back, because the sender only looks like SRS, names the account.
func encodeSRS(secret []byte, sender mail.Address, account int64, day int) string {
	var local string
	switch l := sender.Local; {
	case isSRS(l) && l[3] == '0':
		local = sign(secret, "SRS1", string(sender.Domain)+"="+l[4:])
	case isSRS(l):
		// Only the first host can undo it; the one between drops out.
		_, behind, _ := strings.Cut(l[5:], "=")
		local = sign(secret, "SRS1", behind)
	default:
		local = sign(secret, "SRS0", dayText(day)+"="+string(sender.Domain)+"="+l)
	}
	_, err := decodeSRS(secret, local, day)
	if err != nil || sender.Domain == "" || len(mail.MakeAddress(local, "").Wire) > mail.MaxLocal {
		local = sign(secret, "SRS0", dayText(day)+"=="+strconv.FormatInt(account, 10))
	}
	return local
}

func sign(secret []byte, version, rest string) string {
	return version + "=" + srsSum(secret, version, rest) + "=" + rest
}

// decodeSRS turns the local part of an address of ours back.
func decodeSRS(secret []byte, local string, day int) (reversed, error) {
	if !isSRS(local) || local[4] != '=' || len(local) < 5+srsHash+1 || local[5+srsHash] != '=' {
		return reversed{}, errSRS
	}
	version, sum, rest := strings.ToUpper(local[:4]), strings.ToUpper(local[5:5+srsHash]), local[5+srsHash+1:]
	if !hmac.Equal([]byte(sum), []byte(srsSum(secret, version, rest))) {
		return reversed{}, errSRS
	}
	if version == "SRS1" {
		host, tag, ok := strings.Cut(rest, "=")
		if !ok {
			return reversed{}, errSRS
		}
		return original("SRS0"+tag, host)
	}
	made, behind, ok := strings.Cut(rest, "=")
	if !ok || !dayGood(made, day) {
		return reversed{}, errSRS
	}
	host, user, ok := strings.Cut(behind, "=")
	if !ok {
		return reversed{}, errSRS
	}
	if host == "" {
		n, err := strconv.ParseInt(user, 10, 64)
		if err != nil || n < 0 {
			return reversed{}, errSRS
		}
		return reversed{own: true, account: n}, nil
	}
	return original(user, host)
}

func original(local, host string) (reversed, error) {
	d, err := mail.ParseDomain(host)
	if err != nil || local == "" {
		return reversed{}, errSRS
	}
	a, err := mail.ParseAddress(mail.MakeAddress(local, d).Wire)
	if err != nil {
		return reversed{}, errSRS
	}
	return reversed{sender: a}, nil
}

func srsSum(secret []byte, version, rest string) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(version + "="))
	h.Write([]byte(strings.ToLower(rest)))
	return srsText.EncodeToString(h.Sum(nil)[:5])[:srsHash]
}

const srsDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

func dayText(day int) string { return string([]byte{srsDigits[day>>5&31], srsDigits[day&31]}) }

// dayGood tells whether made is at most srsDays before day; a day of grace
// covers clocks that differ.
func dayGood(made string, day int) bool {
	if len(made) != 2 {
		return false
	}
	made = strings.ToUpper(made)
	hi, lo := strings.IndexByte(srsDigits, made[0]), strings.IndexByte(srsDigits, made[1])
	if hi < 0 || lo < 0 {
		return false
	}
	age := (day - (hi<<5 | lo) + srsWindow) % srsWindow
	return age <= srsDays || age == srsWindow-1
}
