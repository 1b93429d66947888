package dispatcher

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// kind orders what a node is told: what others refer to comes first.
type kind uint8

const (
	aPeer kind = iota
	aNetwork
	aService
	anEndpoint
	aRevision
	aTask
)

// key names one thing a node is told. task is only set for endpoints, whose id is their network ("" for the gateway).
type key struct {
	kind kind
	id   string
	task string
}

// view computes what one node should be told. Everything it needs beside the store is which networks and revisions
// the node's active tasks use.
type view struct {
	node      string
	shared    *endpoints
	networks  map[string]int // by ID, number of active tasks of this node on it
	revisions map[string]int // by ID, number of active tasks of this node that follow it
}

// want returns what the node should be told under a key, or nil for nothing.
func (v view) want(tx *store.Tx, k key) proto.Message {
	switch k.kind {
	case aPeer:
		return orNil(peerView(tx.Nodes().Get(k.id)))
	case aNetwork:
		if v.networks[k.id] > 0 {
			return orNil(networkView(tx.Networks().Get(k.id)))
		}
	case aService:
		return orNil(v.serviceView(tx, tx.Services().Get(k.id)))
	case anEndpoint:
		return orNil(v.endpointView(tx, k.id, tx.Tasks().Get(k.task)))
	case aRevision:
		if v.revisions[k.id] > 0 {
			return orNil(tx.Revisions().Get(k.id))
		}
	case aTask:
		if t := tx.Tasks().Get(k.id); v.mine(t) {
			return t
		}
	}
	return nil
}

// orNil turns a typed nil into a plain one.
func orNil[T any, P interface {
	*T
	proto.Message
}](m P) proto.Message {
	if m == nil {
		return nil
	}
	return m
}

// mine tells whether this node should know of a task, ended ones included: their containers stay until the row goes.
func (v view) mine(t *api.Task) bool {
	return t != nil && t.NodeId == v.node && t.DesiredState > api.TaskState_NEW && t.Status.GetState() >= api.TaskState_ASSIGNED
}

// active tells whether a task holds its addresses: it has a node and has not ended.
func active(t *api.Task) bool {
	s := t.Status.GetState()
	return t.NodeId != "" && s >= api.TaskState_ASSIGNED && s <= api.TaskState_RUNNING
}

// networkView leaves out what changes with each task.
func networkView(n *api.Network) *api.Network {
	if n == nil {
		return nil
	}
	return &api.Network{Id: n.Id, Spec: n.Spec, Ipam: n.Ipam, Vni: n.Vni}
}

func peerView(n *api.Node) *api.PeerView {
	if n == nil {
		return nil
	}
	return &api.PeerView{
		NodeId: n.Id, Hostname: n.Description.GetHostname(), DataPathAddr: n.Status.GetDataPathAddr(),
		GatewaySubnets: n.GatewaySubnets, Number: n.Number, Down: n.Status.GetState() == api.NodeStatus_DOWN,
		Addresses: n.Description.GetAddresses(),
	}
}

// serviceView leaves out what concerns networks this node is not on.
func (v view) serviceView(tx *store.Tx, s *api.Service) *api.ServiceView {
	if s == nil {
		return nil
	}
	m := &api.ServiceView{Id: s.Id, Name: s.Spec.GetName(), Dnsrr: s.Spec.GetEndpoint().GetMode() == api.EndpointSpec_DNSRR}
	for _, n := range s.Spec.GetNetworks() {
		if v.networks[n.Network] > 0 {
			m.Networks = append(m.Networks, n)
		}
	}
	for _, p := range s.Endpoint.GetPorts() {
		if p.Mode == api.PublishMode_INGRESS {
			m.Ports = append(m.Ports, p)
		}
	}
	for _, vip := range s.Endpoint.GetVirtualIps() {
		if v.networks[vip.NetworkId] > 0 {
			m.VirtualIps = append(m.VirtualIps, vip)
		}
	}
	if len(m.Networks) == 0 && len(m.Ports) == 0 && len(m.VirtualIps) == 0 && !v.lingers(tx, s) {
		return nil
	}
	return m
}

