package directory

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/migiwa/migiwa/internal/mail"
	"github.com/migiwa/migiwa/internal/store/db"
)

// Columns are the columns of a file of accounts, in the order of Export.
//
// Import needs a header line with column address and any of the others in any
// order. An address that has no account gets one, with defaults for columns
// that are missing. An account that exists gets what the columns say; a column
// that is missing, and an empty password, leave it as it is. Importing a file
// again changes nothing.
//
//	address     full address
//	name        free text
//	password    empty, plain, or a PHC or crypt hash
//	quota_mb    megabytes; 0 or empty: the domain's default, -1: none
//	forward_to  addresses separated by spaces
//	state       active (or empty), disabled
var Columns = []string{"address", "name", "password", "quota_mb", "forward_to", "state"}

const (
	maxLines  = 1_000_000
	maxFaults = 1000 // reported of one file
)

// Import is one import of a file of accounts.
type Import struct {
	DryRun   bool                  // check everything, change nothing
	Progress func(done, total int) // called while plain passwords are hashed, never twice at a time; may be nil
	InTx     func(tx *db.Tx) error // run at the end of the same transaction; may be nil
}

// Imported says what an import did, or would have done.
type Imported struct {
	Added, Changed, Same int
}

// LineError is what is wrong with one line of a file.
type LineError struct {
	Line int // from 1
	Err  error
}

// Error names the line.
func (e LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap gives the fault.
func (e LineError) Unwrap() error { return e.Err }

// FileError is all that is wrong with a file; nothing of it was applied.
type FileError []LineError

// Error gives one line of text for each line of the file.
func (e FileError) Error() string {
	words := make([]string, len(e))
	for i, l := range e {
		words[i] = l.Error()
	}
	return strings.Join(words, "\n")
}

// line is one line of a file, checked.
type line struct {
	number   int
	account  Account // what the columns say
	password string
	given    Credential // of an imported hash, later of the plain password
	plain    bool
}

// file is a checked file of accounts.
type file struct {
	has   map[string]bool // columns
	lines []line
	bad   FileError
}

func (f *file) fault(number int, err error) {
	if len(f.bad) < maxFaults {
		f.bad = append(f.bad, LineError{number, err})
	}
}

// Import reads a file of accounts and applies all of it in one transaction, or
// nothing. Faults of the file come as FileError. Hashing plain passwords takes
// the time: some 20 ms of one processor each; hashes take none.
func (d *Directory) Import(ctx context.Context, r io.Reader, im Import) (Imported, error) {
	d.open()
	f, err := readAccounts(r)
	if err != nil {
		return Imported{}, err
	}
	old, err := d.examine(ctx, f)
	if err != nil {
		return Imported{}, err
	}
	if len(f.bad) > 0 {
		slices.SortStableFunc(f.bad, func(a, b LineError) int { return a.Line - b.Line })
		return Imported{}, f.bad
	}
	if !im.DryRun {
		if err := d.hashAll(ctx, f, old, im.Progress); err != nil {
			return Imported{}, err
		}
	}
	var out Imported
	apply := func(tx *db.Tx) (err error) {
		if out, err = d.apply(tx, f, im.DryRun); err == nil && im.InTx != nil && !im.DryRun {
			err = im.InTx(tx)
		}
		return err
	}
	if im.DryRun {
		err = d.DB.Read(ctx, apply)
	} else {
		err = d.DB.Write(ctx, apply)
	}
	if err != nil {
		return Imported{}, fmt.Errorf("import accounts: %w", err)
	}
	return out, nil
}

// readAccounts parses a file. Its own error is of the reader; faults of the
// file are in file.bad.
func readAccounts(r io.Reader) (*file, error) {
	in := bufio.NewReader(r)
	if bom, err := in.Peek(3); err == nil && bytes.Equal(bom, []byte("\xef\xbb\xbf")) {
		in.Discard(3)
	}
	f := &file{has: map[string]bool{}}
	c := csv.NewReader(in)
	header, err := c.Read()
	if err != nil {
		var syntax *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			f.fault(1, fmt.Errorf("%w: empty file, a header line is required", ErrInvalid))
		case errors.As(err, &syntax):
			f.fault(syntax.Line, fmt.Errorf("%w: %v", ErrInvalid, syntax.Err))
		default:
			return nil, err
		}
		return f, nil
	}
	if err := f.header(header); err != nil {
		f.fault(1, err)
		return f, nil
	}
	first := map[string]int{} // line by address key
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			var syntax *csv.ParseError
			if !errors.As(err, &syntax) {
				return nil, fmt.Errorf("read accounts: %w", err)
			}
			f.fault(syntax.StartLine, fmt.Errorf("%w: %v", ErrInvalid, syntax.Err))
			continue
		}
		number, _ := c.FieldPos(0)
		l, err := parseLine(header, record)
		if err != nil {
			f.fault(number, err)
			continue
		}
		key := l.account.Address.Key()
		if n, twice := first[key]; twice {
			f.fault(number, fmt.Errorf("%w: %s is on line %d already", ErrInvalid, l.account.Address, n))
			continue
		}
		first[key], l.number = number, number
		if f.lines = append(f.lines, l); len(f.lines) > maxLines {
			f.fault(number, fmt.Errorf("%w: more than %d accounts", ErrInvalid, maxLines))
			return f, nil
		}
	}
}

