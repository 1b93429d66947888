//go:build linux

package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	logRetry  = time.Second
	logBatch  = 128                   // lines in one message
	logGather = 20 * time.Millisecond // wait so long for more of them
	logPoll   = 200 * time.Millisecond
	// logYoung is how long a task may be unknown here that somebody follows: its manager may be ahead of this node's.
	logYoung = 5 * time.Second
)

// serveLogs keeps a stream of log subscriptions to every manager: a client may ask any of them.
func (a *Agent) serveLogs(ctx context.Context) {
	streams := map[string]context.CancelFunc{}
	var running sync.WaitGroup
	defer running.Wait()
	for {
		addrs, changed := a.managers.watch()
		for addr, cancel := range streams {
			if !slices.Contains(addrs, addr) {
				cancel()
				delete(streams, addr)
			}
		}
		for _, addr := range addrs {
			if streams[addr] == nil {
				sctx, cancel := context.WithCancel(ctx)
				streams[addr] = cancel
				running.Go(func() { a.keepLogStream(sctx, addr) })
			}
		}
		select {
		case <-ctx.Done(): // of all streams, too
			return
		case <-changed:
		}
	}
}

// keepLogStream serves one manager, again and again until ctx ends.
func (a *Agent) keepLogStream(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		if err := a.logStream(ctx, addr); err != nil && ctx.Err() == nil {
			a.log.Debug("log stream to a manager ended, will try again", "manager", addr, "error", err)
		}
		pause.For(ctx, logRetry)
	}
}

func (a *Agent) logStream(ctx context.Context, addr string) error {
	ctx, cancel := context.WithCancel(ctx)
	conn, err := a.cfg.Dial(ctx, addr)
	if err != nil {
		cancel()
		return err
	}
	defer conn.Close()
	client := api.NewDispatcherClient(conn)
	var publishing sync.WaitGroup
	defer publishing.Wait()
	defer cancel()
	stream, err := client.LogSubscriptions(ctx, &api.LogSubscriptionsRequest{})
	if err != nil {
		return err
	}
	open := map[string][]context.CancelFunc{} // by subscription
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.Close {
			for _, end := range open[m.Id] {
				end()
			}
			delete(open, m.Id)
			continue
		}
		pctx, end := context.WithCancel(ctx)
		open[m.Id] = append(open[m.Id], end)
		publishing.Go(func() {
			defer end()
			if err := a.publish(pctx, client, m); err != nil && pctx.Err() == nil {
				a.log.Debug("sending logs failed", "manager", addr, "error", err)
			}
		})
	}
}
