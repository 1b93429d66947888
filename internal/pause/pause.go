// Package pause waits for a while, or until nobody waits any more.
package pause

import (
	"context"
	"time"
)

// For returns nil after d, or the context's error as soon as that ends. A d of zero or less is over at once.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
