package allocator

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// anyConcerns leaves out the events that cannot change an allocation, most of them reports of nodes.
func anyConcerns(tx *store.Tx, events []store.Event) bool {
	return slices.ContainsFunc(events, func(e store.Event) bool {
		was, isTask := e.Old.(*api.Task)
		if now, new := e.New.(*api.Task); isTask || new {
			return endsLingering(tx, was, now)
		}
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

// endsLingering: a task has ended, or gone, whose service has a virtual IP only because of such tasks.
func endsLingering(tx *store.Tx, was, now *api.Task) bool {
	live := func(t *api.Task) bool { return t != nil && t.GetStatus().GetState() <= api.TaskState_RUNNING }
	if !live(was) || live(now) {
		return false
	}
	svc := tx.Services().Get(was.ServiceId)
	dnsrr := svc.GetSpec().GetEndpoint().GetMode() == api.EndpointSpec_DNSRR
	return !svc.GetPendingDelete() && slices.ContainsFunc(svc.GetEndpoint().GetVirtualIps(), func(v *api.VirtualIP) bool {
		return dnsrr || !slices.ContainsFunc(svc.GetSpec().GetNetworks(), func(a *api.NetworkAttachmentSpec) bool { return a.Network == v.NetworkId })
	})
}
