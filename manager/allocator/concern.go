package allocator

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// anyConcerns leaves out the events that cannot change an allocation, most of them reports of nodes.
func anyConcerns(events []store.Event) bool {
	return slices.ContainsFunc(events, func(e store.Event) bool {
		if e.Old == nil || e.New == nil {
			return true
		}
		switch now := e.New.(type) {
		case *api.Node:
			old := e.Old.(*api.Node)
			return now.Number == 0 || len(now.GatewaySubnets) == 0 ||
				!slices.Equal(old.GetDescription().GetLocalSubnets(), now.GetDescription().GetLocalSubnets())
		case *api.Network:
			old := e.Old.(*api.Network)
			return old.Vni != now.Vni || !proto.Equal(old.Spec, now.Spec)
		case *api.Service:
			old := e.Old.(*api.Service)
			return old.PendingDelete != now.PendingDelete || !proto.Equal(old.Endpoint, now.Endpoint) ||
				!proto.Equal(old.Spec, now.Spec)
		}
		return true
	})
}
