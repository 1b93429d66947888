package store

import (
	"strconv"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// Names of the kinds of rows, as Watch, Follow and the Control API use them.
const (
	KindCluster  = "cluster"
	KindNode     = "node"
	KindService  = "service"
	KindRevision = "revision"
	KindTask     = "task"
	KindNetwork  = "network"
)

// Names of the indexes. Every table has indexID; see tables for the others.
const (
	indexID      = "id"
	indexName    = "name"
	indexService = "service"
	indexNode    = "node"
	indexSlot    = "slot"
	indexNetwork = "network"
	indexRequest = "request"
)

// row is what every object of the store can do.
type row interface {
	proto.Message
	GetId() string
	GetMeta() *api.Meta
}

// table describes one kind: how to find its rows and whether names are taken once only.
type table struct {
	kind       string
	uniqueName bool
	indexes    map[string]func(row) []string
}

// tables is the list of all kinds. A new kind is a line here, a case in rowOf, objectOf and
// setMeta, and an accessor of Tx.
func tables() []table {
	return []table{
		{kind: KindCluster, uniqueName: true, indexes: map[string]func(row) []string{
			indexName:    func(r row) []string { return []string{r.(*api.Cluster).GetSpec().GetName()} },
			indexRequest: requestIndex,
		}},
		{kind: KindNode, indexes: map[string]func(row) []string{
			indexName:    nodeNames,
			indexRequest: requestIndex,
		}},
		{kind: KindService, uniqueName: true, indexes: map[string]func(row) []string{
			indexName:    func(r row) []string { return []string{r.(*api.Service).GetSpec().GetName()} },
			indexNetwork: serviceNetworks,
			indexRequest: requestIndex,
		}},
		{kind: KindRevision, indexes: map[string]func(row) []string{
			indexService: func(r row) []string { return []string{r.(*api.Revision).ServiceId} },
			indexNetwork: revisionNetworks,
		}},
		{kind: KindTask, indexes: map[string]func(row) []string{
			indexService: func(r row) []string { return []string{r.(*api.Task).ServiceId} },
			indexNode:    func(r row) []string { return []string{r.(*api.Task).NodeId} },
			indexSlot:    func(r row) []string { return []string{slotKey(r.(*api.Task).ServiceId, r.(*api.Task).Slot)} },
			indexNetwork: taskNetworks,
		}},
		{kind: KindNetwork, uniqueName: true, indexes: map[string]func(row) []string{
			indexName:    func(r row) []string { return []string{r.(*api.Network).GetSpec().GetName()} },
			indexRequest: requestIndex,
		}},
	}
}

func slotKey(service string, slot uint64) string {
	return service + "." + strconv.FormatUint(slot, 10)
}

// nodeNames: a node answers to the name it was given and to its hostname.
func nodeNames(r row) []string {
	n := r.(*api.Node)
	return []string{n.GetSpec().GetName(), n.GetDescription().GetHostname()}
}

func serviceNetworks(r row) []string {
	s := r.(*api.Service)
	var keys []string
	for _, n := range s.GetSpec().GetNetworks() {
		keys = append(keys, n.Network)
	}
	for _, v := range s.GetEndpoint().GetVirtualIps() {
		keys = append(keys, v.NetworkId)
	}
	return keys
}

func revisionNetworks(r row) []string {
	var keys []string
	for _, n := range r.(*api.Revision).GetSpec().GetNetworks() {
		keys = append(keys, n.Network)
	}
	return keys
}

func taskNetworks(r row) []string {
	t := r.(*api.Task)
	keys := make([]string, 0, len(t.Networks))
	for _, n := range t.Networks {
		keys = append(keys, n.NetworkId)
	}
	return keys
}

// rowOf takes the row out of its wire form; nil if there is none.
func rowOf(o *api.Object) (kind string, r row) {
	switch k := o.GetKind().(type) {
	case *api.Object_Cluster:
		return KindCluster, k.Cluster
	case *api.Object_Node:
		return KindNode, k.Node
	case *api.Object_Service:
		return KindService, k.Service
	case *api.Object_Revision:
		return KindRevision, k.Revision
	case *api.Object_Task:
		return KindTask, k.Task
	case *api.Object_Network:
		return KindNetwork, k.Network
	}
	return "", nil
}

// objectOf is the inverse of rowOf.
func objectOf(r row) *api.Object {
	switch r := r.(type) {
	case *api.Cluster:
		return &api.Object{Kind: &api.Object_Cluster{Cluster: r}}
	case *api.Node:
		return &api.Object{Kind: &api.Object_Node{Node: r}}
	case *api.Service:
		return &api.Object{Kind: &api.Object_Service{Service: r}}
	case *api.Revision:
		return &api.Object{Kind: &api.Object_Revision{Revision: r}}
	case *api.Task:
		return &api.Object{Kind: &api.Object_Task{Task: r}}
	case *api.Network:
		return &api.Object{Kind: &api.Object_Network{Network: r}}
	}
	return nil
}

func setMeta(r row, m *api.Meta) {
	switch r := r.(type) {
	case *api.Cluster:
		r.Meta = m
	case *api.Node:
		r.Meta = m
	case *api.Service:
		r.Meta = m
	case *api.Revision:
		r.Meta = m
	case *api.Task:
		r.Meta = m
	case *api.Network:
		r.Meta = m
	}
}

// deleted is the smallest object that names a row to delete.
func deleted(r row) row {
	id := r.GetId()
	switch r.(type) {
	case *api.Cluster:
		return &api.Cluster{Id: id}
	case *api.Node:
		return &api.Node{Id: id}
	case *api.Service:
		return &api.Service{Id: id}
	case *api.Revision:
		return &api.Revision{Id: id}
	case *api.Task:
		return &api.Task{Id: id}
	case *api.Network:
		return &api.Network{Id: id}
	}
	return nil
}

// ObjectOf wraps a row for the wire; nil if m is not a row.
func ObjectOf(m proto.Message) *api.Object {
	r, ok := m.(row)
	if !ok {
		return nil
	}
	return objectOf(r)
}

// KindOf is the name of a row's kind, "" if m is not a row.
func KindOf(m proto.Message) string {
	kind, _ := rowOf(ObjectOf(m))
	return kind
}

// newMemory makes empty tables.
func newMemory(defs map[string]*table) *memdb.MemDB {
	schema := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{tableState: stateSchema()}}
	for kind, def := range defs {
		ts := &memdb.TableSchema{Name: kind, Indexes: map[string]*memdb.IndexSchema{
			indexID: {Name: indexID, Unique: true, Indexer: idIndexer{}},
		}}
		for name, keys := range def.indexes {
			ts.Indexes[name] = &memdb.IndexSchema{Name: name, AllowMissing: true, Indexer: keyIndexer{keys}}
		}
		schema.Tables[kind] = ts
	}
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		panic(err) // the schema above is constant: a test would have seen it
	}
	return db
}
