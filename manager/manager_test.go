package manager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/ca"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

func clusterOf(m *Manager) (c *api.Cluster) {
	m.store.View(func(tx *store.Tx) { c = tx.Cluster() })
	return c
}

func (h *host) hasNetwork(name string) (ok bool) {
	h.store.View(func(tx *store.Tx) { ok = len(tx.Networks().List(store.ByName(name))) == 1 })
	return ok
}

func (h *host) node(id string) (n *api.Node) {
	h.store.View(func(tx *store.Tx) { n = tx.Nodes().Get(id) })
	return n
}

// The leader is cut off under load: a new one is there in about a second, nothing acknowledged is lost, the old one
// acknowledges nothing.
func TestLeaderLoss(t *testing.T) {
	a := newInit(t)
	hosts := []*host{a, a.join(), a.join()}
	lead, others := leaderOf(t, hosts...)

	// Writers ask followers, which forward.
	var mu sync.Mutex
	var acked []string
	var failed []error
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i, h := range others {
		c := h.control()
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("net-%d-%d", i, n)
				err := createNetwork(c, name)
				mu.Lock()
				if err == nil {
					acked = append(acked, name)
				} else {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	eventually(t, "some writes", func() bool { return count() > 20 })

	lost := time.Now()
	lead.cable.pull()
	next, _ := leaderOf(t, others...)
	elected := time.Since(lost)
	before := count()
	eventually(t, "writes after the loss", func() bool { return count() > before+5 })
	t.Logf("leader lost to next leader %v, to next acknowledged write %v", elected, time.Since(lost))
	close(stop)
	wg.Wait()
	// What the old leader may have done the next one knows: it is not done twice, and nobody has to look. On a busy machine there may be
	// no leader for so long that it is given up.
	for _, err := range failed {
		if status.Code(err) != codes.Unavailable || elected < electionWait/2 {
			t.Errorf("a writer was told: %v", err)
		}
	}

	eventually(t, "all that was acknowledged", func() bool { // on a busy machine the office may change hands once more
		next, _ = leaderOf(t, others...)
		_, err := next.raft.Term(t.Context())
		return err == nil
	})
	for _, name := range acked {
		if !next.hasNetwork(name) {
			t.Errorf("acknowledged network %s is lost", name)
		}
	}
	if err := lead.store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.Networks().Create(&api.Network{Id: "split", Spec: &api.NetworkSpec{Name: "split"}})
	}); err == nil {
		t.Error("the old leader acknowledged a write")
	}
}

func TestForwardAndReadBack(t *testing.T) {
	a := newInit(t)
	b := a.join()
	_, others := leaderOf(t, a, b)
	follower := others[0]
	c := follower.control()
	for i := range 20 {
		name := fmt.Sprintf("n%d", i)
		var seen bool
		settled(t, "network "+name, func() error {
			err := createNetwork(c, name)
			seen = follower.hasNetwork(name)
			if seen && status.Code(err) == codes.AlreadyExists { // made by an attempt that was not acknowledged
				return nil
			}
			return err
		})
		if !seen {
			t.Errorf("network %s was acknowledged by a follower that does not see it", name)
		}
	}
	err := createNetwork(c, "n1")
	if status.Code(err) != codes.AlreadyExists {
		t.Errorf("an error did not come back as it was: %v", err)
	}
}

// What a manager passes on to one that does not lead any more comes back to be tried again, whatever that one knows of the caller.
func TestPassedOnToNoLeader(t *testing.T) {
	a := newInit(t)
	b := a.join()
	lead, others := leaderOf(t, a, b)
	follower := others[0]
	settled(t, "a row of one that was demoted", func() error {
		err := lead.store.Update(t.Context(), func(tx *store.Tx) error {
			return tx.Nodes().Create(&api.Node{Id: "demoted", Spec: &api.NodeSpec{Role: api.NodeRole_WORKER}})
		})
		if errors.Is(err, store.ErrNotLeader) {
			lead, others = leaderOf(t, a, b)
			follower = others[0]
			return status.Error(codes.Unavailable, err.Error())
		}
		return err
	})
	eventually(t, "the follower to know it", func() bool { return follower.node("demoted") != nil })
	ctx := metadata.AppendToOutgoingContext(t.Context(), mdCaller, caller{kind: callerNode, node: "demoted", role: identity.Manager}.String())
	var trailer metadata.MD
	_, err := api.NewControlClient(follower.client(lead.id.ClientTLS("", protoGRPC))).CreateNetwork(ctx, &api.CreateNetworkRequest{}, grpc.Trailer(&trailer))
	if status.Code(err) != codes.Unavailable || len(trailer.Get(mdRetry)) != 1 {
		t.Errorf("got %v, trailer %v", err, trailer)
	}
}

