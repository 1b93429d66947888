package control

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// A request whose leader was lost before it answered comes again. What was done is answered, and not done twice.
func TestRequestsAreDoneOnce(t *testing.T) {
	s := server(t, func(tx *store.Tx) error {
		if err := tx.SetCluster(&api.Cluster{Id: "c", Spec: &api.ClusterSpec{}}); err != nil {
			return err
		}
		return tx.Nodes().Create(&api.Node{Id: "n1", Spec: &api.NodeSpec{}, Description: &api.NodeDescription{Hostname: "host"}})
	})
	twice := func(name string, call func(ctx context.Context) (proto.Message, error)) {
		t.Helper()
		first, err := call(store.WithRequest(t.Context(), store.Request{ID: name}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		index := s.store.Index()
		again, err := call(store.WithRequest(t.Context(), store.Request{ID: name, Again: true}))
		if err != nil {
			t.Errorf("%s, again: %v", name, err)
		} else if !proto.Equal(withoutMeta(first), withoutMeta(again)) {
			t.Errorf("%s: answered %v, and again %v", name, first, again)
		}
		if s.store.Index() != index {
			t.Errorf("%s: done again", name)
		}
	}
	twice("create", func(ctx context.Context) (proto.Message, error) {
		return s.CreateService(ctx, &api.CreateServiceRequest{Spec: spec("web")})
	})
	twice("update", func(ctx context.Context) (proto.Message, error) {
		return s.UpdateService(ctx, &api.UpdateServiceRequest{Ref: "web", Spec: spec("web", publish(80))})
	})
	twice("rollback", func(ctx context.Context) (proto.Message, error) {
		return s.UpdateService(ctx, &api.UpdateServiceRequest{Ref: "web", Rollback: true})
	})
	twice("remove service", func(ctx context.Context) (proto.Message, error) {
		return s.RemoveService(ctx, &api.RemoveServiceRequest{Ref: "web"})
	})
	twice("rotate", func(ctx context.Context) (proto.Message, error) {
		return s.UpdateCluster(ctx, &api.UpdateClusterRequest{RotateWorkerToken: true})
	})
	twice("drain", func(ctx context.Context) (proto.Message, error) {
		return s.UpdateNode(ctx, &api.UpdateNodeRequest{Ref: "host", Spec: &api.NodeSpec{Availability: api.NodeSpec_DRAIN}})
	})
	twice("remove node", func(ctx context.Context) (proto.Message, error) {
		return s.RemoveNode(ctx, &api.RemoveNodeRequest{Ref: "n1", Force: true})
	})
	_, err := s.RemoveNode(t.Context(), &api.RemoveNodeRequest{Ref: "n1"})
	wantError(t, err, codes.NotFound, "no such node: n1")

	// The allocator's part, so that create does not wait for it.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go s.store.Follow(ctx, store.FollowOptions{Kinds: []string{store.KindNetwork}}, func(tx *store.Tx, _ []store.Event) error {
		for _, n := range tx.Networks().List() {
			if n.Vni == 0 {
				s.store.Update(ctx, func(tx *store.Tx) error {
					n := store.Clone(tx.Networks().Get(n.Id))
					n.Vni = 4096
					return tx.Networks().Update(n)
				})
			}
		}
		return nil
	})
	twice("create network", func(ctx context.Context) (proto.Message, error) {
		return s.CreateNetwork(ctx, &api.CreateNetworkRequest{Spec: &api.NetworkSpec{Name: "app", Driver: "overlay"}})
	})
	var id string
	s.store.View(func(tx *store.Tx) { id = tx.Networks().List()[0].Id })
	twice("remove network", func(ctx context.Context) (proto.Message, error) {
		return s.RemoveNetwork(ctx, &api.RemoveNetworkRequest{Ref: id})
	})
}

// withoutMeta leaves the versions of rows out of an answer: the first one was made before they were known.
func withoutMeta(m proto.Message) proto.Message {
	m = proto.Clone(m)
	switch r := m.(type) {
	case *api.CreateServiceResponse:
		r.Service.Meta = nil
	case *api.UpdateServiceResponse:
		r.Service.Meta = nil
	case *api.UpdateNodeResponse:
		r.Node.Meta = nil
	case *api.UpdateClusterResponse:
		r.Cluster.Meta = nil
	case *api.CreateNetworkResponse:
		r.Network.Meta = nil
	}
	return m
}
