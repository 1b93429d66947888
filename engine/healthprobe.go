//go:build linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

// probe runs the check once. A check that takes too long is killed and has failed.
func (e *Engine) probe(ctx context.Context, c *container, h *check) *api.HealthResult {
	result := &api.HealthResult{Start: timestamppb.Now(), ExitCode: -1}
	defer func() { result.End = timestamppb.Now() }()
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	p, err := e.exec(ctx, &api.ExecOpen{Ref: c.id, Command: h.command}, true)
	if err != nil {
		result.Output = err.Error()
		return result
	}
	var out limited
	stream := p.Stream()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		stream.Output(&out, &out)
	}()
	exit, err := p.Wait(ctx)
	if err != nil {
		p.Signal(syscall.SIGKILL)
		stream.Close()
		result.Output = "health check failed: " + err.Error()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			result.Output = "health check took longer than " + h.timeout.String()
		}
		return result
	}
	// A background process of the check may keep its output open.
	select {
	case <-copied:
	case <-time.After(time.Second):
	}
	stream.Close()
	result.ExitCode, result.Output = int32(exit.Code), out.String()
	return result
}

// limited keeps the beginning of what is written to it.
type limited struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p[:min(len(p), healthOutput-l.buf.Len())])
	return len(p), nil
}

func (l *limited) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
