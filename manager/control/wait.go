package control

import (
	"context"
	"errors"
	"time"

	"github.com/shoal-dev/shoal/manager/store"
)

// errReached ends a Follow that has seen what it waited for.
var errReached = errors.New("reached")

// waitFor returns nil once ok holds for a state of the store, or an error after limit.
func (s *Server) waitFor(ctx context.Context, limit time.Duration, kinds []string, ok func(tx *store.Tx) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.store.Follow(ctx, store.FollowOptions{Kinds: kinds}, func(tx *store.Tx, _ []store.Event) error {
		if ok(tx) {
			return errReached
		}
		return nil
	})
	if errors.Is(err, errReached) {
		return nil
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}
