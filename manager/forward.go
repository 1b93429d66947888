package manager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

const (
	// electionWait is how long a request waits for a leader.
	electionWait = 5 * time.Second
	// patience is when it looks whether waiting has a point: an election takes about a second.
	patience = 2 * time.Second
	// answerGrace is for the last answers of a leader that hands over.
	answerGrace = 250 * time.Millisecond
	retryPause  = 50 * time.Millisecond
	connectWait = time.Second
	// catchUpWait is how long a reply waits for this replica, so that its caller sees here what it has just done.
	catchUpWait = time.Second
	probeWait   = 500 * time.Millisecond
)

// In a reply: mdRetry says that nothing was done, mdUnsure that nobody knows, mdIndex what the leader's store had reached. With a
// request that is passed on: mdRequest is its ID, mdAgain says that it was tried before.
const (
	mdRetry   = "shoal-retry"
	mdUnsure  = "shoal-unsure"
	mdIndex   = "shoal-index"
	mdRequest = "shoal-request"
	mdAgain   = "shoal-again"
)

// outcome is what is known of a request that was tried.
type outcome int

const (
	answered outcome = iota
	notDone          // it may be tried again
	unsure           // it may have been done
)

// toLeader answers a request if this manager leads, else has the leader answer it. While there is no leader it waits.
func (m *Manager) toLeader(ctx context.Context, method string, req any, handle grpc.UnaryHandler) (any, error) {
	c, r := callerOf(ctx), m.rules[method]
	ctx = withRequest(ctx, c, r)
	giveUp := func(err error) error { // what nobody knows, the user must look at
		if store.RequestOf(ctx).Again {
			return leaderLost()
		}
		return err
	}
	deadline, look := time.NewTimer(electionWait), time.NewTimer(patience)
	defer deadline.Stop()
	defer look.Stop()
	for {
		changed := m.raft.LeaderChanged()
		resp, known, err := m.attempt(ctx, method, r, req, handle)
		if known == answered {
			return resp, err
		}
		if c.forwarded {
			grpc.SetTrailer(ctx, metadata.Pairs(map[outcome]string{notDone: mdRetry, unsure: mdUnsure}[known], "1"))
			return nil, err
		}
		if known == unsure {
			ctx = store.WithRequest(ctx, store.Request{ID: store.RequestOf(ctx).ID, Again: true})
		}
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-look.C:
			if r.read {
				return handle(ctx, req) // what this manager knows is better than nothing
			}
			if answer, all := m.probe(ctx); answer < all/2+1 {
				return nil, giveUp(noLeader(answer, all, err))
			}
		case <-deadline.C:
			answer, all := m.probe(ctx)
			return nil, giveUp(noLeader(answer, all, err))
		case <-changed:
		case <-time.After(retryPause):
		}
	}
}

// withRequest names a request that is to be done once. That it was tried before is a forwarding manager's word.
func withRequest(ctx context.Context, c caller, r rule) context.Context {
	if !r.once {
		return ctx
	}
	req := store.Request{ID: id.New()}
	if said := metadata.ValueFromIncomingContext(ctx, mdRequest); c.forwarded && len(said) == 1 {
		req = store.Request{ID: said[0], Again: len(metadata.ValueFromIncomingContext(ctx, mdAgain)) > 0}
	}
	return store.WithRequest(ctx, req)
}

// attempt tries once.
func (m *Manager) attempt(ctx context.Context, method string, r rule, req any, handle grpc.UnaryHandler) (resp any, known outcome, err error) {
	if m.raft.IsLeader() {
		if err := m.raft.Barrier(ctx); err != nil { // a new leader first applies what was committed before
			return nil, notDone, status.Error(codes.Unavailable, err.Error())
		}
		resp, err = handle(ctx, req)
		switch {
		case notLeading(err):
			return nil, notDone, err
		case r.once && status.Code(err) == codes.Unknown: // store.ErrUnknown
			return nil, unsure, err
		}
		grpc.SetTrailer(ctx, metadata.Pairs(mdIndex, strconv.FormatUint(m.store.Index(), 10)))
		return resp, answered, err
	}
	if callerOf(ctx).forwarded {
		return nil, notDone, m.notTheLeader()
	}
	conn, err := m.leader(ctx)
	if err != nil {
		return nil, notDone, err
	}
	if store.RequestOf(ctx).Again {
		if known, err := mayAsk(ctx, conn); err != nil {
			return nil, known, err
		}
	}
	return m.invoke(ctx, conn, method, r, req)
}

func notLeading(err error) bool {
	return err != nil && (errors.Is(err, store.ErrNotLeader) || status.Code(err) == codes.Unavailable)
}

func leaderLost() error {
	return status.Error(codes.Unavailable, "the leader was lost while it worked on this: look whether it was done before repeating it")
}

// mayAsk says whether a leader, which may be of an older version, knows what requests have done: only then it is asked again.
func mayAsk(ctx context.Context, conn *grpc.ClientConn) (known outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	switch st, err := api.NewMembershipClient(conn).Status(ctx, &api.MembershipStatusRequest{}); {
	case err != nil:
		return notDone, err
	case !st.Requests:
		return answered, leaderLost()
	}
	return notDone, nil
}

