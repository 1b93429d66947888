//go:build linux

package cgroup

import (
	"context"
	"fmt"
	"time"
)

// Freeze stops or continues all processes of the group and waits until that is so. If they do not stop in time they
// all go on.
func (g *Group) Freeze(ctx context.Context, frozen bool) error {
	dir, name, value, done := g.freezer(frozen)
	if dir == "" {
		return fmt.Errorf("pause: this machine has no cgroup freezer")
	}
	if err := write(dir, name, value); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	for {
		now, err := g.Frozen()
		if err != nil || now == frozen {
			return err
		}
		select {
		case <-ctx.Done():
			if frozen {
				_, _, thaw, _ := g.freezer(false)
				write(dir, name, thaw)
			}
			return fmt.Errorf("pause: processes did not become %s: %w", done, ctx.Err())
		case <-time.After(2 * time.Millisecond):
			if frozen { // v1 needs to be told again about processes that were busy
				write(dir, name, value)
			}
		}
	}
}

func (g *Group) freezer(frozen bool) (dir, name, value, done string) {
	if d := g.dir("freezer"); d != "" {
		if frozen {
			return d, "freezer.state", "FROZEN", "frozen"
		}
		return d, "freezer.state", "THAWED", "thawed"
	}
	if frozen {
		return g.V2Dir(), "cgroup.freeze", "1", "frozen"
	}
	return g.V2Dir(), "cgroup.freeze", "0", "thawed"
}

// Frozen reports whether the group is frozen, by itself.
func (g *Group) Frozen() (bool, error) {
	if d := g.dir("freezer"); d != "" {
		v, err := read(d, "freezer.state")
		return v == "FROZEN", err
	}
	if g.V2Dir() == "" {
		return false, nil
	}
	n, err := keyed(g.V2Dir(), "cgroup.events", "frozen")
	return n == 1, err
}
