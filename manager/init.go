package manager

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/shoal-dev/shoal/internal/id"
	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/manager/ca"
	"github.com/shoal-dev/shoal/manager/control"
	"github.com/shoal-dev/shoal/manager/raft"
	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// InitConfig is what a new cluster begins with.
type InitConfig struct {
	Dir           string           // Config.Dir of the manager to come
	CertDir       string           // where this node's certificate goes
	AdvertiseAddr string           // HOST:PORT where other nodes reach this one
	Spec          *api.ClusterSpec // nil: defaults
	DataPathPort  uint32           // UDP port of overlay networks
	Logger        *slog.Logger
}

const (
	defaultDataPathPort = 4789
	gossipKeySize       = 32
	initTimeout         = 10 * time.Second
	vniBase             = 4096 // below are those that people give by hand
)

// CheckSpec says what is wrong with the settings that a cluster is to begin with.
func CheckSpec(s *api.ClusterSpec) error { return control.ValidateClusterSpec(s) }

// Init makes a cluster of this one node: CA, tokens and keys in a new store, and then, as the last step, the node's
// certificate. What a failed attempt left is overwritten by the next.
func Init(ctx context.Context, cfg InitConfig) (*identity.Identity, error) {
	if _, err := identity.Load(cfg.CertDir); !errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("this node is part of a cluster already: run 'shoal cluster leave' first")
	}
	if err := os.RemoveAll(raftDir(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("remove what is left of an earlier cluster: %w", err)
	}
	if err := CheckSpec(cfg.Spec); err != nil {
		return nil, err
	}
	cluster, err := newCluster(cfg)
	if err != nil {
		return nil, err
	}
	nodeID := id.New()
	certPEM, keyPEM, err := firstCertificate(cluster, nodeID)
	if err != nil {
		return nil, err
	}
	node := &api.Node{
		Id: nodeID, Role: api.NodeRole_MANAGER, Status: &api.NodeStatus{},
		Spec:          &api.NodeSpec{Role: api.NodeRole_MANAGER},
		ManagerStatus: &api.ManagerStatus{Addr: cfg.AdvertiseAddr},
	}
	if err := firstRows(ctx, cfg, cluster, node); err != nil {
		return nil, fmt.Errorf("write the first rows of the cluster: %w", err)
	}
	return identity.New(cfg.CertDir, certPEM, keyPEM, cluster.CaCert)
}

func newCluster(cfg InitConfig) (*api.Cluster, error) {
	c := &api.Cluster{Id: id.New(), Spec: &api.ClusterSpec{}, DataPathPort: cfg.DataPathPort, VniBase: vniBase, UlaPrefix: newULA()}
	if cfg.Spec != nil {
		c.Spec = store.Clone(cfg.Spec)
	}
	c.Spec.Name = "default"
	if c.DataPathPort == 0 {
		c.DataPathPort = defaultDataPathPort
	}
	key := make([]byte, gossipKeySize)
	rand.Read(key) // never fails, see crypto/rand
	c.GossipKeys = [][]byte{key}
	var err error
	if c.CaCert, c.CaKey, err = ca.NewRoot(c.Id); err != nil {
		return nil, err
	}
	if c.WorkerToken, err = ca.NewToken(c.CaCert); err != nil {
		return nil, err
	}
	c.ManagerToken, err = ca.NewToken(c.CaCert)
	return c, err
}

// newULA makes the cluster's own IPv6 prefix (RFC 4193): fd and 40 random bits.
func newULA() string {
	a := [16]byte{0: 0xfd}
	rand.Read(a[1:6])
	return netip.PrefixFrom(netip.AddrFrom16(a), 48).String()
}

func firstCertificate(c *api.Cluster, nodeID string) (certPEM, keyPEM []byte, err error) {
	root, err := ca.ParseRoot(c.CaCert, c.CaKey)
	if err != nil {
		return nil, nil, err
	}
	if keyPEM, err = identity.NewKey(); err != nil {
		return nil, nil, err
	}
	csr, err := identity.NewRequest(keyPEM)
	if err != nil {
		return nil, nil, err
	}
	life := c.Spec.NodeCertExpiry.AsDuration()
	if life <= 0 {
		life = ca.DefaultLife
	}
	certPEM, err = root.Sign(csr, nodeID, c.Id, identity.Manager, life)
	return certPEM, keyPEM, err
}

// firstRows writes through a Raft group of one that nobody else can reach.
func firstRows(ctx context.Context, cfg InitConfig, c *api.Cluster, node *api.Node) error {
	n, err := raft.New(raft.Config{
		Dir: raftDir(cfg.Dir), ID: node.Id, Addr: cfg.AdvertiseAddr, Logger: cfg.Logger, Listener: newHanded(&net.TCPAddr{}),
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("alone") },
	})
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.Bootstrap(); err != nil {
		return err
	}
	s := store.New(n)
	if err := n.Start(s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	select {
	case <-n.Lead():
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.SetCluster(c), tx.Nodes().Create(node))
	})
}