// lingers: tasks of a service that an update is taking off a network of this node are still there, and keep its name.
func (v view) lingers(tx *store.Tx, s *api.Service) bool {
	switch {
	case s.PreviousRevision == 0:
		return false
	case s.UpdateStatus.GetState() == api.UpdateStatus_COMPLETED, s.UpdateStatus.GetState() == api.UpdateStatus_ROLLBACK_COMPLETED:
		return false
	}
	for t := range tx.Tasks().All(store.ByService(s.Id)) {
		if active(t) && slices.ContainsFunc(t.Networks, func(a *api.NetworkAttachment) bool { return v.networks[a.NetworkId] > 0 }) {
			return true
		}
	}
	return false
}

// endpointView returns a task's place on a network, or its gateway addresses for the network "".
func (v view) endpointView(tx *store.Tx, network string, t *api.Task) *api.EndpointView {
	if t == nil || !active(t) {
		return nil
	}
	k := key{anEndpoint, network, t.Id}
	if network == "" {
		svc := tx.Services().Get(t.ServiceId)
		if !published(svc) || len(t.GatewayAddresses) == 0 {
			return nil
		}
		return v.shared.get(k, t, svc, func() *api.EndpointView {
			m := endpointOf(t, network)
			m.Addresses, m.Ports = withoutPrefix(t.GatewayAddresses), otherTargets(tx, svc, t)
			return m
		})
	}
	a := attachment(t, network)
	if v.networks[network] == 0 || len(a.GetAddresses()) == 0 {
		return nil
	}
	return v.shared.get(k, t, nil, func() *api.EndpointView {
		m := endpointOf(t, network)
		m.Addresses, m.Aliases = withoutPrefix(a.Addresses), a.Aliases
		return m
	})
}

func endpointOf(t *api.Task, network string) *api.EndpointView {
	return &api.EndpointView{
		NetworkId: network, TaskId: t.Id, ServiceId: t.ServiceId, NodeId: t.NodeId, Ready: ready(t), Name: ContainerName(t),
	}
}

// ready tells whether connections may be balanced to a task: it runs, it is healthy, it is meant to run.
func ready(t *api.Task) bool {
	if t.Status.State != api.TaskState_RUNNING || t.DesiredState > api.TaskState_RUNNING {
		return false
	}
	h := t.Status.Container.GetHealth()
	return h == "" || h == "healthy"
}

// published tells whether a service has ports that every node answers on.
func published(s *api.Service) bool {
	for _, p := range s.GetEndpoint().GetPorts() {
		if p.Mode == api.PublishMode_INGRESS {
			return true
		}
	}
	return false
}

// otherTargets are the service's published ports at which a task listens elsewhere: it is of a revision that said so.
func otherTargets(tx *store.Tx, svc *api.Service, t *api.Task) (out []*api.PortConfig) {
	if t.Revision == svc.Revision {
		return nil
	}
	for _, was := range tx.Revisions().Get(revisionID(t)).GetSpec().GetEndpoint().GetPorts() {
		for _, p := range svc.GetEndpoint().GetPorts() {
			same := p.Mode == api.PublishMode_INGRESS && was.Mode == p.Mode && was.PublishedPort == p.PublishedPort && protocol(was) == protocol(p)
			if same && was.TargetPort != p.TargetPort {
				out = append(out, &api.PortConfig{Protocol: protocol(p), PublishedPort: p.PublishedPort, TargetPort: was.TargetPort})
			}
		}
	}
	return out
}

func protocol(p *api.PortConfig) string { return strings.ToLower(cmp.Or(p.Protocol, "tcp")) }

func attachment(t *api.Task, network string) *api.NetworkAttachment {
	for _, a := range t.Networks {
		if a.NetworkId == network {
			return a
		}
	}
	return nil
}

func withoutPrefix(cidrs []string) []string {
	out := make([]string, 0, len(cidrs))
	for _, c := range cidrs {
		addr, _, _ := strings.Cut(c, "/")
		out = append(out, addr)
	}
	return out
}

// ContainerName is the name of a task's container on every node: SERVICE.SLOT.TASKID, or SERVICE.NODEID.TASKID for
// a global service.
func ContainerName(t *api.Task) string {
	if t.Slot == 0 {
		return t.ServiceName + "." + t.NodeId + "." + t.Id
	}
	return fmt.Sprintf("%s.%d.%s", t.ServiceName, t.Slot, t.Id)
}

func revisionID(t *api.Task) string { return fmt.Sprintf("%s.%d", t.ServiceId, t.Revision) }
