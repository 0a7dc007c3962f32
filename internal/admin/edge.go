package admin

import (
	"context"
	"fmt"
)

// Forgive brings a client address, a network, or an identity (a domain or an
// address) back to the initial state at the edge and gives how many entries
// were forgotten. Penalties end by themselves: it is hardly ever needed.
func (a *Admin) Forgive(ctx context.Context, actor, what string) (int, error) {
	n, err := a.Edge.Forgive(ctx, what)
	if err != nil {
		return 0, err
	}
	a.did(actor, "edge forgive", "", fmt.Sprintf("%q, %d entries", what, n))
	return n, nil
}