func (f *file) header(names []string) error {
	for _, n := range names {
		if !slices.Contains(Columns, n) {
			return fmt.Errorf("%w header: unknown column %q; known are %s", ErrInvalid, n, strings.Join(Columns, ", "))
		}
		if f.has[n] {
			return fmt.Errorf("%w header: column %s twice", ErrInvalid, n)
		}
		f.has[n] = true
	}
	if !f.has["address"] {
		return fmt.Errorf("%w header: column address is missing", ErrInvalid)
	}
	return nil
}

func parseLine(header, record []string) (line, error) {
	l := line{account: Account{State: Active}}
	a := &l.account
	for i, value := range record {
		var err error
		switch header[i] {
		case "address":
			a.Address, err = mail.ParseAddress(value)
		case "name":
			a.Name = value
		case "password":
			l.password = value
			if l.given, l.plain, err = passwordOf(value); err != nil {
				return l, err
			}
		case "quota_mb":
			a.Quota, err = parseMegabytes(value)
		case "forward_to":
			if a.Forward, err = ParseList(value); err != nil {
				err = fmt.Errorf("forward_to %w", err)
			}
		case "state":
			if value != "" {
				a.State = State(value)
			}
		}
		if err != nil {
			return l, err
		}
	}
	return l, a.check()
}

// passwordOf tells what a password column holds.
func passwordOf(s string) (c Credential, plain bool, err error) {
	if s == "" {
		return Credential{}, false, nil
	}
	c, hash, err := ImportHash(s)
	if hash || err != nil {
		return c, false, err
	}
	_, err = prepare(s)
	return Credential{}, true, err
}

func parseMegabytes(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < -1 || n > math.MaxInt64/Megabyte {
		return 0, fmt.Errorf("%w quota_mb %q: a whole number of megabytes, 0 or -1", ErrInvalid, s)
	}
	if n == -1 {
		return NoQuota, nil
	}
	return n * Megabyte, nil
}

func formatMegabytes(quota int64) string {
	if quota < 0 {
		return "-1"
	}
	return strconv.FormatInt(quota/Megabyte, 10)
}

