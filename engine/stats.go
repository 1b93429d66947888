//go:build linux

package engine

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/engine/network"
	"github.com/shoal-dev/shoal/engine/runtime"
	"github.com/shoal-dev/shoal/proto/api"
)

// Stats reads the counters of the containers named, or of all that run. cpu_percent is left to the reader of two answers.
func (e *Engine) Stats(ctx context.Context, refs []string) ([]*api.ContainerStats, error) {
	var list []*container
	for _, ref := range refs {
		c, err := e.find(ref)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	if len(refs) == 0 {
		list = e.all()
	}
	var out []*api.ContainerStats
	for _, c := range list {
		row := c.get()
		if !active(row.State) {
			if len(refs) > 0 {
				out = append(out, &api.ContainerStats{Id: c.id, Name: row.Name, Time: timestamppb.Now()})
			}
			continue
		}
		s, err := e.cfg.Runtime.Stats(ctx, c.id)
		if errors.Is(err, runtime.ErrNotFound) || errors.Is(err, runtime.ErrNotRunning) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e.statsOf(row, s))
	}
	return out, nil
}

func (e *Engine) statsOf(row *api.Container, s runtime.Stats) *api.ContainerStats {
	out := &api.ContainerStats{
		Id: row.Id, Name: row.Name, Time: timestamppb.New(s.Time),
		CpuNs: s.CPUNanos, ThrottledNs: s.ThrottledNanos, MemoryBytes: s.Memory, MemoryLimit: s.MemoryLimit,
		BlockReadBytes: s.BlockRead, BlockWriteBytes: s.BlockWrite, Pids: s.Pids,
	}
	if row.Netns != "" {
		// A namespace that is just going away has no counters.
		if rx, tx, err := network.Counters(row.Netns); err == nil {
			out.NetRxBytes, out.NetTxBytes = rx, tx
		}
	}
	return out
}
