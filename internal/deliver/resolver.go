package deliver

import (
	"context"
	"errors"
	"net/netip"
)

type MX struct {
	Preference uint16 // lower is tried first
	Host       string
}
type MXResult struct {
	Hosts []MX // empty only when Null
	Null  bool
}
type AddrsResult struct {
	Addrs []netip.Addr // never IPv4-mapped
}

func (r MXResult) Shuffled() []MX { return r.Hosts }

// Resolver answers about names.
type Resolver interface {
	MX(ctx context.Context, domain string) (MXResult, error)
	Addrs(ctx context.Context, host string) (AddrsResult, error)
}

var ErrNoName = errors.New("no such name")
var ErrNoRecord = errors.New("no such name")

func IsNotFound(err error) bool {
	return errors.Is(err, ErrNoName) || errors.Is(err, ErrNoRecord)
}
