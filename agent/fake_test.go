//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/proto/api"
)

// fakeEngine keeps containers in memory. It outlives an Agent, as shims do.
type fakeEngine struct {
	mu      sync.Mutex
	rows    map[string]*api.Container
	images  map[string]bool
	starts  map[string]int // by task
	removed []string       // tasks
	changed chan struct{}  // closed at the next change
	lines   map[string][]*api.LogLine
	stopErr error
}

func newFakeEngine(images ...string) *fakeEngine {
	e := &fakeEngine{rows: map[string]*api.Container{}, images: map[string]bool{}, starts: map[string]int{},
		changed: make(chan struct{}), lines: map[string][]*api.LogLine{}}
	for _, i := range images {
		e.images[i] = true
	}
	return e
}

// change replaces a row; fn returns false to leave it.
func (e *fakeEngine) change(id string, fn func(*api.Container)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	row := e.rows[id]
	if row == nil {
		return fmt.Errorf("no such container: %s", id)
	}
	row = proto.CloneOf(row)
	fn(row)
	e.rows[id] = row
	e.notify()
	return nil
}

func (e *fakeEngine) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *fakeEngine) Create(_ context.Context, task string, req *api.CreateContainerRequest) (*api.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.images[req.Spec.Image] {
		return nil, errors.New("no such image: " + req.Spec.Image)
	}
	row := &api.Container{Id: id.NewHex(), Name: req.Name, Spec: req.Spec, TaskId: task, NetworkMode: req.NetworkMode, Netns: "/netns/" + task}
	e.rows[row.Id] = row
	return row, nil
}

func (e *fakeEngine) Start(_ context.Context, id string) error {
	return e.change(id, func(c *api.Container) {
		c.State, c.Pid = api.ContainerState_CONTAINER_RUNNING, 42
		e.starts[c.TaskId]++
		if c.Spec.Healthcheck != nil {
			c.Health = "starting"
		}
	})
}

// exit is the end of a container's process.
func (e *fakeEngine) exit(id string, code int32) {
	e.change(id, func(c *api.Container) {
		c.State, c.ExitCode, c.Pid, c.FinishedAt = api.ContainerState_EXITED, code, 0, timestamppb.Now()
	})
}

func (e *fakeEngine) Stop(_ context.Context, id string) error {
	if e.stopErr != nil {
		return e.stopErr
	}
	e.exit(id, 143)
	return nil
}

func (e *fakeEngine) Kill(_ context.Context, id string) error {
	e.exit(id, 137)
	return nil
}

func (e *fakeEngine) Remove(_ context.Context, id string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if row := e.rows[id]; row != nil {
		e.removed = append(e.removed, row.TaskId)
		delete(e.rows, id)
		e.notify()
	}
	return nil
}

func (e *fakeEngine) Get(_ context.Context, id string) (*api.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rows[id], nil
}

func (e *fakeEngine) OfTask(_ context.Context, task string) (*api.Container, error) {
	return e.of(task), nil
}

func (e *fakeEngine) of(task string) *api.Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, row := range e.rows {
		if row.TaskId == task {
			return row
		}
	}
	return nil
}

func (e *fakeEngine) Tasks(context.Context) ([]*api.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.rows)), nil
}

func (e *fakeEngine) Change(ctx context.Context, id, health string) error {
	for {
		e.mu.Lock()
		row, changed := e.rows[id], e.changed
		e.mu.Unlock()
		if row == nil || row.State != api.ContainerState_CONTAINER_RUNNING || row.Health != health {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e *fakeEngine) Logs(ctx context.Context, id string, o *api.LogOptions, emit func(*api.LogLine) error) error {
	row, _ := e.Get(ctx, id)
	for _, l := range e.lines[row.TaskId] {
		if err := emit(l); err != nil {
			return err
		}
	}
	if o.GetFollow() {
		return e.Change(ctx, id, "")
	}
	return nil
}

func (e *fakeEngine) HasImage(_ context.Context, ref string) (bool, error) { return e.images[ref], nil }

func (e *fakeEngine) Pull(context.Context, string) error { return errors.New("no route to registry") }

func (e *fakeEngine) started(task string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.starts[task]
}

// fakeOverlay remembers what it was told.
type fakeOverlay struct {
	mu       sync.Mutex
	desired  overlay.Desired
	attached map[string]overlay.Attachment
	adopted  []string
}

func newFakeOverlay() *fakeOverlay { return &fakeOverlay{attached: map[string]overlay.Attachment{}} }

func (o *fakeOverlay) Set(d overlay.Desired) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.desired = d
}

func (o *fakeOverlay) Attach(_ context.Context, a overlay.Attachment) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attached[a.ID] = a
	return nil
}

func (o *fakeOverlay) Detach(_ context.Context, id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.attached, id)
	return nil
}

func (o *fakeOverlay) Adopt(ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.adopted = ids
}

func (o *fakeOverlay) wired(id string) (overlay.Attachment, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a, ok := o.attached[id]
	return a, ok
}
