//go:build linux

// Package node is one machine of Shoal: the daemon. It is the one place where manager and agent meet.
//
// Node holds what every daemon has (the engine and the local socket) and, while it is in a cluster, a member: identity, gossip,
// overlay, DNS, agent and, if its certificate says so, a manager (role.go). Parts know each other only through
// the functions that are handed to them here. keep.go takes a membership up at start and again when it breaks; join.go
// and leave.go begin and end one.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/shoal-dev/shoal/agent/container"
	"github.com/shoal-dev/shoal/engine"
	"github.com/shoal-dev/shoal/engine/server"
	"github.com/shoal-dev/shoal/engine/shim"
	"github.com/shoal-dev/shoal/overlay"
	"github.com/shoal-dev/shoal/proto/api"
)

// Config is what `shoal daemon` was told.
type Config struct {
	DataDir       string
	RunDir        string
	Hostname      string
	ListenAddr    string // default of cluster init and join
	AdvertiseAddr string
	DataPathAddr  string
	GossipPort    uint16
	DataPathPort  uint16
	CgroupParent  string
	SELinux       bool     // containers have labels
	CDISpecDirs   []string // nil: those of package engine/cdi
	Version       string
	Commit        string
	RaftTick      time.Duration // scales Raft's timeouts; 0 is the default
	FaultPoint    func(string)  // engine.Config's, for tests
	Logger        *slog.Logger
}

// ClusterPort is where managers listen, for gRPC and Raft alike.
const ClusterPort = 2377

// Node is a running daemon.
type Node struct {
	cfg    Config
	log    *slog.Logger
	engine *engine.Engine
	tasks  container.Engine // the engine, as the agent sees it

	openOverlay func(overlay.Config) (fabric, error)

	ctx     context.Context // ends when the daemon does
	entered chan struct{}   // buffered by one: there is a new member

	change sync.Mutex // held by init, join, leave and a start after a break, which exclude each other

	mu     sync.Mutex
	member *member // nil outside a cluster
	broken error   // why a membership that is on disk could not be taken up
}

// Run is the daemon: it returns when ctx ends, leaving every container as it is.
func Run(ctx context.Context, cfg Config) error {
	unlock, err := prepare(cfg)
	if err != nil {
		return err
	}
	defer unlock()
	g, ctx := errgroup.WithContext(ctx)
	n := newNode(ctx, cfg)
	if err := n.openEngine(ctx); err != nil {
		return err
	}
	defer n.engine.Close()
	listener, err := openSocket(filepath.Join(cfg.RunDir, "shoal.sock"), cfg.Logger)
	if err != nil {
		return err
	}
	srv := n.localServer()
	server.Register(srv, n.engine)
	g.Go(func() error { return n.engine.Run(ctx) })
	g.Go(func() error { return listener.Run(ctx, socketCheck) })
	g.Go(func() error { return n.serve(ctx, srv, listener) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

func newNode(ctx context.Context, cfg Config) *Node {
	return &Node{
		cfg: cfg, log: cfg.Logger, ctx: ctx, entered: make(chan struct{}, 1),
		openOverlay: func(c overlay.Config) (fabric, error) { return overlay.New(c) },
	}
}

// serve takes up the membership first, so that nobody is told that there is none, and then answers until ctx ends.
func (n *Node) serve(ctx context.Context, srv *grpc.Server, l net.Listener) error {
	if _, err := n.resume(); err != nil {
		n.log.Error("cannot take up the cluster membership, will try again", "error", err)
	}
	var g errgroup.Group
	g.Go(func() error { return n.keep(ctx) })
	s := newSplit(l, func(c net.Conn) { server.ServeExec(ctx, n.engine, n.log, c) })
	g.Go(s.run)
	g.Go(func() error { return srv.Serve(s) })
	if err := notifyReady(); err != nil {
		n.log.Warn("systemd was not told", "error", err)
	}
	n.log.Info("daemon is ready", "version", n.cfg.Version, "data", n.cfg.DataDir, "run", n.cfg.RunDir)
	<-ctx.Done()
	srv.Stop()
	n.change.Lock() // an init, join or leave that is cut short is not cut off
	n.stopMember()
	n.change.Unlock()
	return g.Wait()
}

// prepare makes the directories and takes the locks that keep a second daemon off them.
func prepare(cfg Config) (unlock func(), err error) {
	if os.Getuid() != 0 {
		return nil, errors.New("the daemon needs root: it makes namespaces, cgroups and mounts")
	}
	if err := os.MkdirAll(cfg.DataDir, 0o710); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if err := os.MkdirAll(cfg.RunDir, 0o711); err != nil {
		return nil, fmt.Errorf("make run directory: %w", err)
	}
	data, err := lockFile(filepath.Join(cfg.DataDir, "daemon.lock"), "data directory")
	if err != nil {
		return nil, err
	}
	run, err := lockFile(filepath.Join(cfg.RunDir, "daemon.lock"), "run directory")
	if err != nil {
		data.Close()
		return nil, err
	}
	unlock = func() { run.Close(); data.Close() }
	if err := checkFormat(cfg.DataDir, cfg.Logger); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (n *Node) openEngine(ctx context.Context) error {
	shimPath, err := shim.Path(n.cfg.RunDir)
	if err != nil {
		return err
	}
	opened, err := engine.Open(ctx, engine.Config{
		DataDir: n.cfg.DataDir, RunDir: n.cfg.RunDir, CgroupParent: n.cfg.CgroupParent, Hostname: n.cfg.Hostname,
		ShimPath: shimPath, Logger: n.log, CDISpecDirs: n.cfg.CDISpecDirs, SELinux: n.cfg.SELinux,
		FaultPoint: n.cfg.FaultPoint,
	})
	if err != nil {
		return fmt.Errorf("open engine: %w", err)
	}
	n.engine, n.tasks = opened, engineAdapter{opened}
	return nil
}

// localServer answers on the unix socket. Who may open the socket may do everything.
func (n *Node) localServer() *grpc.Server {
	srv := grpc.NewServer(
		grpc.ForceServerCodecV2(newCodec()),
		grpc.UnknownServiceHandler(passOn(n.manager)),
		grpc.ChainUnaryInterceptor(n.rescueRequest, wholeRequest), grpc.ChainStreamInterceptor(n.rescueStream, wholeStream),
		grpc.MaxRecvMsgSize(maxMessage),
	)
	api.RegisterLocalServer(srv, &local{node: n})
	return srv
}

func (n *Node) addr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}
