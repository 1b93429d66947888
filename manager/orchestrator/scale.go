package orchestrator

import (
	"cmp"
	"slices"

	"github.com/shoal-dev/shoal/proto/api"
)

// awaitsEndpoint: the allocator has not looked at the service yet. If it has and could not help, tasks are
// created and say why they wait.
func (p *pass) awaitsEndpoint() bool {
	if p.svc.Endpoint != nil || p.svc.AllocationError != "" {
		return false
	}
	if len(p.svc.GetSpec().GetEndpoint().GetPorts()) > 0 {
		return true
	}
	return slices.ContainsFunc(p.svc.GetSpec().GetNetworks(), func(a *api.NetworkAttachmentSpec) bool { return !nodeLocal(a.Network) })
}

// scale makes the slots as many as the spec asks for, or one on every node that a global service should be on.
func (p *pass) scale() {
	if p.svc.GetSpec().GetMode().GetGlobal() {
		p.scaleGlobal()
		return
	}
	wanted := p.wantedSlots()
	replicas := int(p.svc.GetSpec().GetMode().GetReplicas())
	switch {
	case len(wanted) < replicas:
		p.grow(replicas - len(wanted))
	case len(wanted) > replicas:
		for _, s := range surplus(wanted, len(wanted)-replicas) {
			p.dissolve(s)
		}
	}
}

// grow fills the lowest free numbers.
func (p *pass) grow(n int) {
	have := map[uint64]*slot{}
	for _, s := range p.slots {
		have[s.number] = s
	}
	for number := uint64(1); n > 0; number++ {
		s := have[number]
		if s != nil && s.wanted() {
			continue
		}
		if s == nil {
			s = &slot{number: number}
			p.slots = append(p.slots, s)
		}
		p.fill(s, p.svc.Revision, nil)
		n--
		if p.created >= maxCreated {
			p.comeBack(p.now)
			return
		}
	}
}

// dissolve stops all tasks of a slot and forgets its history.
func (p *pass) dissolve(s *slot) {
	for _, t := range s.tasks {
		p.want(t, api.TaskState_REMOVE)
	}
}

// surplus chooses n slots to give up: those that do not run, then from the nodes with the most
// tasks of the service; among equals the highest numbers.
func surplus(slots []*slot, n int) []*slot {
	byNode := map[string][]*slot{}
	var out []*slot
	for _, s := range slots {
		t := s.newest((*task).live)
		if !s.up() {
			out = append(out, s)
		} else {
			byNode[t.NodeId] = append(byNode[t.NodeId], s)
		}
	}
	slices.SortFunc(out, func(a, b *slot) int { return cmp.Compare(b.number, a.number) })
	for len(out) < n {
		most := ""
		for node, on := range byNode {
			best := byNode[most]
			if len(on) > len(best) || len(on) == len(best) && last(on).number > last(best).number {
				most = node
			}
		}
		on := byNode[most]
		out = append(out, last(on))
		if byNode[most] = on[:len(on)-1]; len(on) == 1 {
			delete(byNode, most)
		}
	}
	return out[:n]
}

// last returns the slot with the highest number: slots are in order.
func last(slots []*slot) *slot { return slots[len(slots)-1] }

// scaleGlobal wants one slot on every node that meets the service's demands.
func (p *pass) scaleGlobal() {
	rev := p.revision(p.svc.Revision)
	if rev == nil {
		return
	}
	have := map[string]*slot{}
	for _, s := range p.slots {
		have[s.node] = s
		if s.wanted() && p.health.mayKeep(s.node, rev.Spec) != "" {
			for _, t := range s.tasks {
				p.want(t, api.TaskState_SHUTDOWN)
			}
		}
	}
	for _, node := range p.health.order {
		s := have[node.Id]
		if s != nil && s.wanted() || !p.health.mayStart(node, rev.Spec) {
			continue
		}
		if s == nil {
			s = &slot{node: node.Id}
			p.slots = append(p.slots, s)
		}
		p.fill(s, p.svc.Revision, nil)
	}
}
