package dispatcher

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

func hello(addr string) *api.SessionRequest {
	return &api.SessionRequest{
		Description: &api.NodeDescription{Hostname: "host-" + addr}, Addr: addr, DataPathAddr: addr, GossipPort: 7946,
	}
}

// next returns the next message that is not a heartbeat.
func nextMessage(t *testing.T, stream api.Dispatcher_SessionClient) *api.SessionMessage {
	t.Helper()
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.Node != nil {
			return m
		}
	}
}

func TestSessionOnFollowerRegistersWithLeader(t *testing.T) {
	c := newCluster(t, nil)
	fill(c)
	c.write(func(tx *store.Tx) error {
		m := proto.CloneOf(tx.Nodes().Get("m1"))
		m.ManagerStatus = &api.ManagerStatus{Addr: "192.0.2.1:2377"}
		m.Status = &api.NodeStatus{State: api.NodeStatus_READY, Addr: "192.0.2.1", GossipPort: 7946}
		if err := tx.Nodes().Update(m); err != nil {
			return err
		}
		return tx.SetCluster(&api.Cluster{Id: "c", Spec: &api.ClusterSpec{Name: "default"}, GossipKeys: [][]byte{{1}}, CaCert: []byte("pem")})
	})
	stream, err := c.client("m2", "w1").Session(t.Context(), hello("192.0.2.11"))
	if err != nil {
		t.Fatal(err)
	}
	m := nextMessage(t, stream)
	for m.Node.Status.State != api.NodeStatus_READY {
		m = nextMessage(t, stream)
	}
	n := m.Node
	if n.Description.Hostname != "host-192.0.2.11" || n.Status.Addr != "192.0.2.11" || n.Status.Since == nil || n.Role != api.NodeRole_WORKER {
		t.Errorf("node row is %v", n)
	}
	if len(m.Managers) != 1 || !m.Managers[0].Leader || m.GossipPeers[0] != "192.0.2.1:7946" || string(m.CaCert) != "pem" || len(m.GossipKeys) != 1 {
		t.Errorf("session message is %v", m)
	}
	// A change of the node's row reaches it.
	c.write(func(tx *store.Tx) error {
		n := proto.CloneOf(tx.Nodes().Get("w1"))
		n.Spec.Role = api.NodeRole_MANAGER
		return tx.Nodes().Update(n)
	})
	if m := nextMessage(t, stream); m.Node.Spec.Role != api.NodeRole_MANAGER {
		t.Errorf("promotion was told as %v", m)
	}
	// Removal ends the session.
	c.write(func(tx *store.Tx) error { return tx.Nodes().Delete("w1") })
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.NotFound {
		t.Errorf("session of a removed node ended with %v", err)
	}
}

func TestUnknownNodeIsRefused(t *testing.T) {
	c := newCluster(t, nil)
	stream, err := c.client("m2", "stranger").Session(t.Context(), hello("192.0.2.66"))
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.NotFound {
		t.Errorf("got %v, want NotFound", err)
	}
	assigned, err := c.client("m2", "stranger").Assignments(t.Context(), &api.AssignmentsRequest{})
	if err == nil {
		_, err = assigned.Recv()
	}
	if status.Code(err) != codes.NotFound {
		t.Errorf("assignments: got %v, want NotFound", err)
	}
}

func TestWorkerMayNotRegisterOthers(t *testing.T) {
	c := newCluster(t, nil)
	fill(c)
	_, err := c.client("m1", "w1").Register(t.Context(), &api.RegisterRequest{NodeId: "w2", Session: hello("x")})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v, want PermissionDenied", err)
	}
}

func report(task string, s api.TaskState) *api.UpdateTaskStatusRequest {
	return &api.UpdateTaskStatusRequest{Updates: []*api.UpdateTaskStatusRequest_Update{{TaskId: task, Status: &api.TaskStatus{State: s}}}}
}

func TestReports(t *testing.T) {
	for _, manager := range []string{"m1", "m2"} {
		c := newCluster(t, nil)
		fill(c)
		tests := []struct {
			name, node, task string
			report, want     api.TaskState
			code             codes.Code
		}{
			{"its own task", "w1", "web1", api.TaskState_RUNNING, api.TaskState_RUNNING, codes.OK},
			{"a step back is left out", "w1", "web1", api.TaskState_PREPARING, api.TaskState_RUNNING, codes.OK},
			{"another node's task", "w2", "web1", api.TaskState_FAILED, api.TaskState_RUNNING, codes.OK},
			{"a managers' state", "w1", "web1", api.TaskState_ORPHANED, api.TaskState_RUNNING, codes.InvalidArgument},
			{"its end", "w1", "web1", api.TaskState_COMPLETE, api.TaskState_COMPLETE, codes.OK},
			{"an end is final", "w1", "web1", api.TaskState_FAILED, api.TaskState_COMPLETE, codes.OK},
		}
		for _, tt := range tests {
			t.Run(manager+"/"+tt.name, func(t *testing.T) {
				_, err := c.client(manager, tt.node).UpdateTaskStatus(t.Context(), report(tt.task, tt.report))
				if status.Code(err) != tt.code {
					t.Errorf("got %v, want %v", err, tt.code)
				}
				if got := c.task(tt.task).Status.State; got != tt.want {
					t.Errorf("task is %v, want %v", got, tt.want)
				}
			})
		}
		c.write(func(tx *store.Tx) error {
			web2 := proto.CloneOf(tx.Tasks().Get("web2"))
			web2.Status = &api.TaskStatus{State: api.TaskState_ORPHANED, Err: "lost"}
			return tx.Tasks().Update(web2)
		})
		for _, tt := range []struct {
			report api.TaskState
			held   bool
		}{{api.TaskState_RUNNING, true}, {api.TaskState_SHUTDOWN, false}} {
			if _, err := c.client(manager, "w2").UpdateTaskStatus(t.Context(), report("web2", tt.report)); err != nil {
				t.Fatal(err)
			}
			got := c.task("web2")
			if held := len(got.GatewayAddresses)+len(got.Networks[0].Addresses) == 2; held != tt.held || got.Status.Err != "lost" {
				t.Errorf("an orphaned task whose node says %v: %v", tt.report, got)
			}
		}
		r := report("web1", api.TaskState_FAILED)
		r.NodeId = "w2"
		if _, err := c.client(manager, "w1").UpdateTaskStatus(t.Context(), r); status.Code(err) != codes.PermissionDenied {
			t.Errorf("a worker that speaks for another got %v", err)
		}
	}
}
