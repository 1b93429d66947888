//go:build linux

package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

// publisher sends one task's log, lines gathered into batches.
type publisher struct {
	ctx  context.Context
	send func(*api.PublishLogsMessage) error

	mu    sync.Mutex
	lines []*api.LogLine
	timer *time.Timer
	err   error
}

// publish answers one subscription: the logs of its tasks side by side in one stream.
func (a *Agent) publish(ctx context.Context, client api.DispatcherClient, m *api.LogSubscription) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.PublishLogs(ctx)
	if err != nil {
		return err
	}
	var sending sync.Mutex
	var reading sync.WaitGroup
	for _, task := range m.TaskIds {
		reading.Go(func() {
			p := &publisher{
				ctx: ctx,
				send: func(out *api.PublishLogsMessage) error {
					out.SubscriptionId, out.TaskId = m.Id, task
					sending.Lock()
					defer sending.Unlock()
					return stream.Send(out)
				},
			}
			p.publish(a, task, m.Options)
		})
	}
	reading.Wait()
	_, err = stream.CloseAndRecv()
	return err
}

func (p *publisher) publish(a *Agent, task string, o *api.LogOptions) {
	last := &api.PublishLogsMessage{Done: true}
	id, err := a.containerOf(p.ctx, task, o.GetFollow())
	if err == nil && id != "" {
		err = a.cfg.Engine.Logs(p.ctx, id, o, p.line)
	}
	if err != nil && p.ctx.Err() == nil {
		last.Error = err.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush()
	if p.err == nil {
		p.send(last) // an error ends the stream, and Recv on it says so
	}
}

func (p *publisher) line(l *api.LogLine) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, l)
	if len(p.lines) >= logBatch {
		p.flush()
	} else if p.timer == nil {
		p.timer = time.AfterFunc(logGather, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.flush()
		})
	}
	return p.err
}

// flush sends what is gathered; mu is held, so that lines stay in order.
func (p *publisher) flush() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	if len(p.lines) > 0 && p.err == nil {
		p.err = p.send(&api.PublishLogsMessage{Lines: p.lines})
	}
	p.lines = nil
}

// containerOf finds a task's container. To follow, it waits for one that is yet to be made; "" if there is nothing
// to read.
func (a *Agent) containerOf(ctx context.Context, task string, follow bool) (string, error) {
	for began := time.Now(); ; {
		row, err := a.cfg.Engine.OfTask(ctx, task)
		switch {
		case err != nil:
			return "", err
		case row != nil:
			return row.Id, nil
		}
		a.mu.Lock()
		r := a.runners[task]
		a.mu.Unlock()
		known := r != nil || a.view.task(task) != nil
		switch {
		case !known && (!follow || time.Since(began) > logYoung):
			return "", fmt.Errorf("node %s does not have it", a.cfg.NodeID)
		case known && (!follow || r == nil || r.state() > api.TaskState_RUNNING):
			return "", nil
		}
		pause.For(ctx, logPoll)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
}
