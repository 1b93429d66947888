//go:build linux

package engine

import (
	"context"

	"github.com/shoal-dev/shoal/proto/api"
)

// Conditions that Wait waits for.
const (
	WaitNotRunning = "not-running" // the default: the next end, even if it is restarted after it; true at once where nothing runs
	WaitNextExit   = "next-exit"   // the next end, also of one that is not running yet
	WaitRemoved    = "removed"
)

// Wait blocks until the condition holds and returns the row as it is then: exit code, error, out of memory.
func (e *Engine) Wait(ctx context.Context, ref, condition string) (*api.Container, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	seen := c.run()
	var row *api.Container
	over := func(row *api.Container) bool { return !active(row.State) && row.State != api.ContainerState_RESTARTING }
	cond := map[string]func() bool{
		WaitNotRunning: func() bool { return over(c.row) || c.exits > seen },
		WaitNextExit:   func() bool { return c.exits > seen },
		WaitRemoved:    func() bool { return c.removed },
	}[conditionOrDefault(condition)]
	if cond == nil {
		return nil, errorf(ErrInvalid, "wait condition %q is not %s, %s or %s", condition, WaitNotRunning, WaitNextExit, WaitRemoved)
	}
	err = c.await(ctx, func() bool {
		if row = c.row; c.exits > seen && !over(row) {
			row = c.last
		}
		return cond() || c.removed
	})
	if err != nil {
		return nil, err
	}
	return row, nil
}

func conditionOrDefault(s string) string {
	if s == "" {
		return WaitNotRunning
	}
	return s
}
