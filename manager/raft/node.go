// Package raft keeps the store of all managers the same: a thin layer over hashicorp/raft with a log
// on bbolt and snapshots in files, both encrypted, and streams that the caller dials and accepts.
//
// Node is one member: it implements store.Proposer, and carries what is committed into a store.Store. It
// knows neither certificates nor who should be a member: package manager does.
package raft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/manager/store"
	"github.com/shoal-dev/shoal/proto/api"
)

// Config is what a Node needs.
type Config struct {
	Dir    string // of its own; created with mode 0700
	ID     string // node ID
	Addr   string // HOST:PORT where the other managers reach this one
	Logger *slog.Logger

	// Listener gives the streams of other managers, already authenticated. The Node closes it.
	Listener net.Listener
	// Dial opens a stream to a manager; it must make sure that it is that node.
	Dial func(ctx context.Context, nodeID, addr string) (net.Conn, error)

	// Tick scales all timeouts; 0 is DefaultTick. A follower that hears nothing for one to two
	// ticks calls an election.
	Tick time.Duration
}

// DefaultTick replaces a lost leader within a second. A follower that was stalled for longer only asks around (pre-vote)
// and, as the others hear the leader, changes nothing.
const DefaultTick = 350 * time.Millisecond

const (
	rpcTimeout   = 5 * time.Second
	queueTimeout = 5 * time.Second
	// A snapshot is taken after so many entries, and so many stay for followers that lag a little.
	snapshotAfter = 8192
	trailingLogs  = 4096
	cachedLogs    = 128 // memory: an entry may have megabytes
	keepSnapshots = 2
)

// Node is a member of the Raft group.
type Node struct {
	cfg   Config
	peers *peers
	logs  *logStore
	snaps raft.SnapshotStore
	raft  *raft.Raft
	trans *raft.NetworkTransport
	lead  chan bool

	mu        sync.Mutex
	started   bool
	readyTerm uint64          // this node has led in this term and applied everything before it
	changed   chan struct{}   // closed when the leader changes
	silent    map[string]bool // members that do not answer the heartbeats of this leader
}

// New opens the log in cfg.Dir. Nothing runs before Start.
func New(cfg Config) (*Node, error) {
	if cfg.Tick == 0 {
		cfg.Tick = DefaultTick
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create raft directory: %w", err)
	}
	key, err := loadKey(filepath.Join(cfg.Dir, "data.key"))
	if err != nil {
		return nil, err
	}
	p, err := loadPeers(filepath.Join(cfg.Dir, "managers.json"), cfg.Logger)
	if err != nil {
		return nil, err
	}
	files, err := raft.NewFileSnapshotStoreWithLogger(cfg.Dir, keepSnapshots, newLogger(cfg.Logger))
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	logs, err := openLogStore(filepath.Join(cfg.Dir, "log.db"), newSealer(key))
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, peers: p, logs: logs, snaps: &sealedSnapshots{files, key}, lead: make(chan bool, 16), silent: map[string]bool{}, changed: make(chan struct{})}
	if err := p.set(cfg.ID, cfg.Addr); err != nil {
		logs.Close()
		return nil, err
	}
	return n, nil
}

// HasState says whether this node has been a member before.
func (n *Node) HasState() (bool, error) {
	return raft.HasExistingState(n.logs, n.logs, n.snaps)
}

func (n *Node) config() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.ID)
	c.HeartbeatTimeout = n.cfg.Tick
	c.ElectionTimeout = n.cfg.Tick
	c.LeaderLeaseTimeout = n.cfg.Tick
	// How long after the leader a follower learns that an entry is committed: agents are served from followers.
	c.CommitTimeout = 10 * time.Millisecond
	c.SnapshotThreshold = snapshotAfter
	c.TrailingLogs = trailingLogs
	c.SnapshotInterval = 30 * time.Second
	c.MaxAppendEntries = 64
	c.ShutdownOnRemove = false // package manager ends a removed member in order
	c.NoLegacyTelemetry = true
	c.Logger = newLogger(n.cfg.Logger)
	c.NotifyCh = n.lead
	return c
}

// Bootstrap makes this node the only member of a new group. Call it before Start, once in a cluster's life.
func (n *Node) Bootstrap() error {
	err := raft.BootstrapCluster(n.config(), n.logs, n.logs, n.snaps, n.inmem(), n.alone())
	if err != nil {
		return fmt.Errorf("begin a new cluster: %w", err)
	}
	return nil
}

