//go:build linux

package engine

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// container is one container in memory. Its row is replaced, never changed.
type container struct {
	id  string
	dir string                      // under the data directory
	req *api.CreateContainerRequest // as asked; never changed
	img *Image                      // as it was at creation; never changed

	// op is held by the one lifecycle operation at a time: start, exit, remove.
	op chan struct{}
	// restart is held by the one Restart at a time, from the stop to the start.
	restart chan struct{}
	// etc is held by whoever writes the container's files in /etc: its own operations, those of containers that it links to,
	// and the reconciliation.
	etc sync.Mutex

	mu      sync.Mutex
	row     *api.Container
	changed chan struct{}        // closed when row or one of the fields below changes
	exits   int                  // how often it ended since this daemon started
	last    *api.Container       // the row as it was when it last ended, whatever it is now
	pauses  int                  // how often it stood still since this daemon started
	stops   int                  // how many are stopping it
	ending  func(*api.Container) // how the row on disk differs while an end is handled, see noteEnd
	removed bool
	leaving bool // its removal has given back all it held: it uses no volume any more
	// removals is how many remove it by force: nobody can start it meanwhile.
	removals int
	waiting  []chan<- attachResult // attached before the start
	// endRestart cancels a restart that waits for its time.
	endRestart context.CancelFunc
	// endHealth ends the health checks of the current run.
	endHealth context.CancelFunc
	failures  int  // starts in a row that did not last, for the restart delay
	wish      wish // as the synced row has it
}

func newContainer(dir string, row *api.Container, req *api.CreateContainerRequest, img *Image) *container {
	return &container{
		id: row.Id, dir: dir, row: row, req: req, img: img, wish: wishOf(row),
		op: make(chan struct{}, 1), restart: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// get returns the row as it is now. It must not be changed.
func (c *container) get() *api.Container {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.row
}

// lock waits for the running lifecycle operation to end. For a context that has ended already it fails.
func (c *container) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil { // of two cases that are ready, select takes any
		return err
	}
	select {
	case c.op <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *container) unlock() { <-c.op }

// run numbers the runs of a container, for those who wait for the end of one.
func (c *container) run() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exits
}

// end counts an end and keeps the row of it; c.mu is held.
func (c *container) end(row *api.Container) {
	c.exits++
	c.last, c.ending = row, nil
}

// awaitEnd waits for a run to end and returns the row of that end; the container may run again by then. One that is removed
// before has its last row.
func (c *container) awaitEnd(ctx context.Context, run int) (row *api.Container, err error) {
	err = c.await(ctx, func() bool {
		if row = c.row; c.exits > run {
			row = c.last
		}
		return c.exits > run || c.removed
	})
	return row, err
}

// standsStill counts a moment in which no process of the container goes on.
func (c *container) standsStill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pauses++
}

func (c *container) timesPaused() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pauses
}

// stopping counts those who stop a container, which is told when it has ended.
func (c *container) stopping(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stops += n
}

func (c *container) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stops > 0
}

// update changes the row in memory and on disk. Memory changes even if the disk refuses.
func (c *container) update(change func(*api.Container)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	row := proto.CloneOf(c.row)
	change(row)
	c.row = row
	c.notify()
	return c.save()
}

// noteEnd writes on disk, and nowhere else, that the container has ended: whoever waits for that is told by the update that
// follows once everything is released.
func (c *container) noteEnd(end func(*api.Container)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = end
	return c.save()
}

// save writes the row. c.mu is held.
func (c *container) save() error {
	if c.removed {
		return nil
	}
	row := c.row
	if c.ending != nil {
		row = proto.CloneOf(row)
		c.ending(row)
	}
	if err := c.saveWish(row); err != nil {
		return err
	}
	return saveState(c.dir, row)
}

// notify wakes all who wait; c.mu is held.
func (c *container) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// await blocks until cond holds. cond runs with c.mu held.
func (c *container) await(ctx context.Context, cond func() bool) error {
	for {
		done, changed := c.holds(cond)
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// holds says whether cond does, and what is closed when that may change.
func (c *container) holds(cond func() bool) (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cond(), c.changed
}

// active says whether a container has a process.
func active(s api.ContainerState) bool {
	return s == api.ContainerState_CONTAINER_RUNNING || s == api.ContainerState_PAUSED
}
