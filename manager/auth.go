package manager

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/dispatcher"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
	"github.com/shoal-dev/shoal/proto/known"
)

// who is a set of callers.
type who int

const (
	managers who = iota // managers and the local socket
	nodes               // every node with a valid certificate
	anyone              // also those that have none yet, or an expired one
)

// rule is what is known of a method. A method without a rule is refused.
type rule struct {
	who    who
	leader bool // only the leader can answer
	read   bool // changes nothing: may be asked again, and answered by a follower if there is no leader
	once   bool // done once, however often it is tried: the rows remember it (store.Request)
}

// rules is the whole of authorization and routing.
func rules() map[string]rule {
	r := map[string]rule{}
	for _, method := range api.Control_ServiceDesc.Methods {
		read := strings.HasPrefix(method.MethodName, "Get") || strings.HasPrefix(method.MethodName, "List")
		r["/"+api.Control_ServiceDesc.ServiceName+"/"+method.MethodName] = rule{who: managers, leader: true, read: read, once: !read}
	}
	for _, stream := range api.Control_ServiceDesc.Streams { // served from the local replica
		r["/"+api.Control_ServiceDesc.ServiceName+"/"+stream.StreamName] = rule{who: managers}
	}
	for _, method := range []string{
		api.Dispatcher_Session_FullMethodName,
		api.Dispatcher_Assignments_FullMethodName,
		api.Dispatcher_UpdateTaskStatus_FullMethodName,
		api.Dispatcher_LogSubscriptions_FullMethodName,
		api.Dispatcher_PublishLogs_FullMethodName,
	} {
		r[method] = rule{who: nodes}
	}
	r[api.Dispatcher_Register_FullMethodName] = rule{who: managers} // a manager speaks for its nodes
	r[api.CA_Issue_FullMethodName] = rule{who: anyone, leader: true}
	r[api.Membership_Join_FullMethodName] = rule{who: managers, leader: true}
	r[api.Membership_Leave_FullMethodName] = rule{who: managers, leader: true}
	r[api.Membership_Status_FullMethodName] = rule{who: managers}
	return r
}

type callerKind string

const (
	callerLocal callerKind = "local" // the daemon's own socket: root or its group
	callerNode  callerKind = "node"
	callerNone  callerKind = "none" // no certificate
)

// caller is where a request comes from.
type caller struct {
	kind      callerKind
	node      string // node ID
	role      identity.Role
	expired   bool
	forwarded bool   // by another manager: it must be answered here or not at all
	via       string // that manager's node ID, from its certificate
}

type callerKey struct{}

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) caller {
	if c, ok := ctx.Value(callerKey{}).(caller); ok {
		return c
	}
	return caller{kind: callerNone}
}

// callerID is the node ID of a request, "" if it comes from no node.
func callerID(ctx context.Context) string { return callerOf(ctx).node }

// mdCaller names, in a forwarded request, who asked first: KIND/NODE/ROLE.
const mdCaller = "shoal-caller"

func (c caller) String() string { return string(c.kind) + "/" + c.node + "/" + string(c.role) }

// identify reads the caller from the connection, and for a manager that forwards, from what it says.
func identify(ctx context.Context) caller {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller{kind: callerNone}
	}
	t, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return caller{kind: callerLocal}
	}
	info, ok := identity.Peer(t.State)
	if !ok {
		return caller{kind: callerNone}
	}
	c := caller{kind: callerNode, node: info.NodeID, role: info.Role, expired: time.Now().After(info.NotAfter)}
	if said := metadata.ValueFromIncomingContext(ctx, mdCaller); len(said) == 1 && c.role == identity.Manager && !c.expired {
		if f := strings.Split(said[0], "/"); len(f) == 3 {
			return caller{kind: callerKind(f[0]), node: f[1], role: identity.Role(f[2]), forwarded: true, via: c.node}
		}
	}
	return c
}

// authorize says whether a caller may call a method.
func (m *Manager) authorize(c caller, method string) error {
	if !m.raft.Started() {
		return status.Error(codes.Unavailable, "this manager is starting: try again in a moment")
	}
	if c.forwarded { // who asked first is the forwarding manager's word, and only as good as that manager
		if err := m.stillManager(c.via); err != nil {
			return err
		}
	}
	if c.kind == callerLocal {
		return nil
	}
	r, known := m.rules[method]
	switch {
	case !known:
		return status.Errorf(codes.PermissionDenied, "%s is not for other nodes", method)
	case r.who == anyone:
		return nil
	case c.kind == callerNone:
		return needsCertificate()
	case c.expired:
		return status.Errorf(codes.Unauthenticated, "the certificate of node %s has expired: the node must renew it", c.node)
	case r.who == nodes:
		return nil
	case c.role != identity.Manager:
		return status.Errorf(codes.PermissionDenied, "node %s is a worker: ask a manager's daemon", c.node)
	}
	return m.stillManager(c.node)
}