func TestNoQuorumSaysSo(t *testing.T) {
	a := newInit(t)
	b := a.join()
	_, others := leaderOf(t, a, b)
	made(t, others[0].control(), "one")
	lead, others := leaderOf(t, a, b)
	c := others[0].control()
	lead.cable.pull()
	eventually(t, "the follower to miss its leader", func() bool { return others[0].leaderID() == "" })
	err := createNetwork(c, "two")
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no leader: 1 of 2 managers answer and 2 are needed") {
		t.Errorf("write without a quorum: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	r, err := c.ListNetworks(ctx, &api.ListNetworksRequest{})
	if err != nil || len(r.Networks) == 0 {
		t.Errorf("reading without a quorum: %v, %v", r, err)
	}
}

func TestRestartKeepsEverythingEncrypted(t *testing.T) {
	const marker = "a-marker-in-plain-text"
	a := newInit(t)
	made(t, a.control(), marker)
	check(t, a.raft.Snapshot())
	made(t, a.control(), marker+"-2")
	token := a.cluster().WorkerToken
	began := time.Now()
	a.restart(Config{})
	eventually(t, "a leader after a restart", a.leads)
	t.Logf("restart to leading again: %v", time.Since(began))
	eventually(t, "the rows", func() bool { return a.hasNetwork(marker) && a.hasNetwork(marker+"-2") })
	a.stop()
	check(t, filepath.Walk(raftDir(a.dir), func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(marker)) || bytes.Contains(raw, []byte(token)) {
			t.Errorf("%s holds plain text", path)
		}
		if info.Mode().Perm()&0o077 != 0 && !strings.Contains(path, "snapshots") {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	}))
}

func TestJoinDemoteLeave(t *testing.T) {
	a := newInit(t)
	b, c := a.join(), a.join()
	ctx, cancel := context.WithTimeout(t.Context(), 2*longest)
	defer cancel()
	demote := func(through *host, id string) {
		t.Helper()
		n := store.Clone(through.node(id))
		n.Spec.Role = api.NodeRole_WORKER
		settled(t, "the role of a worker", func() error {
			_, err := through.control().UpdateNode(ctx, &api.UpdateNodeRequest{Ref: id, Spec: n.Spec})
			return err
		})
	}
	// The leader itself is demoted: it hands over, the next one removes it.
	lead, others := leaderOf(t, a, b, c)
	id := lead.id.NodeID()
	renewer := ca.NewRenewer(lead.id, lead.Issue, nil)
	go renewer.Run(ctx)
	demote(others[0], id)
	renewer.Want(api.NodeRole_WORKER) // its agent reads it in its row
	eventually(t, "the demoted leader out of the group", func() bool {
		return !others[0].raft.IsMember(id) && others[0].node(id).Role == api.NodeRole_WORKER
	})
	// Its row says worker, so its certificate becomes one, and its manager ends.
	select {
	case err := <-lead.done:
		lead.done <- err
		if !errors.Is(err, ErrNotManager) {
			t.Errorf("the demoted manager ended with: %v", err)
		}
	case <-time.After(longest):
		t.Error("the demoted manager did not end")
	}

	// The next one leaves by itself.
	lead, followers := leaderOf(t, others...)
	tried := false
	settled(t, "the leader's leave", func() error {
		_, err := api.NewMembershipClient(followers[0].client(lead.id.ClientTLS("", protoGRPC))).Leave(ctx, &api.MembershipLeaveRequest{NodeId: lead.id.NodeID()})
		if tried && status.Code(err) == codes.PermissionDenied { // it has left by an attempt that was not acknowledged
			return nil
		}
		tried = true
		return err
	})
	last := followers[0]
	eventually(t, "a single manager", func() bool { return last.leads() && len(last.raft.Status().Members) == 1 })
	_, err := api.NewMembershipClient(last.client(last.id.ClientTLS("", protoGRPC))).Leave(ctx, &api.MembershipLeaveRequest{NodeId: last.id.NodeID()})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "last manager") {
		t.Errorf("the last manager leaves: %v", err)
	}
	made(t, last.control(), "alone")
}

// renewThrough fetches a new certificate with the present one, as a node's agent does.
func renewThrough(ctx context.Context, via *host, i *identity.Identity) error {
	key, err := identity.NewKey()
	if err != nil {
		return err
	}
	csr, err := identity.NewRequest(key)
	if err != nil {
		return err
	}
	r, err := api.NewCAClient(via.client(i.ClientTLS("", protoGRPC))).Issue(ctx, &api.IssueRequest{Csr: csr})
	if err != nil {
		return err
	}
	return i.Replace(r.Cert, key, r.CaCert)
}

