package dispatcher

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// assignment is what one node was told, and finds what it must be told next. Its cost follows the changes: an event
// marks keys as dirty, only those are computed and compared. A nil list of events marks everything.
type assignment struct {
	view
	told   map[key]proto.Message
	onNet  map[string]map[string]struct{} // told endpoints: network to tasks
	active map[string]*api.Task           // this node's active tasks as counted in view
}

func newAssignment(node string, shared *endpoints) *assignment {
	return &assignment{
		view:   view{node: node, shared: shared, networks: map[string]int{}, revisions: map[string]int{}},
		told:   map[key]proto.Message{},
		onNet:  map[string]map[string]struct{}{},
		active: map[string]*api.Task{},
	}
}

// update returns what the node must be told to be up to date with tx, and remembers it as told.
func (a *assignment) update(tx *store.Tx, events []store.Event) []*api.Assignment {
	dirty := dirtySet{}
	if events == nil {
		a.everything(tx, dirty)
	}
	for _, e := range events {
		a.concerns(tx, e, dirty)
	}
	changes := make([]*api.Assignment, 0, len(dirty))
	for _, k := range dirty.sorted() {
		if c := a.compare(k, a.want(tx, k)); c != nil {
			changes = append(changes, c)
		}
	}
	return changes
}

// everything marks all that was told and all that may be wanted.
func (a *assignment) everything(tx *store.Tx, dirty dirtySet) {
	for k := range a.told {
		dirty.add(k)
	}
	mine := map[string]bool{}
	for t := range tx.Tasks().All(store.ByNode(a.node)) {
		mine[t.Id] = true
		a.count(tx, t.Id, dirty)
	}
	for id := range a.active {
		if !mine[id] {
			a.count(tx, id, dirty)
		}
	}
	for id := range a.networks {
		a.network(tx, id, dirty)
	}
	for id := range a.revisions {
		dirty.add(key{aRevision, id, ""})
	}
	for n := range tx.Nodes().All() {
		dirty.add(key{aPeer, n.Id, ""})
	}
	for s := range tx.Services().All() {
		dirty.add(key{aService, s.Id, ""})
		if published(s) {
			gateways(tx, s.Id, dirty)
		}
	}
}

// concerns marks what an event may change.
func (a *assignment) concerns(tx *store.Tx, e store.Event, dirty dirtySet) {
	m := e.New
	if m == nil {
		m = e.Old
	}
	switch o := m.(type) {
	case *api.Node:
		dirty.add(key{aPeer, o.Id, ""})
	case *api.Network:
		dirty.add(key{aNetwork, o.Id, ""})
	case *api.Revision:
		dirty.add(key{aRevision, o.Id, ""})
	case *api.Service:
		dirty.add(key{aService, o.Id, ""})
		old, _ := e.Old.(*api.Service)
		now := tx.Services().Get(o.Id)
		if published(old) != published(now) || old.GetRevision() != now.GetRevision() || !proto.Equal(old.GetEndpoint(), now.GetEndpoint()) {
			gateways(tx, o.Id, dirty)
		}
	case *api.Task:
		old, _ := e.Old.(*api.Task)
		if o.NodeId == a.node || old.GetNodeId() == a.node {
			a.count(tx, o.Id, dirty)
		}
		if now := tx.Tasks().Get(o.Id); (old != nil && active(old)) != (now != nil && active(now)) {
			dirty.add(key{aService, o.ServiceId, ""}) // it may keep its service's name
		}
		dirty.add(key{anEndpoint, "", o.Id})
		for _, n := range o.Networks {
			if a.networks[n.NetworkId] > 0 {
				dirty.add(key{anEndpoint, n.NetworkId, o.Id})
			}
		}
	}
}

// count brings the numbers of view up to date with one task of this node, and marks what that changes.
func (a *assignment) count(tx *store.Tx, id string, dirty dirtySet) {
	dirty.add(key{aTask, id, ""})
	t := tx.Tasks().Get(id)
	if t != nil && (!a.mine(t) || !active(t)) {
		t = nil
	}
	old := a.active[id]
	switch {
	case old == nil && t != nil:
		a.active[id] = t
		a.refer(tx, t, +1, dirty)
	case old != nil && t == nil:
		delete(a.active, id)
		a.refer(tx, old, -1, dirty)
	}
}

func (a *assignment) refer(tx *store.Tx, t *api.Task, by int, dirty dirtySet) {
	if add(a.revisions, revisionID(t), by) {
		dirty.add(key{aRevision, revisionID(t), ""})
	}
	for _, n := range t.Networks {
		if add(a.networks, n.NetworkId, by) {
			a.network(tx, n.NetworkId, dirty)
		}
	}
}

