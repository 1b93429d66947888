package control

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// ListNodes returns all nodes with what Raft knows of the managers now.
func (s *Server) ListNodes(context.Context, *api.ListNodesRequest) (*api.ListNodesResponse, error) {
	r := &api.ListNodesResponse{}
	s.store.View(func(tx *store.Tx) { r.Nodes = tx.Nodes().List() })
	for i, n := range r.Nodes {
		r.Nodes[i] = s.withManagerStatus(n)
	}
	return r, nil
}

// GetNode returns one.
func (s *Server) GetNode(_ context.Context, r *api.GetNodeRequest) (*api.GetNodeResponse, error) {
	var n *api.Node
	var err error
	s.store.View(func(tx *store.Tx) { n, err = findNode(tx, r.Ref) })
	if err != nil {
		return nil, err
	}
	return &api.GetNodeResponse{Node: s.withManagerStatus(n)}, nil
}

// withManagerStatus fills in what is never stored.
func (s *Server) withManagerStatus(n *api.Node) *api.Node {
	if n.ManagerStatus == nil {
		return n
	}
	n = proto.CloneOf(n)
	leader, reachable, learning := s.deps.Members()
	n.ManagerStatus.Leader = n.Id == leader
	n.ManagerStatus.Reachable = reachable[n.Id]
	n.ManagerStatus.Learning = learning[n.Id]
	return n
}

// findNode also knows a node by its hostname, when only one has it.
func findNode(tx *store.Tx, ref string) (*api.Node, error) {
	if ref == "" {
		return nil, invalid("name a node by its ID or hostname")
	}
	if n, err := tx.Nodes().Find(ref); err == nil {
		return n, nil
	}
	var found []*api.Node
	for _, n := range tx.Nodes().List() {
		if n.Description.GetHostname() == ref {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return nil, toStatus(store.ErrNotFound, "node: "+ref)
	case 1:
		return found[0], nil
	}
	return nil, invalid("%d nodes are called %s: use an ID from 'shoal node ls'", len(found), ref)
}

// UpdateNode changes labels, availability and role.
func (s *Server) UpdateNode(ctx context.Context, r *api.UpdateNodeRequest) (*api.UpdateNodeResponse, error) {
	if r.Spec == nil {
		return nil, invalid("node update without a spec")
	}
	if err := validateSize("node "+r.Ref, r.Spec); err != nil {
		return nil, err
	}
	var n *api.Node
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		if n = tx.Nodes().Done(); n != nil {
			return nil
		}
		old, err := findNode(tx, r.Ref)
		if err != nil {
			return err
		}
		if err := atVersion(old, r.Version, "node "+r.Ref); err != nil {
			return err
		}
		if err := s.roleChange(tx, old, r.Spec.Role); err != nil {
			return err
		}
		n = proto.CloneOf(old)
		n.Spec = r.Spec
		return tx.Nodes().Update(n)
	})
	if err != nil {
		return nil, toStatus(err, "node "+r.Ref)
	}
	return &api.UpdateNodeResponse{Node: s.withManagerStatus(n)}, nil
}

// roleChange refuses a demotion that would leave no manager, or fewer answering ones than the rest needs to agree.
func (s *Server) roleChange(tx *store.Tx, n *api.Node, role api.NodeRole) error {
	if n.Spec.Role == role || role == api.NodeRole_MANAGER {
		return nil
	}
	_, reachable, learning := s.deps.Members()
	if learning[n.Id] {
		return nil
	}
	var rest, answering int
	for _, m := range tx.Nodes().List() {
		if m.Id == n.Id || m.Spec.Role != api.NodeRole_MANAGER || learning[m.Id] {
			continue
		}
		rest++
		if reachable[m.Id] {
			answering++
		}
	}
	name := displayName(n)
	if rest == 0 {
		return refused("cannot demote %s: it is the last manager; promote another node first", name)
	}
	if answering <= rest/2 {
		return refused("cannot demote %s: only %d of the %d remaining managers answer, and they need a majority", name, answering, rest)
	}
	return nil
}

func displayName(n *api.Node) string {
	if h := n.Description.GetHostname(); h != "" {
		return h
	}
	return n.Id
}

// RemoveNode forgets a node. Its tasks are replaced by the orchestrator.
func (s *Server) RemoveNode(ctx context.Context, r *api.RemoveNodeRequest) (*api.RemoveNodeResponse, error) {
	err := s.store.Update(ctx, func(tx *store.Tx) error {
		n, err := findNode(tx, r.Ref)
		if err != nil {
			return err
		}
		name := displayName(n)
		if n.Spec.Role == api.NodeRole_MANAGER || n.Role == api.NodeRole_MANAGER {
			return refused("node %s is a manager: demote it first with 'shoal node demote %s'", name, name)
		}
		if n.Status.GetState() == api.NodeStatus_READY && !r.Force {
			return refused("node %s is up: run 'shoal cluster leave' on it first, or use --force", name)
		}
		return tx.Nodes().Delete(n.Id)
	})
	if err = toStatus(err, "node "+r.Ref); gone(ctx, err) {
		err = nil
	}
	return &api.RemoveNodeResponse{}, err
}
