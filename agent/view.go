//go:build linux

package agent

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/shoal-dev/shoal/agent/db"
	"github.com/shoal-dev/shoal/proto/api"
)

// view is what this node was told, beside its tasks' rows: networks and who is on them.
type view struct {
	node string

	mu        sync.Mutex
	tasks     map[string]*api.Task
	revisions map[string]*api.Revision
	networks  map[string]*api.Network
	endpoints map[string]*api.EndpointView // by db.Key
	services  map[string]*api.ServiceView
	peers     map[string]*api.PeerView
}

func newView(node string) *view {
	v := &view{node: node}
	v.clear()
	return v
}

func (v *view) clear() {
	v.tasks = map[string]*api.Task{}
	v.revisions = map[string]*api.Revision{}
	v.networks = map[string]*api.Network{}
	v.endpoints = map[string]*api.EndpointView{}
	v.services = map[string]*api.ServiceView{}
	v.peers = map[string]*api.PeerView{}
}

// apply takes changes in and returns the tasks that were touched, and whether anything else was.
func (v *view) apply(complete bool, changes []*api.Assignment) (tasks map[string]bool, network bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	tasks = map[string]bool{}
	if complete {
		for id := range v.tasks {
			tasks[id] = true
		}
		v.clear()
		network = true
	}
	for _, a := range changes {
		switch k := a.Kind.(type) {
		case *api.Assignment_Task:
			set(v.tasks, k.Task.Id, k.Task, a.Remove)
			tasks[k.Task.Id] = true
			continue
		case *api.Assignment_Revision:
			set(v.revisions, k.Revision.Id, k.Revision, a.Remove)
			continue
		case *api.Assignment_Network:
			set(v.networks, k.Network.Id, k.Network, a.Remove)
		case *api.Assignment_Endpoint:
			set(v.endpoints, db.Key(a), k.Endpoint, a.Remove)
		case *api.Assignment_Service:
			set(v.services, k.Service.Id, k.Service, a.Remove)
		case *api.Assignment_Peer:
			set(v.peers, k.Peer.NodeId, k.Peer, a.Remove)
		}
		network = true
	}
	return tasks, network
}

func set[T any](m map[string]T, key string, value T, remove bool) {
	if remove {
		delete(m, key)
		return
	}
	m[key] = value
}

func (v *view) task(id string) *api.Task {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tasks[id]
}

func (v *view) all() (tasks []*api.Task) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.tasks {
		tasks = append(tasks, t)
	}
	return tasks
}

// others are the removals of all services and endpoints.
func (v *view) others() (out []*api.Assignment) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.services {
		out = append(out, &api.Assignment{Kind: &api.Assignment_Service{Service: s}, Remove: true})
	}
	for _, e := range v.endpoints {
		out = append(out, &api.Assignment{Kind: &api.Assignment_Endpoint{Endpoint: e}, Remove: true})
	}
	return out
}

// revisionOf is the version of its service that a task is of; nil: not known.
func (v *view) revisionOf(t *api.Task) *api.Revision {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revisions[fmt.Sprintf("%s.%d", t.ServiceId, t.Revision)]
}

// nameservers is where DNS answers a task: the gateway of its first network, or of this node's own bridge.
func (v *view) nameservers(t *api.Task) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []string
	if len(t.Networks) > 0 {
		for _, c := range v.networks[t.Networks[0].NetworkId].GetIpam() {
			if c.Gateway != "" {
				out = append(out, c.Gateway)
			}
		}
		return out
	}
	for _, g := range v.peers[v.node].GetGatewaySubnets() {
		if p, err := netip.ParsePrefix(g); err == nil {
			out = append(out, p.Masked().Addr().Next().String())
		}
	}
	return out
}

// drainable tells whether stopping a task gently makes sense: connections that come to it can go to another
// task of its service instead.
func (v *view) drainable(t *api.Task) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	mine, others := false, false
	for _, e := range v.endpoints {
		if e.ServiceId != t.ServiceId {
			continue
		}
		mine = mine || e.TaskId == t.Id
		others = others || (e.TaskId != t.Id && e.Ready)
	}
	return mine && others
}
