package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
)

// ErrOutboundState means that a saved state of an account cannot be read: it is
// damaged, or of another release.
var ErrOutboundState = errors.New("saved state of an account's sending is damaged")

// Has tells whether the state of an account is in memory; when it is not, a
// saved one is to be given to Restore first.
func (o *Outbound) Has(account int64) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.accounts[account] != nil
}

// Begin makes an account known of which there is no saved state.
func (o *Outbound) Begin(account int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.accounts[account] == nil {
		o.accounts[account] = &sending{}
	}
}

// Restore takes the saved state of an account that is not in memory. A damaged
// one is ErrOutboundState, and the account has no history then.
func (o *Outbound) Restore(account int64, saved []byte) error {
	s, err := readSending(saved)
	if err != nil {
		return fmt.Errorf("account %d: %w", account, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.accounts[account] == nil {
		o.accounts[account] = s
	}
	return nil
}

// Save gives the states that changed since they were last saved. What it gives
// and was not kept must be given back to Unsaved.
func (o *Outbound) Save() map[int64][]byte {
	o.mu.RLock()
	all := maps.Clone(o.accounts) // nobody waits while states are written out
	o.mu.RUnlock()
	out := map[int64][]byte{}
	for id, s := range all {
		s.mu.Lock()
		if s.dirty {
			out[id], s.dirty = s.append(nil), false
		}
		s.mu.Unlock()
	}
	return out
}

// Forget takes from memory the states of accounts that have been idle for a
// day, and are saved. It runs alone: what it takes must be given to Restore
// before anything else is done with the account.
func (o *Outbound) Forget(now Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.accounts, func(_ int64, s *sending) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.dirty && s.Last+forgetTime < now
	})
}

// Unsaved makes Save give these accounts again.
func (o *Outbound) Unsaved(states map[int64][]byte) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for id := range states {
		if s := o.accounts[id]; s != nil {
			s.mu.Lock()
			s.dirty = true
			s.mu.Unlock()
		}
	}
}

// append writes the state: version, the fixed part, the number of loginNets and
// these, the number of recipients and these; little-endian.
func (s *sending) append(b []byte) []byte {
	b = append(b, outboundVersion)
	put := func(v any) { b, _ = binary.Append(b, binary.LittleEndian, v) } // these types cannot fail
	put(&s.sendingState)
	put(uint16(len(s.Logins)))
	put([]loginNet(s.Logins))
	put(uint32(s.Contacts.count))
	for _, e := range s.Contacts.slots {
		if e != 0 {
			b = binary.LittleEndian.AppendUint64(b, e)
		}
	}
	return b
}

func readSending(b []byte) (*sending, error) {
	if len(b) == 0 || b[0] != outboundVersion {
		return nil, ErrOutboundState
	}
	s, r := &sending{}, bytes.NewReader(b[1:])
	get := func(v any) error {
		if err := binary.Read(r, binary.LittleEndian, v); err != nil {
			return fmt.Errorf("%w: %w", ErrOutboundState, err)
		}
		return nil
	}
	var logins uint16
	var recipients uint32
	if err := errors.Join(get(&s.sendingState), get(&logins)); err != nil {
		return nil, err
	}
	if logins > networksMost {
		return nil, ErrOutboundState
	}
	s.Logins = make(loginNets, logins)
	if err := errors.Join(get([]loginNet(s.Logins)), get(&recipients)); err != nil {
		return nil, err
	}
	if recipients > contactsMost || r.Len() != 8*int(recipients) {
		return nil, ErrOutboundState
	}
	for rest := b[len(b)-r.Len():]; len(rest) > 0; rest = rest[8:] {
		e := binary.LittleEndian.Uint64(rest)
		if !s.Contacts.add(e) {
			return nil, ErrOutboundState
		}
	}
	return s, s.check()
}

// check refuses numbers that no account has.
func (s *sending) check() error {
	for _, x := range []float32{s.New, s.Unknown, s.Networks, s.Before.New, s.Before.Known, s.Before.Unknown, s.Before.Reached,
		s.Now.New, s.Now.Known, s.Now.Unknown, s.Now.Reached} {
		if !(x > -1e9 && x < 1e9) {
			return ErrOutboundState
		}
	}
	for _, c := range []float32{s.Before.New, s.Before.Known, s.Before.Unknown, s.Before.Reached} {
		if c < 0 {
			return ErrOutboundState
		}
	}
	if s.Today > uint32(s.Last)/daySpan || s.At > s.Last {
		return ErrOutboundState
	}
	return nil
}