func needsCertificate() error {
	return status.Error(codes.Unauthenticated, "a certificate of this cluster is needed: use the socket of a daemon, or join first")
}

// stillManager refuses a manager's certificate that outlived the role.
func (m *Manager) stillManager(id string) error {
	if m.raft.IsMember(id) {
		return nil
	}
	var node *api.Node
	m.store.View(func(tx *store.Tx) { node = tx.Nodes().Get(id) })
	switch {
	case node != nil && node.GetSpec().GetRole() == api.NodeRole_MANAGER:
		return nil
	case node != nil:
		return status.Errorf(codes.PermissionDenied, "node %s is not a manager any more", id)
	case m.raft.IsLeader():
		return status.Errorf(codes.PermissionDenied, "node %s has been removed from the cluster", id)
	}
	return status.Errorf(codes.Unavailable, "node %s is not known to this manager yet: try again", id)
}

// misdirected sends back what another manager passed on to this one as the leader, which it is not any more. It may not know any
// more who is a manager either: whoever leaves the office to leave the cluster would be refused what it has asked for itself.
func (m *Manager) misdirected(ctx context.Context, c caller, method string) error {
	if !c.forwarded || !m.rules[method].leader || m.raft.Started() && m.raft.IsLeader() {
		return nil
	}
	grpc.SetTrailer(ctx, metadata.Pairs(mdRetry, "1"))
	return m.notTheLeader()
}

func (m *Manager) notTheLeader() error {
	return status.Errorf(codes.Unavailable, "manager %s is not the leader", m.cfg.Identity.NodeID())
}

// UnaryInterceptor checks a request and takes it to the leader if need be. Both servers, that of the cluster port and
// that of the local socket, use it.
func (m *Manager) UnaryInterceptor(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return m.rescued(info.FullMethod, func() (any, error) { return m.unary(ctx, req, info, handle) })
}

func (m *Manager) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	c := identify(ctx)
	if err := m.misdirected(ctx, c, info.FullMethod); err != nil {
		return nil, err
	}
	if err := m.authorize(c, info.FullMethod); err != nil {
		return nil, err
	}
	ctx = withCaller(ctx, c)
	if err := knows(info.FullMethod, req); err != nil {
		return nil, err
	}
	if m.rules[info.FullMethod].leader {
		return m.toLeader(ctx, info.FullMethod, req, handle)
	}
	return handle(ctx, req)
}

// knows refuses what a user asks for and this manager, older than the command or than the manager that has passed it on, would ignore.
// Nodes are not users: what a newer one says besides is not asked for.
func knows(method string, req any) error {
	msg, ok := req.(proto.Message)
	if !ok || !strings.HasPrefix(method, "/"+api.Control_ServiceDesc.ServiceName+"/") {
		return nil
	}
	if field := known.Missing(msg); field != "" {
		return status.Errorf(codes.Unimplemented, "%s, on the cluster's manager", field)
	}
	return nil
}

// StreamInterceptor checks a stream. Streams are served here, whoever leads.
func (m *Manager) StreamInterceptor(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	c := identify(s.Context())
	if err := m.authorize(c, info.FullMethod); err != nil {
		return err
	}
	_, err := m.rescued(info.FullMethod, func() (any, error) {
		return nil, handle(srv, stream{s, withCaller(s.Context(), c)})
	})
	return err
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

// nodeCaller is for services that talk to nodes only.
func (m *Manager) nodeCaller(ctx context.Context) (string, error) {
	c := callerOf(ctx)
	if c.kind != callerNode {
		return "", status.Error(codes.Unauthenticated, "this call is for nodes: it needs a node's certificate")
	}
	return c.node, nil
}

func (m *Manager) dispatcherCaller(ctx context.Context) (dispatcher.Peer, error) {
	id, err := m.nodeCaller(ctx)
	if err != nil {
		return dispatcher.Peer{}, err
	}
	p := dispatcher.Peer{NodeID: id}
	if callerOf(ctx).role == identity.Manager && m.stillManager(id) == nil {
		p.Role = api.NodeRole_MANAGER
	}
	return p, nil
}
