package admin

import (
	"context"
	"fmt"

	"github.com/migiwa/migiwa/internal/queue"
)

// RetryQueue makes waiting recipients due now and gives their number.
func (a *Admin) RetryQueue(ctx context.Context, actor string, s queue.Selection) (int64, error) {
	return a.onQueue(actor, "queue retry", s, func() (int64, error) { return a.Queue.Retry(ctx, s) })
}

// HoldQueue stops waiting recipients until ReleaseQueue.
func (a *Admin) HoldQueue(ctx context.Context, actor string, s queue.Selection) (int64, error) {
	return a.onQueue(actor, "queue hold", s, func() (int64, error) { return a.Queue.Hold(ctx, s) })
}

// ReleaseQueue lets held recipients go, now.
func (a *Admin) ReleaseQueue(ctx context.Context, actor string, s queue.Selection) (int64, error) {
	return a.onQueue(actor, "queue release", s, func() (int64, error) { return a.Queue.Release(ctx, s) })
}

// DeleteQueue removes recipients without any report.
func (a *Admin) DeleteQueue(ctx context.Context, actor string, s queue.Selection) (int64, error) {
	return a.onQueue(actor, "queue delete", s, func() (int64, error) {
		gone, err := a.Queue.Delete(ctx, s)
		return int64(len(gone)), err
	})
}

func (a *Admin) onQueue(actor, verb string, s queue.Selection, action func() (int64, error)) (int64, error) {
	n, err := action()
	if err != nil {
		return 0, err
	}
	a.did(actor, verb, "", fmt.Sprintf("%d recipients of %+v", n, s))
	return n, nil
}