// add changes a count and tells whether it went to or came from zero.
func add(counts map[string]int, id string, by int) bool {
	was := counts[id]
	counts[id] += by
	if counts[id] == 0 {
		delete(counts, id)
	}
	return was == 0 || was+by == 0
}

// network marks a whole network: the node joins or leaves it.
func (a *assignment) network(tx *store.Tx, id string, dirty dirtySet) {
	dirty.add(key{aNetwork, id, ""})
	for task := range a.onNet[id] {
		dirty.add(key{anEndpoint, id, task})
	}
	for t := range tx.Tasks().All(store.ByNetwork(id)) {
		dirty.add(key{anEndpoint, id, t.Id})
		dirty.add(key{aService, t.ServiceId, ""})
	}
	for s := range tx.Services().All(store.ByNetwork(id)) {
		dirty.add(key{aService, s.Id, ""})
	}
}

func gateways(tx *store.Tx, service string, dirty dirtySet) {
	for t := range tx.Tasks().All(store.ByService(service)) {
		dirty.add(key{anEndpoint, "", t.Id})
	}
}

// compare remembers want as told and returns the change to send, nil if the node knows it already.
func (a *assignment) compare(k key, want proto.Message) *api.Assignment {
	told := a.told[k]
	switch {
	case want == nil && told == nil, want != nil && told != nil && same(told, want):
		return nil
	case want == nil:
		delete(a.told, k)
		if k.kind == anEndpoint {
			delete(a.onNet[k.id], k.task)
		}
		return removal(k)
	}
	a.told[k] = want
	if k.kind == anEndpoint {
		if a.onNet[k.id] == nil {
			a.onNet[k.id] = map[string]struct{}{}
		}
		a.onNet[k.id][k.task] = struct{}{}
	}
	return addition(want)
}

// same tells whether there is nothing to tell. A task's status is the agent's own word: it is not sent back to it,
// except where managers have given the task up.
func same(told, want proto.Message) bool {
	if told == want {
		return true
	}
	t, ok := told.(*api.Task)
	if !ok {
		return proto.Equal(told, want)
	}
	w := want.(*api.Task)
	return t.DesiredState == w.DesiredState && proto.Equal(t.NotBefore, w.NotBefore) &&
		(t.Status.GetState() == api.TaskState_ORPHANED) == (w.Status.GetState() == api.TaskState_ORPHANED) &&
		slices.Equal(t.GatewayAddresses, w.GatewayAddresses) && equalAll(t.Networks, w.Networks) && equalAll(t.HostPorts, w.HostPorts)
}

func equalAll[T proto.Message](a, b []T) bool {
	return slices.EqualFunc(a, b, func(x, y T) bool { return proto.Equal(x, y) })
}

func addition(m proto.Message) *api.Assignment {
	switch o := m.(type) {
	case *api.PeerView:
		return &api.Assignment{Kind: &api.Assignment_Peer{Peer: o}}
	case *api.Network:
		return &api.Assignment{Kind: &api.Assignment_Network{Network: o}}
	case *api.ServiceView:
		return &api.Assignment{Kind: &api.Assignment_Service{Service: o}}
	case *api.EndpointView:
		return &api.Assignment{Kind: &api.Assignment_Endpoint{Endpoint: o}}
	case *api.Revision:
		return &api.Assignment{Kind: &api.Assignment_Revision{Revision: o}}
	}
	return &api.Assignment{Kind: &api.Assignment_Task{Task: m.(*api.Task)}}
}

func removal(k key) *api.Assignment {
	var a *api.Assignment
	switch k.kind {
	case aPeer:
		a = addition(&api.PeerView{NodeId: k.id})
	case aNetwork:
		a = addition(&api.Network{Id: k.id})
	case aService:
		a = addition(&api.ServiceView{Id: k.id})
	case anEndpoint:
		a = addition(&api.EndpointView{NetworkId: k.id, TaskId: k.task})
	case aRevision:
		a = addition(&api.Revision{Id: k.id})
	case aTask:
		a = addition(&api.Task{Id: k.id})
	}
	a.Remove = true
	return a
}

// dirtySet is the keys to look at again.
type dirtySet map[key]struct{}

func (d dirtySet) add(k key) { d[k] = struct{}{} }

func (d dirtySet) sorted() []key {
	out := make([]key, 0, len(d))
	for k := range d {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id), cmp.Compare(a.task, b.task))
	})
	return out
}
