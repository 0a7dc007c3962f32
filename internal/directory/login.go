package directory

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// ErrLogin is the one answer to a wrong login, a wrong password and a disabled
// account. Any other error of Verify and Scram is a temporary problem.
var ErrLogin = errors.New("wrong login or password")

// dummy is verified when there is nothing to verify.
var dummy = argonPrefix + strings.Repeat("A", 22) + "$" + strings.Repeat("A", 43)

// Verify gives the account of a login and its password, or ErrLogin. The login
// is the full address; a bare local part is tried with the default domain.
// Whoever does not exist, is disabled or has no password costs as much time as
// a wrong password does; only an imported hash of another kind costs its own.
func (d *Directory) Verify(ctx context.Context, login, password string) (Account, error) {
	d.open()
	acct, _, err := d.login(ctx, login)
	if err != nil {
		return Account{}, err
	}
	hash, good := acct.credential.Hash, acct.State == Active
	if hash == "" {
		hash, good = dummy, false
	}
	prepared, err := prepare(password)
	if err != nil {
		hash, prepared, good = dummy, "", false
	}
	sum := d.fingerprint(hash, prepared)
	if _, ok := d.verified.get(sum, 0); ok && good {
		return acct, nil
	}
	if err := d.turn(ctx); err != nil {
		return Account{}, err
	}
	defer d.turnOver()
	check := verifier(hash)
	if check == nil {
		return Account{}, fmt.Errorf("account %s: hash of an unknown kind", acct.Address)
	}
	err = check(hash, []byte(prepared))
	if err != nil && !errors.Is(err, errMismatch) {
		return Account{}, fmt.Errorf("account %s: %w", acct.Address, err)
	}
	if err != nil || !good {
		return Account{}, ErrLogin
	}
	if acct, err = d.upgrade(ctx, acct, prepared); err != nil {
		return Account{}, err
	}
	d.verified.put(d.fingerprint(acct.credential.Hash, prepared), 0, struct{}{})
	return acct, nil
}

// fingerprint is how a verified password is remembered: it tells nothing
// without the key, which never leaves the process, and a new hash in the
// database is another fingerprint.
func (d *Directory) fingerprint(hash, password string) [32]byte {
	h := hmac.New(sha256.New, d.verifiedKey[:])
	h.Write([]byte(hash))
	h.Write([]byte{0})
	h.Write([]byte(password))
	return [32]byte(h.Sum(nil))
}

// login gives the account of a login name, or the zero Account, and the key it
// was looked up by, the same for every way to write the name.
func (d *Directory) login(ctx context.Context, name string) (acct Account, key string, err error) {
	err = d.DB.Read(ctx, func(tx *db.Tx) error {
		full := name
		if !strings.Contains(full, "@") {
			domain, err := d.defaultDomain(tx)
			if err != nil {
				return err
			}
			full += "@" + string(domain)
		}
		a, err := mail.ParseAddress(full)
		if err != nil {
			a = mail.Address{Local: name} // costs a look-up, too
		}
		key = a.Key()
		acct, err = d.AccountTx(tx, a)
		if errors.Is(err, ErrNotFound) {
			acct, err = Account{}, nil
		}
		return err
	})
	return acct, key, err
}

// upgrade replaces an imported or outdated hash, now that the password is
// known, unless somebody changed it meanwhile.
func (d *Directory) upgrade(ctx context.Context, acct Account, prepared string) (Account, error) {
	old := acct.credential
	if strings.HasPrefix(old.Hash, argonPrefix) && old.SCRAM != "" {
		return acct, nil
	}
	fresh := makeCredential(prepared)
	err := d.DB.Write(ctx, func(tx *db.Tx) error {
		n, err := tx.Exec(`UPDATE account SET password = ?, scram = ? WHERE id = ? AND password = ?`,
			fresh.Hash, fresh.SCRAM, acct.ID, old.Hash)
		acct.credential = old
		if n == 1 {
			acct.credential = fresh
		}
		return err
	})
	if err != nil {
		return Account{}, fmt.Errorf("account %s: renew password hash: %w", acct.Address, err)
	}
	return acct, nil
}

// Scram gives the account of a login and its SCRAM-SHA-256 keys. For a login
// that cannot succeed it gives the zero Account and keys that no password fits;
// they are the same each time, and a disabled account shows its own salt.
func (d *Directory) Scram(ctx context.Context, login string) (Account, ScramKeys, error) {
	secret, err := d.Secret(ctx, scramSecret, secretSize)
	if err != nil {
		return Account{}, ScramKeys{}, err
	}
	acct, name, err := d.login(ctx, login)
	if err != nil {
		return Account{}, ScramKeys{}, err
	}
	fake := ScramKeys{
		Salt: mac(secret, "salt "+name)[:scramSalt], Iterations: scramIterations,
		StoredKey: mac(secret, "stored "+name), ServerKey: mac(secret, "server "+name),
	}
	if acct.credential.SCRAM == "" {
		return Account{}, fake, nil
	}
	keys, err := parseScram(acct.credential.SCRAM)
	if err != nil {
		return Account{}, ScramKeys{}, fmt.Errorf("account %s: %w", acct.Address, err)
	}
	if acct.State != Active {
		fake.Salt, fake.Iterations = keys.Salt, keys.Iterations
		return Account{}, fake, nil
	}
	return acct, keys, nil
}