// ForceNew makes this node the only member of its group, keeping everything it knows. Call it before Start,
// when the majority of the managers is lost for good.
func (n *Node) ForceNew() error {
	scratch := store.New(nil)
	err := raft.RecoverCluster(n.config(), machine{scratch}, n.logs, n.logs, n.snaps, n.inmem(), n.alone())
	if err != nil {
		return fmt.Errorf("force a new cluster: %w", err)
	}
	for id := range n.peers.all() {
		if id != n.cfg.ID {
			if err := n.peers.set(id, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Node) alone() raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(n.cfg.ID), Address: raft.ServerAddress(n.cfg.ID)}}}
}

// inmem is a transport for operations that only encode addresses with it.
func (n *Node) inmem() raft.Transport {
	_, t := raft.NewInmemTransport(raft.ServerAddress(n.cfg.ID))
	return t
}

// Start takes part in the group, carrying entries into s.
func (n *Node) Start(s *store.Store) error {
	n.trans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  newStreams(n.cfg, n.peers),
		MaxPool: 3,
		Timeout: rpcTimeout,
		// No pipelining. When a follower answers no (it has a newer term, or lacks entries), the pipeline's reader ends
		// while its writer may wait for it for ever: replication to that follower stops, and so does Shutdown (seen with
		// hashicorp/raft 1.8.0, pipelineReplicate and netPipeline.AppendEntries). Updates are grouped, so one request
		// under way at a time costs little.
		MaxRPCsInFlight: 1,
		Logger:          newLogger(n.cfg.Logger),
	})
	cache, err := raft.NewLogCache(cachedLogs, n.logs)
	if err != nil {
		return err
	}
	r, err := raft.NewRaft(n.config(), machine{s}, cache, n.logs, n.snaps, n.trans)
	if err != nil {
		n.trans.Close()
		return fmt.Errorf("start raft: %w", err)
	}
	n.raft = r
	n.mu.Lock()
	n.started = true
	n.mu.Unlock()
	n.observe()
	if ms := n.Status().Members; len(ms) == 1 && ms[0].ID == n.cfg.ID {
		n.stand()
	}
	return nil
}

// stand makes the only member stand for election at once: there is no leader to wait for. It is
// the message by which a leader hands over its office. If it is lost, the timeout does the same.
func (n *Node) stand() {
	req := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.cfg.ID), Addr: []byte(n.cfg.ID)}}
	err := n.trans.TimeoutNow(raft.ServerID(n.cfg.ID), raft.ServerAddress(n.cfg.ID), req, &raft.TimeoutNowResponse{})
	if err != nil {
		n.cfg.Logger.Debug("standing for election failed", "error", err)
	}
}

// Close leaves the group for now, without telling it.
func (n *Node) Close() error {
	var errs []error
	if n.raft != nil {
		errs = append(errs, n.raft.Shutdown().Error())
	}
	if n.trans != nil {
		n.trans.CloseStreams()
		errs = append(errs, n.trans.Close())
	}
	return errors.Join(append(errs, n.logs.Close())...)
}

// Lead tells when this node wins (true) or loses office. Read it until the Node is closed.
func (n *Node) Lead() <-chan bool { return n.lead }

// Term implements store.Proposer.
func (n *Node) Term(ctx context.Context) (uint64, error) {
	if n.raft.State() != raft.Leader {
		return 0, store.ErrNotLeader
	}
	term := n.raft.CurrentTerm()
	n.mu.Lock()
	ready := n.readyTerm == term
	n.mu.Unlock()
	if ready {
		return term, nil
	}
	// Entries of earlier terms may be committed but not applied here yet: wait for them.
	if err := n.raft.Barrier(queueTimeout).Error(); err != nil {
		return 0, fmt.Errorf("%w: %w", store.ErrNotLeader, err)
	}
	if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term {
		return 0, store.ErrNotLeader
	}
	n.mu.Lock()
	n.readyTerm = term
	n.mu.Unlock()
	return term, nil
}

// Propose implements store.Proposer.
func (n *Node) Propose(_ context.Context, cmd *api.StoreCommand) (uint64, error) {
	data, err := proto.Marshal(cmd)
	if err != nil {
		return 0, fmt.Errorf("encode change: %w", err)
	}
	f := n.raft.Apply(data, queueTimeout)
	switch err := f.Error(); {
	case err == nil:
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return 0, fmt.Errorf("%w: %w", store.ErrNotLeader, err)
	default:
		return 0, fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	if err, ok := f.Response().(error); ok && err != nil {
		return 0, err
	}
	return f.Index(), nil
}

// Started says whether Start has been called: before, only HasState, Bootstrap, ForceNew and Close may be.
func (n *Node) Started() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.started
}
