//go:build linux

package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	"github.com/shoal-dev/shoal/manager"
)

// runningManager is the manager of this node while it has the role, with the door through which the local socket reaches it.
type runningManager struct {
	manager *manager.Manager
	server  *grpc.Server
	conn    *grpc.ClientConn
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // valid once done is closed
}

func (m *member) runningManager() *runningManager {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running
}

func (r *runningManager) run(ctx context.Context, pipe *pipeListener) {
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.server.Serve(pipe) }) // ends with Stop only
	wg.Go(func() {
		r.err = r.manager.Run(ctx)
		r.server.Stop()
	})
	go func() {
		wg.Wait()
		close(r.done)
	}()
}

// error is why the manager ended although this node should have one.
func (r *runningManager) error() error {
	if r.err == nil || errors.Is(r.err, context.Canceled) {
		return errors.New("the manager ended")
	}
	return fmt.Errorf("the manager ended: %w", r.err)
}

// ready waits until the manager takes part. If it ends instead, the membership does, and knows why.
func (r *runningManager) ready(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	waited := make(chan error, 1)
	go func() { waited <- r.manager.Ready(ctx) }()
	select {
	case err := <-waited:
		return err
	case <-r.done:
		return nil
	}
}
