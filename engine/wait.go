//go:build linux

package engine

import (
	"context"

	"github.com/shoal-dev/shoal/proto/api"
)

// Conditions that Wait waits for.
const (
	WaitNotRunning = "not-running" // the default; true at once for a container that was never started
	WaitNextExit   = "next-exit"   // the next end, even if it is restarted after it
	WaitRemoved    = "removed"
)

// Wait blocks until the condition holds and returns the row as it is then: exit code, error, out of memory.
func (e *Engine) Wait(ctx context.Context, ref, condition string) (*api.Container, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	seen := c.exits
	c.mu.Unlock()
	var row *api.Container
	cond := map[string]func() bool{
		WaitNotRunning: func() bool { return !active(c.row.State) && c.row.State != api.ContainerState_RESTARTING },
		WaitNextExit:   func() bool { return c.exits > seen },
		WaitRemoved:    func() bool { return c.removed },
	}[conditionOrDefault(condition)]
	if cond == nil {
		return nil, errorf(ErrInvalid, "wait condition %q is not %s, %s or %s", condition, WaitNotRunning, WaitNextExit, WaitRemoved)
	}
	err = c.await(ctx, func() bool {
		row = c.row
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