// examine finds the faults that only the directory knows of, and gives the
// credentials that exist by line.
func (d *Directory) examine(ctx context.Context, f *file) (map[int]Credential, error) {
	old := map[int]Credential{}
	ours := map[mail.Domain]bool{}
	err := d.DB.Read(ctx, func(tx *db.Tx) error {
		for _, l := range f.lines {
			a := l.account.Address
			if _, asked := ours[a.Domain]; !asked {
				_, err := d.DomainTx(tx, a.Domain)
				if err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
				ours[a.Domain] = err == nil
			}
			if !ours[a.Domain] {
				f.fault(l.number, fmt.Errorf("domain %s: %w", a.Domain, ErrNotFound))
				continue
			}
			acct, err := d.AccountTx(tx, a)
			if err == nil {
				old[l.number] = acct.credential
				continue
			}
			if !errors.Is(err, ErrNotFound) {
				return err
			}
			if err := d.free(tx, a); errors.Is(err, ErrExists) {
				f.fault(l.number, err)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("import accounts: %w", err)
	}
	return old, nil
}

// hashAll makes the credentials of plain passwords, on all processors. A
// password that an account has already keeps its credential.
func (d *Directory) hashAll(ctx context.Context, f *file, old map[int]Credential, progress func(done, total int)) error {
	var todo []*line
	for i := range f.lines {
		if f.lines[i].plain {
			todo = append(todo, &f.lines[i])
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan *line)
	var mu sync.Mutex
	done := 0
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for l := range work {
				if err := d.hashLine(ctx, l, old[l.number]); err != nil {
					cancel(LineError{l.number, err})
				}
				mu.Lock()
				if done++; progress != nil {
					progress(done, len(todo))
				}
				mu.Unlock()
			}
		})
	}
	for _, l := range todo {
		if ctx.Err() != nil {
			break
		}
		work <- l
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

func (d *Directory) hashLine(ctx context.Context, l *line, old Credential) error {
	prepared, err := prepare(l.password)
	if err != nil {
		return err
	}
	if err := d.turn(ctx); err != nil {
		return err
	}
	defer d.turnOver()
	if check := verifier(old.Hash); check != nil && check(old.Hash, []byte(prepared)) == nil {
		l.given = old
		return nil
	}
	l.given = makeCredential(prepared)
	return nil
}

// apply writes the lines; in a dry run it only counts.
func (d *Directory) apply(tx *db.Tx, f *file, dry bool) (Imported, error) {
	var out Imported
	for i := range f.lines {
		l := &f.lines[i]
		acct, err := d.AccountTx(tx, l.account.Address)
		switch {
		case errors.Is(err, ErrNotFound):
			out.Added++
			if !dry {
				_, err = d.CreateAccount(tx, l.account, l.given)
			} else {
				err = nil
			}
		case err == nil:
			var changed bool
			changed, err = d.applyTo(tx, f, l, acct, dry)
			if changed {
				out.Changed++
			} else {
				out.Same++
			}
		}
		if err != nil {
			return Imported{}, LineError{l.number, err}
		}
	}
	return out, nil
}

// applyTo writes what a line says of an account that exists.
func (d *Directory) applyTo(tx *db.Tx, f *file, l *line, acct Account, dry bool) (changed bool, err error) {
	next := acct
	if f.has["name"] {
		next.Name = l.account.Name
	}
	if f.has["quota_mb"] {
		next.Quota = l.account.Quota
	}
	if f.has["forward_to"] {
		next.Forward = l.account.Forward
	}
	if f.has["state"] {
		next.State = l.account.State
	}
	changed = next.Name != acct.Name || next.Quota != acct.Quota || next.State != acct.State ||
		FormatList(next.Forward) != FormatList(acct.Forward)
	if changed && !dry {
		if err := d.SetAccount(tx, next); err != nil {
			return false, err
		}
	}
	// In a dry run a plain password counts as a change: nothing was hashed.
	fresh := l.plain && dry || l.given.Hash != "" && l.given.Hash != acct.credential.Hash
	if fresh && !dry {
		err = d.SetCredential(tx, acct, l.given)
	}
	return changed || fresh, err
}

// Export writes all accounts of the domain (empty: of all) as Import reads
// them, hashes included, in the order of their keys.
func (d *Directory) Export(ctx context.Context, w io.Writer, domain mail.Domain) error {
	c := accountsWriter(w)
	err := d.EachAccount(ctx, domain, func(a Account) error { return c.Write(record(a)) })
	if err == nil {
		c.Flush()
		err = c.Error()
	}
	if err != nil {
		return fmt.Errorf("export accounts: %w", err)
	}
	return nil
}

// accountsWriter starts a file of accounts. Errors of w show at its end.
func accountsWriter(w io.Writer) *csv.Writer {
	c := csv.NewWriter(w)
	c.Write(Columns)
	return c
}

// record is the line of an account.
func record(a Account) []string {
	return []string{a.Address.Wire, a.Name, a.credential.Hash, formatMegabytes(a.Quota), FormatList(a.Forward), string(a.State)}
}
