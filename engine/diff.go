//go:build linux

package engine

import (
	"context"

	"github.com/shoal-dev/shoal/engine/archive"
	"github.com/shoal-dev/shoal/proto/api"
)

// Diff lists what a container changed in its root file system since it was made from its image.
func (e *Engine) Diff(ctx context.Context, ref string) ([]*api.FileChange, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	upper, err := e.upperDir(ctx, c)
	if err != nil {
		return nil, err
	}
	whole, err := e.wholeSnapshots(ctx, c.id)
	if err != nil {
		return nil, err
	}
	var changes []archive.Change
	err = e.withImage(ctx, c.img, func(lower string) (err error) {
		changes, err = archive.Changes(upper, lower, usersOf(c.get(), false), whole, madeForMounts)
		return err
	})
	if err != nil {
		return nil, err
	}
	kinds := map[archive.Kind]api.FileChange_Kind{
		archive.Modified: api.FileChange_MODIFIED, archive.Added: api.FileChange_ADDED, archive.Deleted: api.FileChange_DELETED,
	}
	out := make([]*api.FileChange, len(changes))
	for i, change := range changes {
		out[i] = &api.FileChange{Kind: kinds[change.Kind], Path: change.Path}
	}
	return out, nil
}
