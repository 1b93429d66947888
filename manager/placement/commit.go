package placement

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/internal/ipam"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	// batch bounds one transaction, so that a log entry stays small.
	batch = 1000
	// reasonEvery bounds how often the reason of a waiting task is rewritten; resync brings the last one.
	reasonEvery = time.Second
	retryAfter  = 200 * time.Millisecond
)

// commit writes decisions; those that the rows no longer allow are taken back.
func (p *Placement) commit(ctx context.Context, ds []decision) error {
	for len(ds) > 0 {
		n := min(batch, len(ds))
		refused, err := p.write(ctx, ds[:n])
		switch {
		case err == nil:
			for _, id := range refused {
				p.state.RemoveTask(id)
			}
			ds = ds[n:]
		case ctx.Err() != nil || errors.Is(err, store.ErrNotLeader):
			return err
		default:
			p.log.Error("placements not committed, will be tried again", "tasks", n, "error", err)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(retryAfter):
			}
		}
	}
	return nil
}

// write commits one batch and returns the tasks that were not placed after all.
func (p *Placement) write(ctx context.Context, ds []decision) (refused []string, err error) {
	now := timestamppb.New(time.Now())
	err = p.store.Update(ctx, func(tx *store.Tx) error {
		refused = nil
		g := gateways{tx: tx, subnets: map[string][]ipam.Subnet{}}
		for _, d := range ds {
			old := tx.Tasks().Get(d.task)
			if old == nil || !isWaiting(old) {
				refused = append(refused, d.task)
				continue
			}
			t := proto.CloneOf(old)
			if d.reason == "" {
				d.reason = g.assign(t, d)
			}
			if d.reason != "" {
				refused = append(refused, d.task)
				if !explain(t, d.reason, now) {
					continue
				}
			} else {
				t.Status = &api.TaskStatus{State: api.TaskState_ASSIGNED, Timestamp: now, Message: "assigned to a node"}
			}
			if err := tx.Tasks().Update(t); err != nil {
				return err
			}
		}
		return nil
	})
	return refused, err
}

// explain writes why the task waits. False: it is there already, or was rewritten a moment ago.
func explain(t *api.Task, reason string, now *timestamppb.Timestamp) bool {
	s := t.Status
	if s.GetErr() == reason {
		return false
	}
	if s.GetErr() != "" && now.AsTime().Sub(s.GetTimestamp().AsTime()) < reasonEvery {
		return false
	}
	t.Status = &api.TaskStatus{State: api.TaskState_PENDING, Timestamp: now, Message: "waiting for a node", Err: reason}
	return true
}

// gateways are the subnets of the nodes that a transaction places tasks on.
type gateways struct {
	tx      *store.Tx
	subnets map[string][]ipam.Subnet
}

// assign gives a task its node and its addresses there, or returns why that is impossible.
func (g gateways) assign(t *api.Task, d decision) string {
	node := g.tx.Nodes().Get(d.node)
	if node == nil {
		return "no suitable node (the chosen one was removed)"
	}
	if d.routable {
		addrs, err := g.take(node)
		if err != nil {
			return err.Error()
		}
		t.GatewayAddresses = addrs
	}
	t.NodeId = d.node
	return ""
}

func (g gateways) take(node *api.Node) (out []string, err error) {
	subnets, ok := g.subnets[node.Id]
	if !ok {
		if subnets, err = gatewayUsage(g.tx, node); err != nil {
			return nil, err
		}
		g.subnets[node.Id] = subnets
	}
	if len(subnets) == 0 {
		return nil, fmt.Errorf("node %s has no gateway subnet yet", node.GetDescription().GetHostname())
	}
	for _, s := range subnets {
		a, ok := s.Next()
		if !ok {
			return nil, fmt.Errorf("node %s has no free address left in its gateway subnet %s", node.GetDescription().GetHostname(), s.Prefix)
		}
		out = append(out, netip.PrefixFrom(a, s.Prefix.Bits()).String())
	}
	return out, nil
}

// gatewayUsage reads from the rows which gateway addresses of a node are taken. The first one is the node's own.
func gatewayUsage(tx *store.Tx, node *api.Node) ([]ipam.Subnet, error) {
	var out []ipam.Subnet
	for _, prefix := range node.GatewaySubnets {
		s, err := ipam.ParseSubnet(prefix, "", "")
		if err != nil {
			return nil, fmt.Errorf("gateway subnet of node %s: %w", node.Id, err)
		}
		out = append(out, s)
	}
	for t := range tx.Tasks().All(store.ByNode(node.Id)) {
		state := t.GetStatus().GetState()
		holds := state <= api.TaskState_RUNNING || state == api.TaskState_ORPHANED
		for _, s := range out {
			s.Take(holds, t.GatewayAddresses...)
		}
	}
	return out, nil
}
