package pop3d

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// errInUse means that another session has the mailbox.
var errInUse = errors.New("mailbox in use")

// Locks gives each mailbox to one session at a time, among all processes that
// open the same file. The lock of an account is that on the octet of the
// file whose offset is the account's number; the system lets go of it when a
// process ends, however it ends. The file stays empty.
type Locks struct {
	file *os.File

	mu   sync.Mutex
	held map[int64]bool // by this process: its locks do not disturb itself
}

// OpenLocks opens the lock file and makes it when it is new.
func OpenLocks(path string) (*Locks, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open mailbox locks: %w", err)
	}
	return &Locks{file: f, held: map[int64]bool{}}, nil
}

// Close lets go of all locks.
func (l *Locks) Close() error { return l.file.Close() }

// lock takes the lock of an account and gives what returns it, or errInUse.
func (l *Locks) lock(account int64) (unlock func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[account] {
		return nil, errInUse
	}
	if err := l.set(account, unix.F_WRLCK); err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, errInUse
		}
		return nil, fmt.Errorf("lock mailbox of account %d: %w", account, err)
	}
	l.held[account] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, account)
		l.set(account, unix.F_UNLCK) // fails only when the file is closed, and then there is no lock
	}, nil
}

func (l *Locks) set(account int64, kind int16) error {
	return unix.FcntlFlock(l.file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: account, Len: 1})
}
