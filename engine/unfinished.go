//go:build linux

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/durable"
	"github.com/shoal-dev/shoal/proto/api"
)

// unfinished is what somebody asked of a container that takes more than one step, and that no row can tell half way. It is written
// down before the first step and removed after the last, so that the next daemon finishes what this one cannot.
type unfinished struct {
	Update  []byte        `json:"update,omitempty"` // api.UpdateContainerRequest
	Restart *restartAsked `json:"restart,omitempty"`
}

// restartAsked is a Restart. It has happened when the container has started again.
type restartAsked struct {
	Timeout *time.Duration `json:"timeout,omitempty"`
	Signal  string         `json:"signal,omitempty"`
	Started time.Time      `json:"started"` // when the run began that is to end
}

const unfinishedFile = "unfinished.json"

// begin writes down what is going to be done; c.op is held.
func (e *Engine) begin(c *container, u unfinished) error {
	b, err := json.Marshal(u)
	if err != nil {
		return err
	}
	if err := durable.Replace(filepath.Join(c.dir, unfinishedFile), b, rowFilePerm); err != nil {
		return err
	}
	e.cfg.FaultPoint("unfinished.begun")
	return nil
}

// end forgets it; c.op is held.
func (e *Engine) end(c *container) error {
	e.cfg.FaultPoint("unfinished.done")
	err := os.Remove(filepath.Join(c.dir, unfinishedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// begun reads what a daemon before this one has begun and not ended; nothing, if it cannot be read. c.op need not be held: of a
// container that is being removed it finds nothing, since its directory has another name by then.
func (e *Engine) begun(c *container) (u unfinished) {
	b, err := os.ReadFile(filepath.Join(e.rowDir(c.id), unfinishedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return unfinished{}
	}
	if err == nil {
		err = json.Unmarshal(b, &u)
	}
	if err != nil {
		e.log.Error("what was begun with a container cannot be read", "container", c.id, "error", err)
		return unfinished{}
	}
	return u
}

// finishUpdates does once more what Update was doing: the kernel may have been told of new limits that no row knows.
func (e *Engine) finishUpdates(ctx context.Context) {
	for _, c := range e.all() {
		u := e.begun(c)
		if u.Update == nil {
			continue
		}
		r := &api.UpdateContainerRequest{}
		err := proto.Unmarshal(u.Update, r)
		if err == nil {
			r.Ref = c.id
			err = e.Update(ctx, r)
		}
		if err != nil {
			e.log.Error("container's update was not finished", "container", c.id, "error", errors.Join(err, e.end(c)))
		}
	}
}

// finishRestarts starts what a Restart has stopped, and stops before what it has not. A container that is to end slowly keeps nobody
// waiting.
func (e *Engine) finishRestarts() {
	for _, c := range e.all() {
		if r := e.begun(c).Restart; r != nil {
			e.start(func(ctx context.Context) {
				if err := e.finishRestart(ctx, c, r); err != nil && ctx.Err() == nil {
					e.log.Error("container was not restarted", "container", c.id, "error", err)
				}
			})
		}
	}
}

// finishRestart does nothing if somebody was faster.
func (e *Engine) finishRestart(ctx context.Context, c *container, r *restartAsked) error {
	select {
	case c.restart <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.restart }()
	if row := c.get(); c.isRemoved() || row.StartedAt.AsTime().After(r.Started) {
		return e.endRestart(c)
	}
	return e.restartLocked(ctx, c, r.Timeout, r.Signal)
}
