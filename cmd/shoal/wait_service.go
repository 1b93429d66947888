package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/internal/pause"
	"github.com/shoal-dev/shoal/proto/api"
)

// waitService shows how a service becomes what its spec says and returns once it is.
func (c *cli) waitService(ctx context.Context, id string, quiet bool) error {
	return c.wait(ctx, id, false, c.newProgressWriter(quiet))
}

// waitRollback is waitService for somebody who asked for a rollback: that one happens is then no failure.
func (c *cli) waitRollback(ctx context.Context, id string, quiet bool) error {
	return c.wait(ctx, id, true, c.newProgressWriter(quiet))
}

// reconnectFor bounds how long a wait outlives the loss of its manager.
const reconnectFor = 15 * time.Second

// wait follows the service. A watch that breaks (a manager that went away, one that fell behind) is opened
// again and everything read anew.
func (c *cli) wait(ctx context.Context, id string, rollback bool, w progressWriter) error {
	var lost time.Time
	for {
		start := time.Now()
		p, err := c.follow(ctx, id, rollback, w)
		if err == nil {
			w.end(p)
			return p.err
		}
		if ctx.Err() != nil {
			fmt.Fprintf(c.out, "Operation continuing in background.\nUse 'shoal service ps %s' to check progress.\n", id)
			return nil
		}
		if lost.IsZero() || time.Since(start) > reconnectFor {
			lost = time.Now()
		}
		if !passing(err) || time.Since(lost) > reconnectFor {
			return err
		}
		pause.For(ctx, 200*time.Millisecond)
	}
}

// passing tells an error that another try may not meet.
func passing(err error) bool {
	switch client.CodeOf(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return true
	}
	return isEOF(err)
}

// follow opens a watch, reads everything, and then changes until the service is there.
func (c *cli) follow(ctx context.Context, id string, rollback bool, w progressWriter) (progress, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d, err := c.client()
	if err != nil {
		return progress{}, err
	}
	watch, err := d.Control.Watch(ctx, &api.WatchRequest{Kinds: []string{"service", "task", "node"}})
	if err != nil {
		return progress{}, err
	}
	// The first message says that the watch is in place: nothing that happens after the reads is missed.
	if _, err := watch.Recv(); err != nil {
		return progress{}, err
	}
	v, err := c.readConvergence(ctx, id)
	if err != nil {
		return progress{}, err
	}
	v.rollback = rollback
	for {
		p := v.look()
		w.show(p)
		if p.done || p.err != nil {
			return p, nil
		}
		m, err := watch.Recv()
		if err != nil {
			return progress{}, err
		}
		for _, ch := range m.Changes {
			v.apply(ch)
		}
	}
}

func (c *cli) readConvergence(ctx context.Context, id string) (*convergence, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	s, err := d.Control.GetService(ctx, &api.GetServiceRequest{Ref: id})
	if client.IsNotFound(err) {
		return nil, errors.New("the service was removed meanwhile")
	}
	if err != nil {
		return nil, err
	}
	tasks, err := d.Control.ListTasks(ctx, &api.ListTasksRequest{ServiceId: s.Service.Id})
	if err != nil {
		return nil, err
	}
	nodes, err := d.Control.ListNodes(ctx, &api.ListNodesRequest{})
	if err != nil {
		return nil, err
	}
	return newConvergence(s.Service, tasks.Tasks, nodes.Nodes), nil
}
