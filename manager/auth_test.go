package manager

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/ca"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// call makes an empty request of a method, stream or not, and returns its error.
func call(conn *grpc.ClientConn, method string, stream bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	reply, err := newReply(method)
	if err != nil {
		return err
	}
	if !stream {
		// Every request type reads an empty message as one of its own.
		return conn.Invoke(ctx, method, &api.ListNodesRequest{}, reply)
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := s.SendMsg(&api.ListNodesRequest{}); err != nil && err != io.EOF {
		return err
	}
	return s.RecvMsg(reply)
}

func refused(err error) bool {
	return status.Code(err) == codes.PermissionDenied || status.Code(err) == codes.Unauthenticated
}

// Every method of every service on the cluster port, called with every kind of certificate.
func TestWhoMayCallWhat(t *testing.T) {
	a := newInit(t)
	eventually(t, "a leader", a.leads)
	workerID, _, err := ca.Join(t.Context(), t.TempDir(), a.addr(), a.cluster().WorkerToken)
	check(t, err)
	worker := a.client(workerID.ClientTLS("", protoGRPC))
	stranger := a.client(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{protoGRPC}})
	expired := a.client(expiredWorker(t, a).ClientTLS("", protoGRPC))

	forWorkers := map[string]bool{
		api.Dispatcher_Session_FullMethodName: true, api.Dispatcher_Assignments_FullMethodName: true,
		api.Dispatcher_UpdateTaskStatus_FullMethodName: true, api.Dispatcher_LogSubscriptions_FullMethodName: true,
		api.Dispatcher_PublishLogs_FullMethodName: true, api.CA_Issue_FullMethodName: true,
	}
	for service, info := range a.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			method, stream := "/"+service+"/"+m.Name, m.IsClientStream || m.IsServerStream
			if _, ok := a.rules[method]; !ok {
				t.Errorf("%s has no rule", method)
			}
			if !forWorkers[method] {
				if err := call(worker, method, stream); !refused(err) {
					t.Errorf("a worker calls %s: %v", method, err)
				}
			}
			if method != api.CA_Issue_FullMethodName {
				if err := call(stranger, method, stream); !refused(err) {
					t.Errorf("somebody without a certificate calls %s: %v", method, err)
				}
				if err := call(expired, method, stream); !refused(err) {
					t.Errorf("an expired node calls %s: %v", method, err)
				}
			}
		}
	}
	if err := call(worker, api.Dispatcher_UpdateTaskStatus_FullMethodName, false); refused(err) {
		t.Errorf("a worker may not report: %v", err)
	}
	// A worker that claims to forward for somebody is still a worker.
	forged := metadata.AppendToOutgoingContext(t.Context(), mdCaller, caller{kind: callerLocal}.String())
	if _, err := api.NewControlClient(worker).ListNodes(forged, &api.ListNodesRequest{}); !refused(err) {
		t.Errorf("a worker with a forged caller: %v", err)
	}
}

// expiredWorker is a node of the cluster that was off for too long.
func expiredWorker(t *testing.T, a *host) *identity.Identity {
	t.Helper()
	c := a.cluster()
	root, err := ca.ParseRoot(c.CaCert, c.CaKey)
	check(t, err)
	key, err := identity.NewKey()
	check(t, err)
	csr, err := identity.NewRequest(key)
	check(t, err)
	node := &api.Node{Id: "sleeper", Spec: &api.NodeSpec{}}
	check(t, a.store.Update(t.Context(), func(tx *store.Tx) error { return tx.Nodes().Create(node) }))
	cert, err := root.Sign(csr, node.Id, c.Id, identity.Worker, -time.Minute)
	check(t, err)
	i, err := identity.New(t.TempDir(), cert, key, c.CaCert)
	check(t, err)
	return i
}

func TestExpiredNodeRenews(t *testing.T) {
	a := newInit(t)
	eventually(t, "a leader", a.leads)
	i := expiredWorker(t, a)
	check(t, renewThrough(t.Context(), a, i))
	if !i.Info().NotAfter.After(time.Now()) {
		t.Errorf("valid until %v", i.Info().NotAfter)
	}
}

func TestRaftIsForManagers(t *testing.T) {
	a := newInit(t)
	eventually(t, "a leader", a.leads)
	for name, token := range map[string]string{"worker": a.cluster().WorkerToken, "manager that is no member": a.cluster().ManagerToken} {
		i, _, err := ca.Join(t.Context(), t.TempDir(), a.addr(), token)
		check(t, err)
		c, err := tls.Dial("tcp", a.addr(), i.RaftTLS("", protoRaft))
		check(t, err)
		c.SetDeadline(time.Now().Add(longest))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a raft stream of a %s: %v, want it closed", name, err)
		}
		c.Close()
	}
}

func TestTokensAreChecked(t *testing.T) {
	a, b := newInit(t), newInit(t)
	eventually(t, "leaders", func() bool { return a.leads() && b.leads() })
	join := func(token string) error {
		_, _, err := ca.Join(t.Context(), t.TempDir(), a.addr(), token)
		return err
	}
	if err := join(b.cluster().WorkerToken); err == nil || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("token of another cluster: %v", err)
	}
	old := a.cluster().WorkerToken
	_, err := a.control().UpdateCluster(t.Context(), &api.UpdateClusterRequest{RotateWorkerToken: true})
	check(t, err)
	if err := join(old); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "rotated") {
		t.Errorf("rotated token: %v", err)
	}
	check(t, join(a.cluster().WorkerToken))
}

