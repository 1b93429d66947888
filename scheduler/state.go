package scheduler

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/shoal-dev/shoal/internal/constraint"
	"github.com/shoal-dev/shoal/internal/ipam"
	"github.com/shoal-dev/shoal/proto/api"
)

// State is what is known of the nodes and of the tasks on them. One goroutine may use it at a time.
type State struct {
	nodes map[string]*node
	order []*node // by ID; nil: to be sorted again
	tasks map[string]Task
}

// Task is what a task takes from a node.
type Task struct {
	ID        string
	ServiceID string
	NodeID    string
	Reserved  *api.Resources
	HostPorts []*api.PortConfig // mode HOST only
	Routable  bool              // has an address on the node's gateway subnet
	// Wanted tasks count for the spread. One that is being stopped is not wanted, but holds
	// what it has until it has ended and is removed.
	Wanted bool
}

// node is a node with the sums over its tasks.
type node struct {
	id       string
	row      *api.Node
	facts    constraint.Facts
	gateways int // addresses for tasks on the gateway subnet, -1: there is no subnet yet

	tasks    map[string]Task
	wanted   int
	services map[string]int // wanted tasks by service
	routable int
	ports    map[string]int // uses of PORT/PROTOCOL
	cpu, mem int64          // reserved
}

// NewState returns a State without nodes.
func NewState() *State {
	return &State{nodes: map[string]*node{}, tasks: map[string]Task{}}
}

// SetNode adds a node or takes note of its new row. Its tasks stay.
func (s *State) SetNode(row *api.Node) {
	n := s.node(row.GetId())
	n.row, n.facts, n.gateways = row, FactsOf(row), gatewayRoom(row.GetGatewaySubnets())
}

// node finds or makes an entry: tasks may be seen before the row of their node.
func (s *State) node(id string) *node {
	n := s.nodes[id]
	if n == nil {
		n = &node{id: id, tasks: map[string]Task{}, services: map[string]int{}, ports: map[string]int{}}
		s.nodes[id] = n
		s.order = nil
	}
	return n
}

// RemoveNode forgets a node's row. Its tasks are remembered until they are removed.
func (s *State) RemoveNode(id string) {
	if n := s.nodes[id]; n != nil {
		n.row = nil
	}
	s.dropEmpty(id)
}

func (s *State) dropEmpty(id string) {
	if n := s.nodes[id]; n != nil && n.row == nil && len(n.tasks) == 0 {
		delete(s.nodes, id)
		s.order = nil
	}
}

// SetTask adds a task to its node or takes note of what has changed, its node included.
func (s *State) SetTask(t Task) {
	s.RemoveTask(t.ID)
	if t.NodeID != "" {
		s.tasks[t.ID] = t
		s.node(t.NodeID).count(t, 1)
	}
}

// RemoveTask gives back what a task had. Unknown tasks are no error.
func (s *State) RemoveTask(id string) {
	t, ok := s.tasks[id]
	if !ok {
		return
	}
	delete(s.tasks, id)
	s.nodes[t.NodeID].count(t, -1)
	s.dropEmpty(t.NodeID)
}

func (n *node) count(t Task, d int) {
	if d > 0 {
		n.tasks[t.ID] = t
	} else {
		delete(n.tasks, t.ID)
	}
	if t.Wanted {
		n.wanted += d
		if n.services[t.ServiceID] += d; n.services[t.ServiceID] == 0 {
			delete(n.services, t.ServiceID)
		}
	}
	if t.Routable {
		n.routable += d
	}
	for _, p := range t.HostPorts {
		if key := portKey(p); p.PublishedPort != 0 {
			if n.ports[key] += d; n.ports[key] == 0 {
				delete(n.ports, key)
			}
		}
	}
	n.cpu += int64(d) * t.Reserved.GetNanoCpus()
	n.mem += int64(d) * t.Reserved.GetMemoryBytes()
}

func (n *node) freeCPU() int64 { return n.row.GetDescription().GetResources().GetNanoCpus() - n.cpu }

func (n *node) freeMemory() int64 {
	return n.row.GetDescription().GetResources().GetMemoryBytes() - n.mem
}

func (s *State) sorted() []*node {
	if s.order == nil {
		s.order = make([]*node, 0, len(s.nodes))
		for _, n := range s.nodes {
			s.order = append(s.order, n)
		}
		slices.SortFunc(s.order, func(a, b *node) int { return cmp.Compare(a.id, b.id) })
	}
	return s.order
}

func portKey(p *api.PortConfig) string {
	proto := strings.ToLower(p.Protocol)
	if proto == "" {
		proto = "tcp"
	}
	return fmt.Sprintf("%d/%s", p.PublishedPort, proto)
}

// gatewayRoom is how many tasks the smallest of a node's gateway subnets has addresses for.
func gatewayRoom(subnets []string) int {
	room := -1
	for _, s := range subnets {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			continue
		}
		if c := ipam.Capacity(p); room < 0 || c < room {
			room = c
		}
	}
	return room
}
