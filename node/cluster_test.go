//go:build linux

package node

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func TestInitAndJoin(t *testing.T) {
	hosts := newHosts(t, 3)
	a, b, c := hosts[0], hosts[1], hosts[2]
	if s := a.info().State; s != api.ClusterInfo_INACTIVE {
		t.Errorf("a new node's state is %v", s)
	}
	_, err := a.api.Control.ListNodes(a.context(), &api.ListNodesRequest{})
	wantError(t, err, "not in a cluster")
	wantError(t, a.leave(false), "not in a cluster")

	began := time.Now()
	tokens := a.init()
	t.Logf("init took %v", time.Since(began))
	_, err = a.api.Local.InitCluster(a.context(), &api.InitClusterRequest{})
	wantError(t, err, "already in a cluster")

	began = time.Now()
	b.join(a, tokens.WorkerToken)
	t.Logf("a worker's join took %v", time.Since(began))
	_, err = b.tryJoin(a.addr, tokens.WorkerToken)
	wantError(t, err, "already in a cluster")
	_, err = b.api.Control.ListNodes(b.context(), &api.ListNodesRequest{})
	wantError(t, err, "this node is a worker: run this on a manager (10.90.0.1)")

	began = time.Now()
	c.join(a, tokens.ManagerToken)
	t.Logf("a manager's join took %v", time.Since(began))
	// The new manager answers at once, through the leader.
	r, err := c.api.Control.ListNodes(c.context(), &api.ListNodesRequest{})
	check(t, err)
	if len(r.Nodes) != 3 {
		t.Errorf("%d nodes, want 3", len(r.Nodes))
	}
	for _, h := range []*host{a, c} {
		eventually(t, "both managers to be seen by "+h.name, h.managers(2))
	}
	if i := b.info(); i.State != api.ClusterInfo_ACTIVE || i.Role != api.NodeRole_WORKER || i.NodeAddr != b.addr || i.Error != "" {
		t.Errorf("the worker's info: %v", i)
	}
}

func TestJoinIsRefused(t *testing.T) {
	hosts := newHosts(t, 3)
	a, other, n := hosts[0], hosts[1], hosts[2]
	tokens, foreign := a.init(), other.init()
	_, err := a.api.Control.UpdateCluster(a.context(), &api.UpdateClusterRequest{RotateWorkerToken: true})
	check(t, err)
	busy := take(t, n.addr+":2377")
	for _, tc := range []struct{ name, remote, token, want string }{
		{"no manager named", "", tokens.ManagerToken, "name a manager to join: HOST:PORT"},
		{"no token", a.addr, "", "join token does not begin with SHOAL-1-"},
		{"a piece of a token", a.addr, tokens.ManagerToken[:40], "join token is incomplete or mistyped"},
		{"a wrong secret", a.addr, mistype(tokens.ManagerToken), "(it was rotated) or mistyped"},
		{"a rotated token", a.addr, tokens.WorkerToken, "(it was rotated) or mistyped"},
		{"another cluster's token", a.addr, foreign.WorkerToken, "the join token is of another cluster than the manager that answers"},
		{"nobody listens", "10.90.0.9", tokens.ManagerToken, "no manager answers at 10.90.0.9:2377 (connection refused): is it a manager, and does its daemon run?"},
		{"nobody is there", "10.91.0.1:2377", tokens.ManagerToken, "no manager answers at 10.91.0.1:2377"},
		{"itself", n.addr, tokens.ManagerToken, "is this node itself"},
		{"its port is taken", a.addr, tokens.ManagerToken, "another program listens on 10.90.0.3:2377"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := n.tryJoin(tc.remote, tc.token)
			wantError(t, err, tc.want)
			if left := n.leftovers(); len(left) != 0 || n.info().State != api.ClusterInfo_INACTIVE {
				t.Errorf("a refused join left %v, state %v", left, n.info())
			}
		})
	}
	busy.Close()
	n.join(a, tokens.ManagerToken)
}

