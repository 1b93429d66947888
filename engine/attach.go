//go:build linux

package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

type attachResult struct {
	stream runtime.Stream
	err    error
}

// Attachment is a connection to a container's standard streams.
type Attachment struct {
	c     *container
	seen  int // ends of the container before this connection
	ready chan attachResult
	leave func()      // withdraws the wish to be attached
	stay  func() bool // Stream has the connection; false: it was withdrawn before
}

// Attach connects to a container. If it does not run yet, the connection is made at its next start, before the
// command's first instruction: nothing that it writes is missed. Call Stream for the connection; one that nobody has called
// for when ctx ends is closed, since a container waits for those who are attached to read.
func (e *Engine) Attach(ctx context.Context, ref string) (*Attachment, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	if err := c.lock(ctx); err != nil {
		return nil, err
	}
	defer c.unlock()
	result := make(chan attachResult, 1)
	leave := sync.OnceFunc(func() { c.stopWaiting(result) })
	a := &Attachment{c: c, seen: c.run(), ready: result, leave: leave}
	if active(c.get().State) {
		stream, err := e.cfg.Runtime.Attach(ctx, c.id)
		if err != nil {
			return nil, err
		}
		result <- attachResult{stream: stream}
		e.announceContainer(c.get(), "attach", nil)
		a.stay = context.AfterFunc(ctx, leave)
		return a, nil
	}
	if c.isRemoved() {
		return nil, errorf(ErrNotFound, "no such container: %s", ref)
	}
	c.mu.Lock()
	c.waiting = append(c.waiting, result)
	c.mu.Unlock()
	e.announceContainer(c.get(), "attach", nil)
	a.stay = context.AfterFunc(ctx, leave)
	return a, nil
}

// ContainerID names the container.
func (a *Attachment) ContainerID() string { return a.c.id }

// Stream waits for the start and returns the connection. It fails with the start's error.
func (a *Attachment) Stream(ctx context.Context) (runtime.Stream, error) {
	select {
	case r := <-a.ready:
		if !a.stay() {
			a.ready <- r // for the one who closes it
			return nil, context.Canceled
		}
		return r.stream, r.err
	case <-ctx.Done():
		a.leave()
		return nil, ctx.Err()
	}
}

// Exit waits for the end of the run that is attached to, and for the removal of a container that is removed at its end: its name
// is free then. The row it returns holds the exit code.
func (a *Attachment) Exit(ctx context.Context) (*api.Container, error) {
	row, err := a.c.awaitEnd(ctx, a.seen)
	if err != nil || !row.AutoRemove {
		return row, err
	}
	if err := a.c.lock(ctx); err != nil { // which exited holds until it has removed, or has failed to
		return nil, err
	}
	a.c.unlock()
	return row, nil
}

// stopWaiting withdraws a wish to attach; a connection that is there, or being made, is closed.
func (c *container) stopWaiting(result chan attachResult) {
	c.mu.Lock()
	i := slices.Index(c.waiting, (chan<- attachResult)(result))
	if i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
	c.mu.Unlock()
	if i >= 0 {
		return
	}
	go func() { // whoever has taken the wish up answers it
		if r := <-result; r.stream != nil {
			r.stream.Close()
		}
	}()
}

func (c *container) takeWaiting() []chan<- attachResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiting
	c.waiting = nil
	return w
}

// attachWaiting connects those who asked before the start.
func (e *Engine) attachWaiting(ctx context.Context, c *container) {
	for _, w := range c.takeWaiting() {
		stream, err := e.cfg.Runtime.Attach(ctx, c.id)
		w <- attachResult{stream: stream, err: err}
	}
}

// failWaiting tells those who asked to be attached why there will be nothing to attach to.
func (c *container) failWaiting(err error) {
	for _, w := range c.takeWaiting() {
		w <- attachResult{err: err}
	}
}

// Resize sets the size of a container's terminal.
func (e *Engine) Resize(ctx context.Context, ref string, s runtime.Size) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	return e.cfg.Runtime.Resize(ctx, c.id, s)
}