func TestLocalSocketMayDoEverything(t *testing.T) {
	a := newInit(t)
	eventually(t, "a leader", a.leads)
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(a.UnaryInterceptor), grpc.ChainStreamInterceptor(a.StreamInterceptor))
	a.Register(srv)
	l, err := net.Listen("unix", t.TempDir()+"/s")
	check(t, err)
	go srv.Serve(l)
	defer srv.Stop()
	conn, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	defer conn.Close()
	made(t, api.NewControlClient(conn), "n")
	newer := &api.CreateNetworkRequest{Spec: &api.NetworkSpec{Name: "newer"}}
	newer.Spec.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 3000, protowire.VarintType), 1))
	if _, err := api.NewControlClient(conn).CreateNetwork(t.Context(), newer); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "field 3000 of NetworkSpec") {
		t.Errorf("a request with what only a newer version knows: %v", err)
	}
	r, err := api.NewMembershipClient(conn).Status(t.Context(), &api.MembershipStatusRequest{})
	if err != nil || len(r.Members) != 1 || r.LeaderId != a.id.NodeID() {
		t.Errorf("status: %v, %v", r, err)
	}
}

// A certificate lives for months. One of a manager that was demoted or removed must be worth no more than its row, whoever
// it says that it speaks for.
func TestManagerOfOldIsNoManager(t *testing.T) {
	a := newInit(t)
	eventually(t, "a leader", a.leads)
	old, _, err := ca.Join(t.Context(), t.TempDir(), a.addr(), a.cluster().ManagerToken)
	check(t, err)
	conn := a.client(old.ClientTLS("", protoGRPC))
	as := func(c caller) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), mdCaller, c.String())
	}
	_, err = api.NewControlClient(conn).ListNodes(as(caller{kind: callerLocal}), &api.ListNodesRequest{})
	check(t, err) // as long as it is a manager it may pass requests on

	task := &api.Task{Id: "t", NodeId: "other", Status: &api.TaskStatus{State: api.TaskState_RUNNING}}
	check(t, a.store.Update(t.Context(), func(tx *store.Tx) error { return tx.Tasks().Create(task) }))
	csr := request(t)
	forged := func(when string) {
		t.Helper()
		_, err := api.NewControlClient(conn).GetCluster(as(caller{kind: callerLocal}), &api.GetClusterRequest{})
		if !refused(err) {
			t.Errorf("%s, it reads the join tokens as somebody's local socket: %v", when, err)
		}
		watch, err := api.NewControlClient(conn).Watch(as(caller{kind: callerLocal}), &api.WatchRequest{})
		check(t, err)
		if _, err := watch.Recv(); !refused(err) {
			t.Errorf("%s, it watches the cluster: %v", when, err)
		}
		_, err = api.NewCAClient(conn).Issue(as(caller{kind: callerNode, node: a.id.NodeID(), role: identity.Manager}), &api.IssueRequest{Csr: csr})
		if !refused(err) {
			t.Errorf("%s, it gets another manager's certificate: %v", when, err)
		}
		_, err = api.NewDispatcherClient(conn).UpdateTaskStatus(t.Context(), &api.UpdateTaskStatusRequest{NodeId: "other",
			Updates: []*api.UpdateTaskStatusRequest_Update{{TaskId: "t", Status: &api.TaskStatus{State: api.TaskState_FAILED}}}})
		if !refused(err) {
			t.Errorf("%s, it reports for another node: %v", when, err)
		}
	}
	check(t, a.store.Update(t.Context(), func(tx *store.Tx) error { return tx.Nodes().Update(asWorker(tx.Nodes().Get(old.NodeID()))) }))
	forged("demoted")
	check(t, renewThrough(t.Context(), a, old))
	if old.Role() != identity.Worker {
		t.Errorf("the demoted node renews as %s", old.Role())
	}
	check(t, a.store.Update(t.Context(), func(tx *store.Tx) error { return tx.Nodes().Delete(old.NodeID()) }))
	forged("removed")
}

func request(t *testing.T) []byte {
	t.Helper()
	key, err := identity.NewKey()
	check(t, err)
	csr, err := identity.NewRequest(key)
	check(t, err)
	return csr
}

// Anybody who reaches the port can make a manager read a request, before it knows who asks. It must not be a large one.
func TestStrangersMaySayLittle(t *testing.T) {
	a := newInit(t)
	eventually(t, "a leader", a.leads)
	stranger := a.client(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{protoGRPC}})
	_, err := api.NewCAClient(stranger).Issue(t.Context(), &api.IssueRequest{Csr: make([]byte, 1<<20)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a request of a megabyte: %v", err)
	}
	_, err = api.NewCAClient(stranger).Issue(t.Context(), &api.IssueRequest{Csr: request(t), Token: a.cluster().WorkerToken})
	check(t, err)
}