func mistype(token string) string {
	last := "a"
	if strings.HasSuffix(token, last) {
		last = "b"
	}
	return token[:len(token)-1] + last
}

func settings(s *api.ClusterSpec) *api.InitClusterRequest { return &api.InitClusterRequest{Spec: s} }

func TestInitIsRefused(t *testing.T) {
	n := newHost(t, 1)
	busy := take(t, n.addr+":2377")
	_, err := n.api.Local.InitCluster(n.context(), &api.InitClusterRequest{})
	wantError(t, err, "another program listens on 10.90.0.1:2377: stop it, or give another port with --listen-addr")
	for _, tc := range []struct {
		r    *api.InitClusterRequest
		want string
	}{
		{&api.InitClusterRequest{AdvertiseAddr: "192.0.2.7"}, "--advertise-addr 192.0.2.7 is not an address of this host"},
		{&api.InitClusterRequest{AdvertiseAddr: "eth9"}, `--advertise-addr "eth9" is neither an IP address nor an interface of this host`},
		{&api.InitClusterRequest{DataPathAddr: "192.0.2.7"}, "--data-path-addr 192.0.2.7 is not an address of this host"},
		{&api.InitClusterRequest{ListenAddr: "192.0.2.7"}, "--listen-addr 192.0.2.7 is not an address of this host"},
		{&api.InitClusterRequest{ListenAddr: "10.90.0.1:http"}, `"http" is not a port`},
		{settings(&api.ClusterSpec{AddressPools: []string{"10.20.0.0"}}), `address pool "10.20.0.0" is not a prefix: write it like 10.96.0.0/12`},
		{settings(&api.ClusterSpec{AddressPools: []string{"10.20.0.0/24"}}), "address pool 10.20.0.0/24 is smaller than one network in it, a /22"},
		{settings(&api.ClusterSpec{SubnetSize: 31}), "subnet size 31 is out of range"},
		{settings(&api.ClusterSpec{NodeCertExpiry: durationpb.New(time.Minute)}), "cert-expiry of 1m0s is too short: it must be at least 1h0m0s"},
		{settings(&api.ClusterSpec{LostAfter: durationpb.New(-time.Second)}), "lost-after must be positive"},
		{&api.InitClusterRequest{ForceNewCluster: true}, "there is no cluster here to be forced"},
	} {
		_, err := n.api.Local.InitCluster(n.context(), tc.r)
		wantError(t, err, tc.want)
	}
	busy.Close()
	gossip := take(t, n.addr+":7946")
	_, err = n.api.Local.InitCluster(n.context(), &api.InitClusterRequest{})
	wantError(t, err, "start gossip on 10.90.0.1:7946")
	gossip.Close()
	if left := n.leftovers(); len(left) != 0 {
		t.Errorf("refused inits left %v", left)
	}
	_, err = n.api.Local.InitCluster(n.context(), &api.InitClusterRequest{ListenAddr: "0.0.0.0:2399"})
	check(t, err)
	if got := n.info().ManagerAddrs; len(got) != 1 || got[0] != "10.90.0.1:2399" {
		t.Errorf("managers %v", got)
	}
}

