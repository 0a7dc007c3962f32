package directory

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/secure/precis"
)

// The cost of our own hashes: argon2id as OWASP's password storage page asks
// for at least, and the iterations that RFC 7677 section 4 names.
const (
	argonMemory     = 19 * 1024 // KiB
	argonTime       = 2
	argonThreads    = 1
	argonSalt       = 16
	argonKey        = 32
	scramIterations = 15_000
	scramSalt       = 16
)

// What an imported hash may cost at most: a login must not stop the server.
const (
	maxArgonMemory = 256 * 1024 // KiB
	maxArgonTime   = 20
	maxBcryptCost  = 14
	maxRounds      = 500_000
	maxPassword    = 1024 // octets
)

// Credential is what a password is known by. The zero Credential lets nobody
// log in.
type Credential struct {
	Hash  string // PHC or crypt string
	SCRAM string // RFC 5803; empty when the plain password was never seen
}

// ScramKeys are what a server needs for SCRAM-SHA-256 (RFC 5802 section 3).
type ScramKeys struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// String gives the keys in the form of RFC 5803.
func (k ScramKeys) String() string {
	b := base64.StdEncoding.EncodeToString
	return "SCRAM-SHA-256$" + strconv.Itoa(k.Iterations) + ":" + b(k.Salt) + "$" + b(k.StoredKey) + ":" + b(k.ServerKey)
}

func parseScram(s string) (ScramKeys, error) {
	var k ScramKeys
	bad := errors.New("SCRAM keys malformed")
	part := strings.FieldsFunc(s, func(r rune) bool { return r == '$' || r == ':' })
	if len(part) != 5 || part[0] != "SCRAM-SHA-256" {
		return k, bad
	}
	var err error
	if k.Iterations, err = strconv.Atoi(part[1]); err != nil || k.Iterations < 4096 {
		return k, bad
	}
	for i, into := range []*[]byte{&k.Salt, &k.StoredKey, &k.ServerKey} {
		if *into, err = base64.StdEncoding.DecodeString(part[2+i]); err != nil {
			return k, bad
		}
	}
	return k, nil
}

// prepare brings a password to the form in which it is hashed (RFC 8265
// section 4).
func prepare(password string) (string, error) {
	if len(password) > maxPassword {
		return "", fmt.Errorf("%w password: longer than %d octets", ErrInvalid, maxPassword)
	}
	p, err := precis.OpaqueString.String(password)
	if err != nil {
		return "", fmt.Errorf("%w password: %v", ErrInvalid, err)
	}
	return p, nil
}

// Hash makes the credential of a plain password. It waits for its turn: no
// more passwords are hashed at a time than there are processors.
func (d *Directory) Hash(ctx context.Context, password string) (Credential, error) {
	p, err := prepare(password)
	if err != nil {
		return Credential{}, err
	}
	if err := d.turn(ctx); err != nil {
		return Credential{}, err
	}
	defer d.turnOver()
	return makeCredential(p), nil
}

// turn waits until another password may be hashed.
func (d *Directory) turn(ctx context.Context) error {
	d.open()
	select {
	case d.hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Directory) turnOver() { <-d.hashing }

func makeCredential(prepared string) Credential {
	salt := make([]byte, argonSalt)
	randomBytes(salt)
	sum := argon2.IDKey([]byte(prepared), salt, argonTime, argonMemory, argonThreads, argonKey)
	b := base64.RawStdEncoding.EncodeToString
	hash := fmt.Sprintf("%s%s$%s", argonPrefix, b(salt), b(sum))
	return Credential{Hash: hash, SCRAM: makeScram(prepared).String()}
}

// argonPrefix begins every hash of ours at today's cost.
var argonPrefix = fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$", argonMemory, argonTime, argonThreads)

func makeScram(prepared string) ScramKeys {
	k := ScramKeys{Salt: make([]byte, scramSalt), Iterations: scramIterations}
	randomBytes(k.Salt)
	salted, err := pbkdf2.Key(sha256.New, prepared, k.Salt, k.Iterations, sha256.Size)
	if err != nil {
		panic(err) // only for parameters that FIPS 140 forbids
	}
	client := mac(salted, "Client Key")
	stored := sha256.Sum256(client)
	k.StoredKey, k.ServerKey = stored[:], mac(salted, "Server Key")
	return k
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// ImportHash takes the hash of a password from elsewhere: a PHC or crypt
// string, with or without Dovecot's scheme in braces. Is is false when s is not
// of a kind that can be verified and therefore a plain password.
func ImportHash(s string) (c Credential, is bool, err error) {
	if i := strings.IndexByte(s, '}'); strings.HasPrefix(s, "{") && i > 0 && strings.HasPrefix(s[i+1:], "$") {
		s = s[i+1:]
	}
	v := verifier(s)
	if v == nil {
		return Credential{}, false, nil
	}
	if err := v(s, nil); err != nil {
		return Credential{}, true, fmt.Errorf("%w password hash: %v", ErrInvalid, err)
	}
	return Credential{Hash: s}, true, nil
}

// errMismatch is what a verify function gives for a wrong password.
var errMismatch = errors.New("password does not match")

// verify compares a password with a hash. With a nil password it only checks
// the hash's form and cost.
type verify func(hash string, password []byte) error

func verifier(hash string) verify {
	switch {
	case strings.HasPrefix(hash, "$argon2id$"), strings.HasPrefix(hash, "$argon2i$"):
		return verifyArgon
	case strings.HasPrefix(hash, "$2a$"), strings.HasPrefix(hash, "$2b$"), strings.HasPrefix(hash, "$2y$"):
		return verifyBcrypt
	case strings.HasPrefix(hash, "$5$"), strings.HasPrefix(hash, "$6$"):
		return verifyCrypt
	}
	return nil
}

func verifyArgon(hash string, password []byte) error {
	part := strings.Split(hash, "$")
	if len(part) != 6 || part[2] != "v=19" {
		return errors.New("argon2 hash malformed")
	}
	var m, t uint32
	var p uint8
	if n, err := fmt.Sscanf(part[3]+"\n", "m=%d,t=%d,p=%d\n", &m, &t, &p); err != nil || n != 3 {
		return errors.New("argon2 parameters malformed")
	}
	if t < 1 || t > maxArgonTime || p < 1 || m < 8*uint32(p) || m > maxArgonMemory {
		return fmt.Errorf("argon2 parameters %s out of range", part[3])
	}
	salt, err := base64.RawStdEncoding.DecodeString(part[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return errors.New("argon2 salt malformed")
	}
	sum, err := base64.RawStdEncoding.DecodeString(part[5])
	if err != nil || len(sum) < 16 || len(sum) > 128 {
		return errors.New("argon2 sum malformed")
	}
	if password == nil {
		return nil
	}
	key := argon2.IDKey
	if part[1] == "argon2i" {
		key = argon2.Key
	}
	if subtle.ConstantTimeCompare(sum, key(password, salt, t, m, p, uint32(len(sum)))) != 1 {
		return errMismatch
	}
	return nil
}

func verifyBcrypt(hash string, password []byte) error {
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != 60 {
		return errors.New("bcrypt hash malformed")
	}
	if cost > maxBcryptCost {
		return fmt.Errorf("bcrypt cost %d above %d", cost, maxBcryptCost)
	}
	if password == nil {
		return nil
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), password) != nil {
		return errMismatch
	}
	return nil
}