func TestPromote(t *testing.T) {
	a := newInit(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*longest)
	defer cancel()
	w := &host{t: t, dir: t.TempDir(), cable: listen(t, "127.0.0.1:0")}
	var err error
	w.id, _, err = ca.Join(ctx, w.certs(), a.addr(), a.cluster().WorkerToken)
	check(t, err)
	id := w.id.NodeID()
	_, err = a.control().UpdateNode(ctx, &api.UpdateNodeRequest{Ref: id, Spec: &api.NodeSpec{Role: api.NodeRole_MANAGER}})
	check(t, err)
	check(t, renewThrough(ctx, a, w.id))
	if w.id.Role() != identity.Manager {
		t.Fatalf("role %s after promotion and renewal", w.id.Role())
	}
	w.start(Config{Managers: []string{a.addr()}})
	eventually(t, "the promoted node votes", func() bool { return a.raft.Votes(id) && w.raft.Started() && w.raft.Votes(id) })
	eventually(t, "it has the rows", func() bool { return w.node(id).GetManagerStatus().GetAddr() == w.addr() })
}

// A manager that has not caught up has no vote: if it dies, the others lose nothing.
func TestLearnerCountsForNoMajority(t *testing.T) {
	a := newInit(t)
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	n := &host{t: t, dir: t.TempDir(), cable: listen(t, "127.0.0.1:0")}
	n.cable.mute = true // so that it cannot ask for its vote
	var err error
	n.id, _, err = ca.Join(ctx, n.certs(), a.addr(), a.cluster().ManagerToken)
	check(t, err)
	n.start(Config{})
	eventually(t, "it has started", n.raft.Started)
	id := n.id.NodeID()
	member := api.NewMembershipClient(a.client(n.id.ClientTLS("", protoGRPC)))
	r, err := member.Join(ctx, &api.MembershipJoinRequest{NodeId: id, Addr: n.addr(), Learner: true})
	check(t, err)
	if r.Applied == 0 || a.raft.Votes(id) || !a.raft.IsMember(id) {
		t.Errorf("after it has joined: %v", r)
	}
	eventually(t, "it is told everything", func() bool { return n.raft.IsMember(id) && n.raft.Status().Applied >= r.Applied })
	node, err := a.control().GetNode(ctx, &api.GetNodeRequest{Ref: id})
	check(t, err)
	if s := node.Node.ManagerStatus; !s.Learning || !s.Reachable {
		t.Errorf("the user is told %v", s)
	}
	n.cable.pull()
	n.stop()
	_, err = a.control().CreateNetwork(ctx, &api.CreateNetworkRequest{Spec: &api.NetworkSpec{Name: "app", Driver: "overlay"}})
	check(t, err)
	if _, all := a.probe(ctx); all != 1 {
		t.Errorf("%d managers vote", all)
	}
	_, err = a.control().UpdateNode(ctx, &api.UpdateNodeRequest{Ref: id, Spec: &api.NodeSpec{}})
	check(t, err)
	eventually(t, "the dead learner is no member any more", func() bool { return !a.raft.IsMember(id) })
}

func TestForceNewCluster(t *testing.T) {
	a := newInit(t)
	b := a.join()
	made(t, a.control(), "kept")
	b.cable.pull()
	b.stop()
	a.restart(Config{ForceNewCluster: true})
	eventually(t, "a leader of one", func() bool { return a.leads() && len(a.raft.Status().Members) == 1 })
	made(t, a.control(), "after")
	if !a.hasNetwork("kept") {
		t.Error("what was written before is lost")
	}
	eventually(t, "the lost manager is a worker", func() bool {
		n := a.node(b.id.NodeID())
		return n.Role == api.NodeRole_WORKER && n.Spec.Role == api.NodeRole_WORKER
	})
	// Who becomes a manager later is none of the lost ones, though it has no vote yet when this leader is elected again.
	eventually(t, "the end of the first office's beginning", func() bool { return !a.forced.Load() })
	next, _, err := ca.Join(t.Context(), t.TempDir(), a.addr(), a.cluster().ManagerToken)
	check(t, err)
	check(t, a.takeOffice(t.Context()))
	if n := a.node(next.NodeID()); n.Spec.Role != api.NodeRole_MANAGER {
		t.Errorf("the new manager was made a worker: %v", n)
	}
}