func TestPromoteAndDemote(t *testing.T) {
	hosts := newHosts(t, 3)
	a := hosts[0]
	tokens := a.init()
	for _, h := range hosts[1:] {
		h.join(a, tokens.WorkerToken)
	}
	for i, h := range hosts[1:] {
		check(t, a.setRole(h.id(), api.NodeRole_MANAGER))
		eventually(t, h.name+" to be a manager", h.managers(int32(i+2)))
	}
	// Each answers for all.
	for _, h := range hosts {
		h.network(h.name)
	}
	// Down to one, the leader among them.
	for i, h := range hosts[:2] {
		check(t, hosts[2].setRole(h.id(), api.NodeRole_WORKER))
		eventually(t, h.name+" to be a worker", func() bool { return h.info().Role == api.NodeRole_WORKER })
		eventually(t, "its manager's files to go", func() bool { return !strings.Contains(strings.Join(h.leftovers(), " "), "raft") })
		eventually(t, "the others to go on", hosts[2].managers(int32(2-i)))
	}
	err := hosts[2].setRole(hosts[2].id(), api.NodeRole_WORKER)
	wantError(t, err, "it is the last manager")
	// And up again, from a log that begins anew.
	check(t, hosts[2].setRole(a.id(), api.NodeRole_MANAGER))
	eventually(t, "it is a manager again", a.managers(2))
}

func TestLeave(t *testing.T) {
	hosts := newHosts(t, 4)
	a, b, c, worker := hosts[0], hosts[1], hosts[2], hosts[3]
	tokens := a.init()
	b.join(a, tokens.ManagerToken)
	c.join(a, tokens.ManagerToken)
	worker.join(a, tokens.WorkerToken)
	eventually(t, "three managers", a.managers(3))
	worker.tasks.of("task")

	id := worker.id()
	eventually(t, "gossip to hear the worker", func() bool { return a.heard(id) })
	check(t, worker.leave(false))
	took := eventually(t, "the worker to be down", func() bool { return a.wires.isDown(id) && a.row(id).Status.State == api.NodeStatus_DOWN })
	t.Logf("a worker that left was known to have done so after %v", took)
	if left := worker.leftovers(); len(left) != 0 || len(worker.containers()) != 0 || worker.wires.cleanups() == 0 {
		t.Errorf("the worker left behind files %v, containers %v", left, worker.containers())
	}
	_, err := a.api.Control.RemoveNode(a.context(), &api.RemoveNodeRequest{Ref: id})
	check(t, err)

	wantError(t, b.leave(false), "this node is one of 3 managers: demote it first")
	check(t, b.leave(true))
	eventually(t, "two managers", a.managers(2))
	check(t, a.leave(true)) // was the leader
	eventually(t, "one manager", c.managers(1))
	wantError(t, c.leave(false), "this node is the last manager")
	check(t, c.leave(true))
	for _, h := range hosts {
		if left := h.leftovers(); len(left) != 0 || h.info().State != api.ClusterInfo_INACTIVE {
			t.Errorf("%s: left %v, state %v", h.name, left, h.info().State)
		}
	}
	// All may begin again.
	b.join(a, a.init().WorkerToken)
}

func (h *host) containers() []*api.Container {
	all, _ := h.tasks.Tasks(context.Background())
	return all
}

// heard: gossip here knows a node.
func (h *host) heard(id string) bool {
	m, _ := h.node.current()
	return m != nil && strings.Contains(strings.Join(m.live.Members(), " "), id)
}

func TestDeadHost(t *testing.T) {
	hosts := newHosts(t, 3)
	a, b, worker := hosts[0], hosts[1], hosts[2]
	tokens := a.init()
	b.join(a, tokens.WorkerToken)
	worker.join(a, tokens.WorkerToken)
	id := worker.id()
	eventually(t, "gossip", func() bool { return a.heard(id) && b.heard(id) })
	worker.stop()
	took := eventually(t, "every host to know", func() bool { return a.wires.isDown(id) && b.wires.isDown(id) })
	t.Logf("a dead host left all load balancers after %v", took)
	took = eventually(t, "its row to say so", func() bool { return a.row(id).Status.State == api.NodeStatus_DOWN })
	t.Logf("and was down in node ls after %v more", took)
	worker.start()
	took = eventually(t, "it is back", func() bool {
		return !a.wires.isDown(id) && !b.wires.isDown(id) && a.row(id).Status.State == api.NodeStatus_READY
	})
	t.Logf("it was back %v after its start", took)
}

