//go:build linux

package node

import (
	"context"
	"runtime"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/internal/identity"
	"github.com/shoal-dev/shoal/proto/api"
)

// local implements api.LocalServer: the daemon's own door.
type local struct {
	api.UnimplementedLocalServer
	node *Node
}

// Info says what this daemon is and what state its membership is in.
func (l *local) Info(ctx context.Context, _ *api.InfoRequest) (*api.InfoResponse, error) {
	n := l.node
	r := &api.InfoResponse{
		Version: n.cfg.Version, Commit: n.cfg.Commit, GoVersion: runtime.Version(), Hostname: n.cfg.Hostname,
		Kernel: kernelRelease(), Os: runtime.GOOS, Architecture: runtime.GOARCH, Cpus: int32(runtime.NumCPU()), MemoryBytes: memoryTotal(),
		DataDir: n.cfg.DataDir, RunDir: n.cfg.RunDir, CgroupVersion: cgroupVersion(), Runtimes: []string{"shoal"},
		StorageDriver: "overlayfs", SecurityOptions: []string{"seccomp"},
		Cluster: l.cluster(ctx), CdiSpecDirs: n.engine.CDI().Dirs(),
	}
	if n.engine.SELinux() {
		r.SecurityOptions = append(r.SecurityOptions, "selinux")
	}
	r.CdiDevices, r.Warnings = n.engine.CDI().Devices()
	if err := n.count(ctx, r); err != nil {
		return nil, err
	}
	return r, nil
}

func (l *local) cluster(ctx context.Context) *api.ClusterInfo {
	m, broken := l.node.current()
	c := &api.ClusterInfo{}
	if broken != nil {
		c.State, c.Error = api.ClusterInfo_ERROR, broken.Error()
	}
	if m == nil {
		return c
	}
	info := m.id.Info()
	c.NodeId, c.ClusterId, c.NodeAddr = info.NodeID, info.ClusterID, m.state.AdvertiseAddr
	c.ManagerAddrs = m.managerAddrs()
	if info.Role == identity.Manager {
		c.Role = api.NodeRole_MANAGER
	}
	if m.ended() {
		c.State, c.Error = api.ClusterInfo_ERROR, or(c.Error, errorText(m.err), "the cluster membership has ended")
		return c
	}
	c.State, c.Error = m.condition()
	m.fillManagers(ctx, c)
	return c
}

// condition is PENDING until a manager has spoken to this node.
func (m *member) condition() (api.ClusterInfo_State, string) {
	why := errorText(m.trouble())
	switch {
	case m.removed.Load():
		return api.ClusterInfo_ERROR, why
	case m.spokenTo():
		return api.ClusterInfo_ACTIVE, why
	}
	return api.ClusterInfo_PENDING, why
}

func (m *member) spokenTo() bool {
	select {
	case <-m.joined:
		return true
	default:
		return false
	}
}

// CheckNetwork says where the kernel differs from what the cluster's rows want.
func (l *local) CheckNetwork(ctx context.Context, _ *api.CheckNetworkRequest) (*api.CheckNetworkResponse, error) {
	m, broken := l.node.current()
	if m == nil && broken == nil {
		return nil, errNoCluster()
	}
	if m == nil || m.ended() {
		return nil, refused("this node's part in the cluster does not run: see 'shoal cluster info'")
	}
	diff, err := m.overlay.Check(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "check network: %v", err)
	}
	return &api.CheckNetworkResponse{Differences: diff}, nil
}

func errNoCluster() error {
	return status.Error(codes.FailedPrecondition, "this node is not in a cluster: run 'shoal cluster init' or 'shoal cluster join'")
}

func refused(format string, a ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, a...)
}

func invalid(format string, a ...any) error {
	return status.Errorf(codes.InvalidArgument, format, a...)
}
