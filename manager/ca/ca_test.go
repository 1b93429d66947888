package ca

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newCluster(t *testing.T, clusterID string) (*store.Store, *api.Cluster) {
	t.Helper()
	cert, key, err := NewRoot(clusterID)
	check(t, err)
	c := &api.Cluster{Id: clusterID, CaCert: cert, CaKey: key, Spec: &api.ClusterSpec{NodeCertExpiry: durationpb.New(100 * time.Hour)}}
	c.WorkerToken, err = NewToken(cert)
	check(t, err)
	c.ManagerToken, err = NewToken(cert)
	check(t, err)
	s := store.New(nil)
	check(t, s.Update(context.Background(), func(tx *store.Tx) error { return tx.SetCluster(c) }))
	return s, c
}

func request(t *testing.T) (key, csr []byte) {
	t.Helper()
	key, err := identity.NewKey()
	check(t, err)
	csr, err = identity.NewRequest(key)
	check(t, err)
	return key, csr
}

func TestIssue(t *testing.T) {
	s, c := newCluster(t, "c1")
	_, other := newCluster(t, "c2")
	caller, voters := "", map[string]bool{}
	srv := New(s, Deps{Caller: func(context.Context) string { return caller }, IsMember: func(id string) bool { return voters[id] }})
	key, csr := request(t)
	ctx := context.Background()

	r, err := srv.Issue(ctx, &api.IssueRequest{Csr: csr, Token: c.WorkerToken})
	check(t, err)
	node, err := identity.New(t.TempDir(), r.Cert, key, r.CaCert)
	check(t, err)
	if got := node.Info(); got.Role != identity.Worker || got.NodeID != r.NodeId || got.ClusterID != "c1" {
		t.Errorf("certificate says %+v", got)
	}
	s.View(func(tx *store.Tx) {
		if n := tx.Nodes().Get(r.NodeId); n == nil || n.Spec.Role != api.NodeRole_WORKER {
			t.Errorf("row of the new node: %v", n)
		}
	})
	if r, err := srv.Issue(ctx, &api.IssueRequest{Csr: csr, Token: c.ManagerToken}); err != nil || r.Role != api.NodeRole_MANAGER {
		t.Errorf("with the manager token: %v, %v", r.GetRole(), err)
	}

	rotated := identity.Token{}
	rotated, _ = identity.ParseToken(c.WorkerToken)
	rotated.Secret = strings.Repeat("0", 25)
	for name, test := range map[string]struct{ token, caller, want string }{
		"another cluster": {other.WorkerToken, "", "another cluster than c1"},
		"rotated":         {rotated.String(), "", "rotated"},
		"mistyped":        {"SHOAL-1-x", "", "incomplete"},
		"nothing":         {"", "", "join token is needed"},
		"removed node":    {"", "nobody", "has been removed"},
	} {
		caller = test.caller
		if _, err := srv.Issue(ctx, &api.IssueRequest{Csr: csr, Token: test.token}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}

	// Promotion and demotion reach the certificate at renewal.
	setRole := func(role api.NodeRole) {
		check(t, s.Update(ctx, func(tx *store.Tx) error {
			n := store.Clone(tx.Nodes().Get(r.NodeId))
			n.Spec.Role = role
			return tx.Nodes().Update(n)
		}))
	}
	renewed := func() api.NodeRole {
		r, err := srv.Issue(ctx, &api.IssueRequest{Csr: csr})
		check(t, err)
		return r.Role
	}
	caller = r.NodeId
	setRole(api.NodeRole_MANAGER)
	if got := renewed(); got != api.NodeRole_MANAGER {
		t.Errorf("after promotion: %v", got)
	}
	setRole(api.NodeRole_WORKER)
	voters[r.NodeId] = true
	if got := renewed(); got != api.NodeRole_MANAGER {
		t.Errorf("while it still votes: %v", got)
	}
	voters[r.NodeId] = false
	if got := renewed(); got != api.NodeRole_WORKER {
		t.Errorf("after demotion: %v", got)
	}
}

// newWorker is a node that has been let in, and the server that did so and takes it for its caller from then on.
func newWorker(t *testing.T, s *store.Store, c *api.Cluster) (srv *Server, i *identity.Identity, id string) {
	t.Helper()
	srv = New(s, Deps{Caller: func(context.Context) string { return id }, IsMember: func(string) bool { return false }})
	key, csr := request(t)
	r, err := srv.Issue(t.Context(), &api.IssueRequest{Csr: csr, Token: c.WorkerToken})
	check(t, err)
	id = r.NodeId
	i, err = identity.New(t.TempDir(), r.Cert, key, r.CaCert)
	check(t, err)
	return srv, i, id
}

func TestRenewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newCluster(t, "c1")
		srv, i, caller := newWorker(t, s, c)
		var failures, renewals atomic.Int64 // two goroutines take turns
		failures.Store(3)
		renewer := NewRenewer(i, func(ctx context.Context, r *api.IssueRequest) (*api.IssueResponse, error) {
			renewals.Add(1)
			if failures.Add(-1) >= 0 {
				return nil, context.DeadlineExceeded
			}
			return srv.Issue(ctx, r)
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- renewer.Run(ctx) }()

		first := i.Info().NotAfter
		time.Sleep(48 * time.Hour) // 49 of 101 hours are over
		synctest.Wait()
		if renewals.Load() != 0 {
			t.Error("renewed before half of its life")
		}
		time.Sleep(36 * time.Hour)
		synctest.Wait()
		if !i.Info().NotAfter.After(first) || renewals.Load() != 4 {
			t.Errorf("after 84 of 100 hours: %d attempts, valid until %v", renewals.Load(), i.Info().NotAfter)
		}

		check(t, s.Update(ctx, func(tx *store.Tx) error {
			n := store.Clone(tx.Nodes().Get(caller))
			n.Spec.Role = api.NodeRole_MANAGER
			return tx.Nodes().Update(n)
		}))
		renewer.Want(api.NodeRole_MANAGER)
		synctest.Wait()
		if i.Role() != identity.Manager {
			t.Errorf("role %s after promotion", i.Role())
		}
		cancel()
		<-done
	})
}

// A node whose clock is far ahead finds every certificate due. It must not ask for one after the other.
func TestRenewerRestsWithAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newCluster(t, "c1")
		_, i, caller := newWorker(t, s, c)
		root, err := ParseRoot(c.CaCert, c.CaKey)
		check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var renewals atomic.Int64
		renewer := NewRenewer(i, func(_ context.Context, q *api.IssueRequest) (*api.IssueResponse, error) {
			if renewals.Add(1) == 200 {
				cancel()
			}
			cert, err := root.Sign(q.Csr, caller, c.Id, identity.Worker, time.Second) // issued an hour ago, so to speak
			return &api.IssueResponse{Cert: cert, CaCert: c.CaCert}, err
		}, nil)
		done := make(chan error)
		go func() { done <- renewer.Run(ctx) }()
		time.Sleep(time.Until(i.RenewAt()) + time.Hour)
		synctest.Wait()
		if n := renewals.Load(); n == 0 || n > 61 {
			t.Errorf("%d renewals in an hour", n)
		}
		cancel()
		<-done
	})
}