func TestRestart(t *testing.T) {
	hosts := newHosts(t, 3)
	a := hosts[0]
	tokens := a.init()
	hosts[1].join(a, tokens.ManagerToken)
	hosts[2].join(a, tokens.ManagerToken)
	ids := map[string]string{}
	for _, h := range hosts {
		ids[h.name] = h.id()
	}
	for _, h := range hosts { // one after the other, as in an upgrade
		h.restart()
		eventually(t, h.name+" to be back", func() bool { return h.info().State == api.ClusterInfo_ACTIVE && h.managers(3)() })
		if h.id() != ids[h.name] {
			t.Errorf("%s has another ID after its restart", h.name)
		}
	}
	for _, h := range hosts { // all at once, as after a power cut
		h.stop()
	}
	for _, h := range hosts {
		h.start()
	}
	for _, h := range hosts {
		eventually(t, h.name+" to be back after all were off", func() bool { return h.info().State == api.ClusterInfo_ACTIVE && h.managers(3)() })
	}
}

func TestForceNewCluster(t *testing.T) {
	hosts := newHosts(t, 4)
	a, worker := hosts[0], hosts[3]
	tokens := a.init()
	hosts[1].join(a, tokens.ManagerToken)
	hosts[2].join(a, tokens.ManagerToken)
	worker.join(a, tokens.WorkerToken)
	eventually(t, "three managers", a.managers(3))
	a.network("kept")
	hosts[1].stop()
	hosts[2].stop()
	eventually(t, "the loss to be known", func() bool { return a.info().LeaderId == "" })
	if i := a.info(); i.ManagersReachable != 1 || i.Managers != 3 {
		t.Errorf("%d of %d managers answer, want 1 of 3", i.ManagersReachable, i.Managers)
	}
	_, err := a.api.Control.CreateNetwork(a.context(), &api.CreateNetworkRequest{Spec: &api.NetworkSpec{Name: "lost", Driver: "overlay"}})
	wantError(t, err, "no leader: 1 of 3 managers answer and 2 are needed")
	_, err = worker.api.Local.InitCluster(worker.context(), &api.InitClusterRequest{ForceNewCluster: true})
	wantError(t, err, "this node is a worker")

	_, err = a.api.Local.InitCluster(a.context(), &api.InitClusterRequest{ForceNewCluster: true})
	check(t, err)
	r, err := a.api.Control.ListNetworks(a.context(), &api.ListNetworksRequest{})
	if err != nil || len(r.Networks) == 0 {
		t.Errorf("networks after forcing: %v, %v", r, err)
	}
	a.network("after")
	eventually(t, "one manager", a.managers(1))
	eventually(t, "the worker to come along", func() bool { return a.row(worker.id()).Status.State == api.NodeStatus_READY })
}

func TestRemovedNode(t *testing.T) {
	hosts := newHosts(t, 2)
	a, b := hosts[0], hosts[1]
	b.join(a, a.init().WorkerToken)
	id := b.id()
	_, err := a.api.Control.RemoveNode(a.context(), &api.RemoveNodeRequest{Ref: id})
	wantError(t, err, "is up")
	_, err = a.api.Control.RemoveNode(a.context(), &api.RemoveNodeRequest{Ref: id, Force: true})
	check(t, err)
	removed := func() bool {
		i := b.info()
		return i.State == api.ClusterInfo_ERROR && strings.Contains(i.Error, "removed from the cluster: run 'shoal cluster leave'")
	}
	eventually(t, "it to hear of its removal", removed)
	b.restart()
	eventually(t, "it to hear of its removal after a restart", removed)
	check(t, b.leave(false))
	b.join(a, a.tokens().WorkerToken)
	if b.id() == id {
		t.Error("a node that was removed came back with its old ID")
	}
}

func (h *host) tokens() *api.Cluster {
	h.t.Helper()
	r, err := h.api.Control.GetCluster(h.context(), &api.GetClusterRequest{})
	check(h.t, err)
	return r.Cluster
}