// invoke sends a request on to the leader in its caller's name.
func (m *Manager) invoke(ctx context.Context, conn *grpc.ClientConn, method string, r rule, req any) (any, outcome, error) {
	reply, err := newReply(method)
	if err != nil {
		return nil, answered, err
	}
	out := metadata.Pairs(mdCaller, callerOf(ctx).String())
	if request := store.RequestOf(ctx); r.once {
		out.Set(mdRequest, request.ID)
		if request.Again {
			out.Set(mdAgain, "1")
		}
	}
	var trailer metadata.MD
	err = conn.Invoke(metadata.NewOutgoingContext(ctx, out), method, req, reply, grpc.Trailer(&trailer))
	if err == nil {
		m.catchUp(ctx, trailer)
		return reply, answered, nil
	}
	refused := len(trailer.Get(mdRetry)) > 0
	lost := status.Code(err) == codes.Unavailable || status.Code(err) == codes.Canceled && ctx.Err() == nil || len(trailer.Get(mdUnsure)) > 0
	switch {
	case refused || lost && r.read:
		return nil, notDone, err
	case lost && r.once:
		return nil, unsure, err
	case lost:
		return nil, answered, leaderLost()
	}
	return nil, answered, err
}

// catchUp waits until this replica has what the leader had when it answered.
func (m *Manager) catchUp(ctx context.Context, trailer metadata.MD) {
	v := trailer.Get(mdIndex)
	if len(v) == 0 {
		return
	}
	index, err := strconv.ParseUint(v[0], 10, 64)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	_ = m.store.Wait(ctx, index) // late is not wrong
}

// newReply makes an empty reply for a method like /shoal.api.Control/GetNode.
func newReply(method string) (proto.Message, error) {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil, status.Errorf(codes.Unimplemented, "forward %s: %v", method, err)
	}
	md, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, status.Errorf(codes.Unimplemented, "forward %s: not a method", method)
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(md.Output().FullName())
	if err != nil {
		return nil, status.Errorf(codes.Internal, "forward %s: %v", method, err)
	}
	return t.New().Interface(), nil
}

// leaderConn is the connection to the present leader.
type leaderConn struct {
	id, addr string
	conn     *grpc.ClientConn
}

// leaderClient is leader for those who only call.
func (m *Manager) leaderClient(ctx context.Context) (grpc.ClientConnInterface, error) {
	return m.leader(ctx)
}

// leader returns a connection to the leader that works, or did a moment ago.
func (m *Manager) leader(ctx context.Context) (*grpc.ClientConn, error) {
	id, addr := m.raft.Leader()
	if id == "" || addr == "" || id == m.cfg.Identity.NodeID() {
		return nil, status.Error(codes.Unavailable, "there is no leader at present")
	}
	conn, err := m.connTo(id, addr)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "connect to the leader: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	for {
		s := conn.GetState()
		switch s {
		case connectivity.Ready:
			return conn, nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return nil, status.Errorf(codes.Unavailable, "the leader %s does not answer at %s", id, addr)
		}
		conn.Connect()
		if !conn.WaitForStateChange(ctx, s) {
			return nil, status.Errorf(codes.Unavailable, "the leader %s does not answer at %s", id, addr)
		}
	}
}

func (m *Manager) connTo(id, addr string) (*grpc.ClientConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && m.conn.id == id && m.conn.addr == addr {
		return m.conn.conn, nil
	}
	conn, err := m.dialManager(addr, m.cfg.Identity.ClientTLS(id, protoGRPC))
	if err != nil {
		return nil, err
	}
	m.conn.closeSoon()
	m.conn = &leaderConn{id: id, addr: addr, conn: conn}
	return conn, nil
}

// closeSoon leaves a leader that hands over the time for its last answers.
func (c *leaderConn) closeSoon() {
	if c != nil {
		time.AfterFunc(answerGrace, func() { c.conn.Close() })
	}
}

func (m *Manager) dialManager(addr string, cfg *tls.Config) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)),
		grpc.WithContextDialer(m.cfg.dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: connectWait,
		}))
}

// dropOldLeader closes the connection to a leader that is none any more: what waits there would wait for long if its
// host is gone.
func (m *Manager) dropOldLeader(ctx context.Context) error {
	for {
		changed := m.raft.LeaderChanged()
		id, _ := m.raft.Leader()
		m.dropConn(id)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// dropConn closes the connection unless it is to the present leader.
func (m *Manager) dropConn(leader string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil && m.conn.id != leader {
		m.conn.closeSoon()
		m.conn = nil
	}
}

// noLeader says how many managers answer, and what to do.
func noLeader(answer, all int, last error) error {
	needed := all/2 + 1
	switch {
	case all == 0:
		return status.Error(codes.Unavailable, "this manager has not joined the others yet: try again in a moment")
	case answer >= needed:
		return status.Errorf(codes.Unavailable, "no leader yet: %d of %d managers answer, try again in a moment (%s)", answer, all, status.Convert(last).Message())
	}
	return status.Errorf(codes.Unavailable, "no leader: %d of %d managers answer and %d are needed: start the others, "+
		"or if they are lost for good run 'shoal cluster init --force-new-cluster' on one that answers", answer, all, needed)
}

// probe counts the managers that answer a handshake, this one included.
func (m *Manager) probe(ctx context.Context) (answer, all int) {
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	members := m.raft.Status().Voters()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range members {
		wg.Go(func() {
			err := m.handshake(ctx, p.ID, p.Addr)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				answer++
			}
		})
	}
	wg.Wait()
	return answer, len(members)
}

// handshake checks that a manager answers at an address.
func (m *Manager) handshake(ctx context.Context, id, addr string) error {
	if id == m.cfg.Identity.NodeID() {
		return nil
	}
	if addr == "" {
		return fmt.Errorf("the address of manager %s is not known", id)
	}
	c, err := m.dialTLS(ctx, addr, m.cfg.Identity.RaftTLS(id, protoGRPC))
	if err != nil {
		return err
	}
	return c.Close()
}
