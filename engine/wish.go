//go:build linux

package engine

import (
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// wish is what a restart policy goes by after a boot. A power cut must not undo it: whoever was told that a database runs, and is
// always to run, finds it running. So the row that a container was created as, which is synced, is told of it.
type wish struct{ started, stopped, up bool }

func wishOf(row *api.Container) wish {
	up := active(row.State) || row.State == api.ContainerState_RESTARTING
	return wish{started: row.StartedAt != nil, stopped: row.StoppedByUser, up: up}
}

// saveWish writes down what has changed of it. On a full disk it does without: the container must still be stopped and removed.
// c.mu is held.
func (c *container) saveWish(row *api.Container) error {
	w, policy := wishOf(row), row.Restart.GetName()
	if w == c.wish || policy == "" || policy == "no" || !isKept(row) {
		return nil
	}
	path := filepath.Join(c.dir, createdFile)
	created := &api.Container{}
	if loadMessage(path, created) != nil { // damaged: the row as it is now says all that it said
		created = proto.CloneOf(row)
	}
	created.State, created.StartedAt, created.StoppedByUser = row.State, row.StartedAt, row.StoppedByUser
	if err := saveMessage(path, created, true); err != nil {
		if isFull(err) {
			return nil
		}
		return err
	}
	c.wish = w
	return nil
}
