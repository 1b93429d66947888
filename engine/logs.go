//go:build linux

package engine

import (
	"context"

	"github.com/shoal-dev/shoal/engine/log"
	"github.com/shoal-dev/shoal/proto/api"
)

// Logs calls emit for every line that a container has written, as the options say. Following ends when the container
// has ended, or has been removed.
func (e *Engine) Logs(ctx context.Context, ref string, o *api.LogOptions, emit func(*api.LogLine) error) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	row := c.get()
	if row.LogPath == "" {
		return errorf(ErrPrecondition, "container %s keeps no log (log driver none)", row.Name)
	}
	done := make(chan struct{})
	if o.GetFollow() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer close(done)
			c.await(ctx, func() bool { return c.removed || ended(c.row) })
		}()
	}
	return log.Read(ctx, row.LogPath, log.FromAPI(o, done), emit)
}

// ended says that a container writes no more. One that was never started may still.
func ended(row *api.Container) bool {
	return row.State == api.ContainerState_EXITED || row.State == api.ContainerState_DEAD
}
