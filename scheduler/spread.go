package scheduler

import (
	"cmp"
	"container/heap"

	"github.com/shoal-dev/shoal/proto/api"
)

// tree pours tasks over nodes. An inner branch stands for one value of a placement preference
// (rack a, rack b), a leaf for a node. Every level is a heap whose root is the child that
// should get the next task, so that one task costs the depth times the logarithm of the width.
type tree struct {
	service  string
	node     *candidate // leaf
	children []*tree    // a heap; children without room are dropped
	tasks    int        // wanted tasks of the service on the nodes below
	path     []*tree    // root only: the branches that the last take went through
}

// newTree groups the nodes by the preferences, outermost first.
func newTree(service string, prefs []*api.PlacementPreference, nodes []candidate) *tree {
	t := &tree{service: service}
	if len(prefs) == 0 {
		for i := range nodes {
			leaf := &tree{service: service, node: &nodes[i], tasks: nodes[i].services[service]}
			t.add(leaf)
		}
		heap.Init(t)
		return t
	}
	groups := map[string][]candidate{}
	var values []string // in order of appearance, so that the answer does not depend on the map
	for _, n := range nodes {
		v := n.facts.Get(prefs[0].Spread)
		if _, seen := groups[v]; !seen {
			values = append(values, v)
		}
		groups[v] = append(groups[v], n)
	}
	for _, v := range values {
		t.add(newTree(service, prefs[1:], groups[v]))
	}
	heap.Init(t)
	return t
}

func (t *tree) add(child *tree) {
	t.children = append(t.children, child)
	t.tasks += child.tasks
}

// take returns the node for the next task, nil if all are full. settle must follow once the
// task has been counted on the node.
func (t *tree) take() *node {
	t.path = t.path[:0]
	b := t
	for b.node == nil {
		if len(b.children) == 0 {
			return nil
		}
		t.path = append(t.path, b)
		b = b.children[0]
	}
	b.node.room--
	return b.node.node
}

// settle puts the branches of the last take in order again, innermost first.
func (t *tree) settle() {
	for i := len(t.path) - 1; i >= 0; i-- {
		b := t.path[i]
		child := b.children[0]
		if child.node != nil {
			child.tasks++
		}
		b.tasks++
		if child.full() {
			heap.Pop(b)
		} else {
			heap.Fix(b, 0)
		}
	}
}

func (t *tree) full() bool {
	if t.node != nil {
		return t.node.room <= 0
	}
	return len(t.children) == 0
}

// less orders two branches of one level by who should get a task first. Branches with
// equally many tasks are ordered by the node that each would take.
func (t *tree) less(o *tree) bool {
	if t.tasks != o.tasks {
		return t.tasks < o.tasks
	}
	t, o = t.leaf(), o.leaf()
	a, b := t.node, o.node
	return cmp.Or(
		cmp.Compare(t.tasks, o.tasks),
		cmp.Compare(a.wanted, b.wanted),
		cmp.Compare(b.freeMemory(), a.freeMemory()),
		cmp.Compare(b.freeCPU(), a.freeCPU()),
		cmp.Compare(a.id, b.id),
	) < 0
}

// leaf is the node that the branch would take next. Branches without room are not in any heap.
func (t *tree) leaf() *tree {
	for t.node == nil {
		t = t.children[0]
	}
	return t
}

func (t *tree) Len() int           { return len(t.children) }
func (t *tree) Less(i, j int) bool { return t.children[i].less(t.children[j]) }
func (t *tree) Swap(i, j int)      { t.children[i], t.children[j] = t.children[j], t.children[i] }
func (t *tree) Push(x any)         { t.children = append(t.children, x.(*tree)) }
func (t *tree) Pop() any {
	last := t.children[len(t.children)-1]
	t.children = t.children[:len(t.children)-1]
	return last
}
