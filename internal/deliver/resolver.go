package deliver

import (
	"context"
	"errors"
	"net/netip"
)

// MX is one mail exchanger.
type MX struct {
	Host       string
	Preference uint16
}

// Resolver answers about names.
type Resolver interface {
	MX(ctx context.Context, domain string) ([]MX, error)
	Addrs(ctx context.Context, host string) ([]netip.Addr, error)
}

var errNoName = errors.New("no such name")
