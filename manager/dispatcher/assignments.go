package dispatcher

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// catchUp bounds how long an agent waits for a replica that is behind what it has already seen.
const catchUp = 3 * time.Second

// Assignments streams what the calling node should do: a COMPLETE message, once this replica has reached the index
// the agent has seen, then INCREMENTAL ones.
func (d *Dispatcher) Assignments(req *api.AssignmentsRequest, stream grpc.ServerStreamingServer[api.AssignmentsMessage]) error {
	who, err := d.deps.Caller(stream.Context())
	if err != nil {
		return err
	}
	a := newAssignment(who.NodeID, d.endpoints)
	began, complete := time.Now(), false
	return d.store.Follow(stream.Context(), store.FollowOptions{Debounce: debounce, Resync: resync}, func(tx *store.Tx, events []store.Event) error {
		if !complete && tx.Index() < req.SeenIndex {
			switch waited := time.Since(began) > catchUp; {
			case !waited:
				return nil
			case !d.deps.IsLeader():
				return status.Errorf(codes.Unavailable, "manager %s is at index %d, node %s has seen %d: ask another manager",
					d.deps.NodeID, tx.Index(), who.NodeID, req.SeenIndex)
			}
			// Nobody knows more than the leader: what the node has seen was lost with the managers that knew it.
		}
		if tx.Nodes().Get(who.NodeID) == nil { // its certificate outlives its row
			return status.Errorf(codes.NotFound, "node %s is no longer part of this cluster", who.NodeID)
		}
		m := &api.AssignmentsMessage{Type: api.AssignmentsMessage_INCREMENTAL, Index: tx.Index()}
		if !complete {
			complete, events, m.Type = true, nil, api.AssignmentsMessage_COMPLETE
		}
		m.Changes = a.update(tx, events)
		if len(m.Changes) == 0 && m.Type == api.AssignmentsMessage_INCREMENTAL {
			return nil
		}
		return stream.Send(m)
	})
}

// resync compares everything again now and then: promise 4, nothing depends on having seen an event.
const resync = 10 * time.Second
