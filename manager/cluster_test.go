package manager

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/internal/poll"
	"github.com/shoal-dev/shoal/manager/ca"
	"github.com/shoal-dev/shoal/proto/api"
)

// host is a manager of a test, with a port on loopback and a cable that can be pulled.
type host struct {
	t     testing.TB
	dir   string
	id    *identity.Identity
	cable *cable
	*Manager
	cancel context.CancelFunc
	done   chan error
}

// cable is a listener that can be cut off together with all connections that came through it.
type cable struct {
	net.Listener
	mu     sync.Mutex
	conns  []net.Conn
	pulled bool
	mute   bool // calls nobody
}

func (c *cable) keep(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	if c.pulled {
		conn.Close()
	}
}

func (c *cable) dial(ctx context.Context, addr string) (net.Conn, error) {
	if c.mute {
		return nil, errors.New("no calls out")
	}
	conn, err := dialTCP(ctx, addr)
	if err == nil {
		c.keep(conn)
	}
	return conn, err
}

func (c *cable) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.keep(conn)
	}
	return conn, err
}

func (c *cable) pull() {
	c.Listener.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	for _, conn := range c.conns {
		conn.Close()
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// longest is how long a test waits for what takes a second or two on an idle machine.
const longest = time.Minute

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !poll.Until(longest, ok) {
		t.Fatalf("waited %s for: %s", longest, what)
	}
}

func listen(t testing.TB, addr string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	check(t, err)
	return &cable{Listener: l}
}

// newInit is a cluster of one.
func newInit(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir(), cable: listen(t, "127.0.0.1:0")}
	var err error
	h.id, err = Init(t.Context(), InitConfig{Dir: h.dir, CertDir: h.certs(), AdvertiseAddr: h.addr()})
	check(t, err)
	h.start(Config{})
	return h
}

func (h *host) certs() string { return filepath.Join(h.dir, "certs") }
func (h *host) addr() string  { return h.cable.Addr().String() }

func (h *host) start(cfg Config) {
	h.t.Helper()
	cfg.Dir, cfg.Identity, cfg.Listener, cfg.AdvertiseAddr = h.dir, h.id, h.cable, h.addr()
	cfg.dial = h.cable.dial
	m, err := New(cfg)
	check(h.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	h.Manager, h.cancel, h.done = m, cancel, make(chan error, 1)
	go func() { h.done <- m.Run(ctx) }()
	h.t.Cleanup(h.stop)
}

// stop ends the manager in order; twice is once.
func (h *host) stop() {
	h.cancel()
	select {
	case err := <-h.done:
		h.done <- err
		if !errors.Is(err, context.Canceled) && !errors.Is(err, ErrNotManager) && !errors.Is(err, net.ErrClosed) {
			h.t.Errorf("manager %s ended with: %v", h.addr(), err)
		}
	case <-time.After(longest):
		h.t.Errorf("manager %s did not end", h.addr())
	}
}

// restart is a new process on the same disk and address.
func (h *host) restart(cfg Config) {
	h.t.Helper()
	h.stop()
	var err error
	eventually(h.t, "its port", func() bool { // somebody's connection may have it for a moment
		var l net.Listener
		if l, err = net.Listen("tcp", h.addr()); err == nil {
			h.cable = &cable{Listener: l}
		}
		return err == nil
	})
	h.id, err = identity.Load(h.certs())
	check(h.t, err)
	h.start(cfg)
}

func (h *host) cluster() (c *api.Cluster) {
	eventually(h.t, "the cluster's row", func() bool {
		c = clusterOf(h.Manager)
		return c != nil
	})
	return c
}

// join adds a manager and waits until it has caught up.
func (h *host) join() *host {
	h.t.Helper()
	n := &host{t: h.t, dir: h.t.TempDir(), cable: listen(h.t, "127.0.0.1:0")}
	settled(h.t, "a certificate", func() (err error) {
		n.id, _, err = ca.Join(h.t.Context(), n.certs(), h.addr(), h.cluster().ManagerToken)
		return err
	})
	n.start(Config{Managers: []string{h.addr()}})
	eventually(h.t, "the new manager's vote", func() bool { return n.raft.Started() && n.raft.Votes(n.id.NodeID()) })
	return n
}

// client is a connection to this manager with another host's, or no, certificate.
func (h *host) client(cfg *tls.Config) *grpc.ClientConn {
	h.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+h.addr(), grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	check(h.t, err)
	h.t.Cleanup(func() { conn.Close() })
	return conn
}

// control is what an administrator with a manager's certificate uses.
func (h *host) control() api.ControlClient {
	return api.NewControlClient(h.client(h.id.ClientTLS("", protoGRPC)))
}

func (h *host) leads() bool { return h.raft.Started() && h.raft.IsLeader() }

func leaderOf(t testing.TB, hosts ...*host) (lead *host, others []*host) {
	t.Helper()
	eventually(t, "a leader", func() bool {
		lead, others = nil, nil
		for _, h := range hosts {
			if h.leads() {
				lead = h
			} else {
				others = append(others, h)
			}
		}
		return lead != nil
	})
	return lead, others
}

func createNetwork(c api.ControlClient, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	_, err := c.CreateNetwork(ctx, &api.CreateNetworkRequest{Spec: &api.NetworkSpec{Name: name, Driver: "overlay"}})
	return err
}

// settled repeats what may be done twice until it was acknowledged: on a busy machine the office changes hands at any time.
func settled(t testing.TB, what string, do func() error) {
	t.Helper()
	eventually(t, what, func() bool {
		err := do()
		if err != nil && status.Code(err) != codes.Unavailable && !strings.Contains(err.Error(), "may or may not have been made") {
			t.Fatal(err)
		}
		return err == nil
	})
}

// made makes a network.
func made(t testing.TB, c api.ControlClient, name string) {
	t.Helper()
	tried := false
	settled(t, "network "+name, func() error {
		err := createNetwork(c, name)
		if tried && status.Code(err) == codes.AlreadyExists {
			return nil
		}
		tried = true
		return err
	})
}