// A manager that was demoted and promoted while it was off has a log that takes it for a member, and no leader that does.
func TestDemotedAndPromotedWhileOff(t *testing.T) {
	hosts := newHosts(t, 4)
	a, b := hosts[0], hosts[3]
	tokens := a.init()
	for _, h := range hosts[1:] {
		h.join(a, tokens.ManagerToken)
	}
	eventually(t, "four managers", a.managers(4))
	id := b.id()
	b.stop()
	eventually(t, "its row to say that it is off", func() bool { return a.row(id).GetStatus().GetState() == api.NodeStatus_DOWN })
	check(t, a.setRole(id, api.NodeRole_WORKER))
	eventually(t, "three managers", a.managers(3))
	check(t, a.setRole(id, api.NodeRole_MANAGER))
	b.start()
	eventually(t, "four managers again", func() bool { return a.managers(4)() && b.managers(4)() })
}

func TestBrokenMembershipIsTakenUpAgain(t *testing.T) {
	for _, port := range []string{":2377", ":7946"} {
		t.Run(port, func(t *testing.T) {
			a := newHost(t, 1)
			a.init()
			a.stop()
			busy := take(t, a.addr+port)
			a.start()
			eventually(t, "the trouble to be told", func() bool {
				i := a.info()
				return i.State == api.ClusterInfo_ERROR && (strings.Contains(i.Error, "another program") || strings.Contains(i.Error, "start gossip"))
			})
			busy.Close()
			eventually(t, "the membership to be taken up", a.state(api.ClusterInfo_ACTIVE))
			check(t, a.leave(true))
		})
	}
}

func TestAddressChange(t *testing.T) {
	hosts := newHosts(t, 3)
	a, b, c := hosts[0], hosts[1], hosts[2]
	tokens := a.init()
	b.join(a, tokens.ManagerToken)
	c.join(a, tokens.ManagerToken)
	eventually(t, "three managers", a.managers(3))
	a.stop()
	a.flags.AdvertiseAddr = "10.90.0.8"
	a.start()
	eventually(t, "the others to know its new address", func() bool {
		n := b.row(a.id())
		return n.GetStatus().GetAddr() == "10.90.0.8" && n.GetManagerStatus().GetAddr() == "10.90.0.8:2377" && b.managers(3)() && a.managers(3)()
	})
}

func TestLeaveThatWasCutShort(t *testing.T) {
	a := newHost(t, 1)
	a.init()
	a.tasks.of("task")
	a.stop()
	_, err := markLeaving(a.config().DataDir)
	check(t, err)
	a.start()
	eventually(t, "the rest to be removed", func() bool {
		return len(a.leftovers()) == 0 && len(a.containers()) == 0 && a.wires.cleanups() > 0 && a.info().State == api.ClusterInfo_INACTIVE
	})
	// A join that was killed between the certificate and the state.
	a.init()
	a.stop()
	check(t, os.Remove(filepath.Join(a.config().DataDir, "cluster.json")))
	a.start()
	eventually(t, "the certificate to be removed", func() bool { return len(a.leftovers()) == 0 })
	a.init()
}

func TestGoroutinesEnd(t *testing.T) {
	a := newHost(t, 1)
	_, err := a.api.Local.InitCluster(a.context(), &api.InitClusterRequest{})
	check(t, err)
	check(t, a.leave(true))
	before := runtime.NumGoroutine()
	for range 3 {
		a.init()
		check(t, a.leave(true))
	}
	t.Cleanup(func() {
		if t.Failed() {
			pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		}
	})
	eventually(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func TestClientCodes(t *testing.T) {
	a := newHost(t, 1)
	_, err := a.tryJoin("10.90.0.1", "nonsense")
	if got := client.CodeOf(err).String(); got != "InvalidArgument" {
		t.Errorf("code %s: %v", got, err)
	}
}
