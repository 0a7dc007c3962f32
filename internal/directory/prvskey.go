package directory

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/migiwa/migiwa/internal/store/db"
)

// The keys of signed envelope senders are the secrets prvs-0 to prvs-9. The
// newest signs; a tag names its key, so that those of the others stay good. A
// key that was followed by another is good for the lifetime of the tags that
// it made and no longer, whoever may have learnt it.
const (
	prvsSecret = "prvs-"
	prvsCount  = 10

	// prvsRest passes before a new key signs, so that no node meets a tag
	// whose key it has not read yet. It is above cacheTime.
	prvsRest = time.Minute
	// prvsSpan is the least time between two keys: when a digit comes again,
	// the tags of its old key are dead for long.
	prvsSpan = 24 * time.Hour
)

// prvsKeys are the keys as they are used.
type prvsKeys struct {
	keys   [prvsCount]prvsKey
	newest int
}

type prvsKey struct {
	secret []byte // nil: there is none
	made   time.Time
	last   int // number of the last day that a tag of it may name
}

// current gives the digit of the key that signs now.
func (k *prvsKeys) current(now time.Time) int {
	before := (k.newest + prvsCount - 1) % prvsCount
	if k.keys[before].secret != nil && now.Sub(k.keys[k.newest].made) < prvsRest {
		return before
	}
	return k.newest
}

// prvsKeys gives the keys, from the cache where it can, and makes the first.
func (d *Directory) prvsKeys(ctx context.Context) (*prvsKeys, error) {
	d.open()
	generation := d.generation.Load()
	if k, ok := d.prvs.get(prvsSecret, generation); ok {
		return k, nil
	}
	k, err := d.readKeys(ctx)
	if err == nil && k.keys[k.newest].secret == nil {
		if _, err = d.Secret(ctx, prvsSecret+"0", secretSize); err == nil {
			k, err = d.readKeys(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("keys of signed senders: %w", err)
	}
	d.prvs.put(prvsSecret, generation, k)
	return k, nil
}

func (d *Directory) readKeys(ctx context.Context) (k *prvsKeys, err error) {
	err = d.DB.Read(ctx, func(tx *db.Tx) error {
		k, err = prvsKeysTx(tx)
		return err
	})
	return k, err
}

// prvsKeysTx reads the keys, oldest first.
func prvsKeysTx(tx *db.Tx) (*prvsKeys, error) {
	k, before := &prvsKeys{}, -1
	err := tx.Each(`SELECT name, value, created FROM secret WHERE name LIKE 'prvs-_' ORDER BY created, name`, nil,
		func(scan func(...any) error) error {
			var name string
			var secret []byte
			var created int64
			if err := scan(&name, &secret, &created); err != nil {
				return err
			}
			digit, err := strconv.Atoi(strings.TrimPrefix(name, prvsSecret))
			if err != nil || digit < 0 {
				return fmt.Errorf("secret %s: %w", name, ErrInvalid)
			}
			made := time.UnixMilli(created)
			if before >= 0 {
				k.keys[before].last = dayNumber(made) + prvsDays + 1
			}
			k.keys[digit] = prvsKey{secret: secret, made: made, last: math.MaxInt}
			k.newest, before = digit, digit
			return nil
		})
	return k, err
}

// RotateBounceKey makes the next key of signed envelope senders and gives its
// digit. It signs after a minute; tags of the key before stay good to their
// end. Twice within a day is ErrInvalid.
func (d *Directory) RotateBounceKey(tx *db.Tx) (digit int, err error) {
	k, err := prvsKeysTx(tx)
	if err != nil {
		return 0, fmt.Errorf("rotate bounce key: %w", err)
	}
	if newest := k.keys[k.newest]; newest.secret != nil {
		if age := time.Since(newest.made); age < prvsSpan {
			return 0, fmt.Errorf("rotate bounce key: %w: key %d is not a day old", ErrInvalid, k.newest)
		}
		digit = (k.newest + 1) % prvsCount
	}
	fresh := make([]byte, secretSize)
	randomBytes(fresh)
	_, err = tx.Exec(`INSERT INTO secret (name, value, created) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, created = excluded.created`,
		prvsSecret+strconv.Itoa(digit), fresh, now().UnixMilli())
	if err != nil {
		return 0, fmt.Errorf("rotate bounce key: %w", err)
	}
	d.Changed(tx)
	return digit, nil
}
