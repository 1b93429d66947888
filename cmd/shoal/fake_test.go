package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fake is a daemon that answers from memory and remembers what it was asked.
type fake struct {
	control    fakeControl
	local      fakeLocal
	containers fakeContainers
	images     fakeImages
	host       string
}

// newFake serves on a socket of its own. noControl leaves out the managers' service, as a worker does.
func newFake(t *testing.T, noControl ...bool) *fake {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s.sock"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{host: "unix://" + l.Addr().String()}
	f.local.info = &api.InfoResponse{
		Version: "1.0", GoVersion: "go1", Hostname: "one", Os: "linux", Architecture: "amd64", Kernel: "6.18", MemoryBytes: 4 << 30, Cpus: 2,
		Cluster: &api.ClusterInfo{State: api.ClusterInfo_ACTIVE, NodeId: "node1", NodeAddr: "10.0.0.1", ClusterId: "cluster1", Role: api.NodeRole_MANAGER, Managers: 1, ManagersReachable: 1, Nodes: 2, LeaderId: "node1", ManagerAddrs: []string{"10.0.0.1:2377"}},
	}
	s := grpc.NewServer()
	if len(noControl) == 0 {
		api.RegisterControlServer(s, &f.control)
	}
	api.RegisterLocalServer(s, &f.local)
	api.RegisterContainersServer(s, &f.containers)
	api.RegisterImagesServer(s, &f.images)
	go s.Serve(l)
	t.Cleanup(func() {
		s.Stop()
		os.RemoveAll(dir)
	})
	return f
}

// result of a command line.
type result struct {
	out, err string
	code     int
}

// run runs a whole command line against the fake.
func (f *fake) run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	t.Setenv("SHOAL_HOST", f.host)
	return runCLI(strings.NewReader(stdin), args...)
}

func runCLI(in io.Reader, args ...string) result {
	var out, errOut lockedBuffer
	code := run(args, in, &out, &errOut)
	return result{out.String(), errOut.String(), code}
}

// lockedBuffer may be read while a session still writes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// golden compares with testdata/NAME.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (run with -update if that is right):\n%s", path, diff)
	}
}

func at(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(-d)) }

func notFound(what string) error { return status.Errorf(codes.NotFound, "no such %s", what) }

type fakeLocal struct {
	api.UnimplementedLocalServer
	info *api.InfoResponse
	join *api.JoinClusterRequest
	init *api.InitClusterRequest
}

func (f *fakeLocal) Info(context.Context, *api.InfoRequest) (*api.InfoResponse, error) {
	return f.info, nil
}

func (f *fakeLocal) InitCluster(_ context.Context, r *api.InitClusterRequest) (*api.InitClusterResponse, error) {
	f.init = r
	return &api.InitClusterResponse{NodeId: "node1", WorkerToken: "SHOAL-1-a-w", ManagerToken: "SHOAL-1-a-m", Addr: "10.0.0.1:2377"}, nil
}

func (f *fakeLocal) JoinCluster(_ context.Context, r *api.JoinClusterRequest) (*api.JoinClusterResponse, error) {
	f.join = r
	return &api.JoinClusterResponse{NodeId: "node2", Role: api.NodeRole_WORKER}, nil
}

func (f *fakeLocal) LeaveCluster(_ context.Context, r *api.LeaveClusterRequest) (*api.LeaveClusterResponse, error) {
	if !r.Force {
		return nil, status.Error(codes.FailedPrecondition, "this node is the last manager: use --force to lose the cluster")
	}
	return &api.LeaveClusterResponse{}, nil
}

// fakeControl keeps rows and tells watchers of changes that a test makes.
type fakeControl struct {
	api.UnimplementedControlServer
	mu       sync.Mutex
	services []*api.Service
	nodes    []*api.Node
	tasks    []*api.TaskInfo
	networks []*api.Network
	logs     []*api.ServiceLogsMessage
	created  *api.ServiceSpec
	updated  *api.UpdateServiceRequest
	changes  chan *api.WatchMessage // nil: watches stay silent
	// fail is what every write answers, failReads how many reads fail first.
	fail      error
	failReads int
	// conflicts is how many updates are refused as stale.
	conflicts int
}

func (f *fakeControl) read() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failReads > 0 {
		f.failReads--
		return status.Error(codes.Unavailable, "the managers elect a leader: try again")
	}
	return nil
}

func (f *fakeControl) GetCluster(context.Context, *api.GetClusterRequest) (*api.GetClusterResponse, error) {
	return &api.GetClusterResponse{Cluster: &api.Cluster{Id: "cluster1", WorkerToken: "SHOAL-1-a-w", ManagerToken: "SHOAL-1-a-m", Spec: &api.ClusterSpec{SubnetSize: 22}}}, nil
}

func (f *fakeControl) UpdateCluster(_ context.Context, r *api.UpdateClusterRequest) (*api.UpdateClusterResponse, error) {
	c := &api.Cluster{Id: "cluster1", WorkerToken: "SHOAL-1-a-w", ManagerToken: "SHOAL-1-a-m"}
	if r.RotateWorkerToken {
		c.WorkerToken = "SHOAL-1-a-new"
	}
	return &api.UpdateClusterResponse{Cluster: c}, nil
}

func (f *fakeControl) ListNodes(context.Context, *api.ListNodesRequest) (*api.ListNodesResponse, error) {
	return &api.ListNodesResponse{Nodes: f.nodes}, f.read()
}

func (f *fakeControl) GetNode(_ context.Context, r *api.GetNodeRequest) (*api.GetNodeResponse, error) {
	for _, n := range f.nodes {
		if n.Id == r.Ref || n.Description.Hostname == r.Ref {
			return &api.GetNodeResponse{Node: n}, nil
		}
	}
	return nil, notFound("node: " + r.Ref)
}

func (f *fakeControl) UpdateNode(_ context.Context, r *api.UpdateNodeRequest) (*api.UpdateNodeResponse, error) {
	for _, n := range f.nodes {
		if n.Id == r.Ref {
			n.Spec = r.Spec
		}
	}
	return &api.UpdateNodeResponse{}, f.fail
}

func (f *fakeControl) RemoveNode(_ context.Context, r *api.RemoveNodeRequest) (*api.RemoveNodeResponse, error) {
	return &api.RemoveNodeResponse{}, f.fail
}

func (f *fakeControl) CreateService(_ context.Context, r *api.CreateServiceRequest) (*api.CreateServiceResponse, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created = r.Spec
	s := &api.Service{Id: "service9", Spec: r.Spec, Revision: 1, Meta: &api.Meta{Version: 1}}
	f.services = append(f.services, s)
	return &api.CreateServiceResponse{Service: s}, nil
}

func (f *fakeControl) find(ref string) *api.Service {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.services {
		if s.Id == ref || s.Spec.Name == ref {
			return s
		}
	}
	return nil
}

func (f *fakeControl) GetService(_ context.Context, r *api.GetServiceRequest) (*api.GetServiceResponse, error) {
	if err := f.read(); err != nil {
		return nil, err
	}
	s := f.find(r.Ref)
	if s == nil {
		return nil, notFound("service: " + r.Ref)
	}
	return &api.GetServiceResponse{Service: s, Counts: &api.ServiceCounts{Running: 1, Desired: s.Spec.Mode.Replicas}}, nil
}

func (f *fakeControl) UpdateService(_ context.Context, r *api.UpdateServiceRequest) (*api.UpdateServiceResponse, error) {
	if f.conflicts > 0 {
		f.conflicts--
		return nil, status.Error(codes.Aborted, "service was changed by somebody else meanwhile: look again and repeat")
	}
	if f.fail != nil {
		return nil, f.fail
	}
	f.updated = r
	s := proto.CloneOf(f.find(r.Ref))
	if r.Spec != nil {
		s.Spec = r.Spec
	}
	return &api.UpdateServiceResponse{Service: s}, nil
}

func (f *fakeControl) RemoveService(_ context.Context, r *api.RemoveServiceRequest) (*api.RemoveServiceResponse, error) {
	if f.find(r.Ref) == nil {
		return nil, notFound("service: " + r.Ref)
	}
	return &api.RemoveServiceResponse{}, nil
}

func (f *fakeControl) ListServices(context.Context, *api.ListServicesRequest) (*api.ListServicesResponse, error) {
	r := &api.ListServicesResponse{Services: f.services}
	for _, s := range f.services {
		r.Counts = append(r.Counts, &api.ServiceCounts{ServiceId: s.Id, Running: 1, Desired: s.Spec.Mode.Replicas})
	}
	return r, f.read()
}

func (f *fakeControl) ListTasks(_ context.Context, r *api.ListTasksRequest) (*api.ListTasksResponse, error) {
	out := &api.ListTasksResponse{}
	for _, t := range f.tasks {
		if (r.ServiceId == "" || t.Task.ServiceId == r.ServiceId) && (r.NodeId == "" || t.Task.NodeId == r.NodeId) {
			out.Tasks = append(out.Tasks, t)
		}
	}
	return out, nil
}

func (f *fakeControl) GetTask(_ context.Context, r *api.GetTaskRequest) (*api.GetTaskResponse, error) {
	for _, t := range f.tasks {
		if t.Task.Id == r.Ref {
			return &api.GetTaskResponse{Task: t}, nil
		}
	}
	return nil, notFound("task: " + r.Ref)
}

func (f *fakeControl) CreateNetwork(_ context.Context, r *api.CreateNetworkRequest) (*api.CreateNetworkResponse, error) {
	n := &api.Network{Id: "overlay9", Spec: r.Spec}
	f.networks = append(f.networks, n)
	return &api.CreateNetworkResponse{Network: n}, nil
}

func (f *fakeControl) ListNetworks(context.Context, *api.ListNetworksRequest) (*api.ListNetworksResponse, error) {
	return &api.ListNetworksResponse{Networks: f.networks}, nil
}

func (f *fakeControl) RemoveNetwork(_ context.Context, r *api.RemoveNetworkRequest) (*api.RemoveNetworkResponse, error) {
	return nil, status.Errorf(codes.FailedPrecondition, "network %s is used by service web: remove that first", r.Ref)
}

func (f *fakeControl) Watch(_ *api.WatchRequest, s grpc.ServerStreamingServer[api.WatchMessage]) error {
	if err := s.Send(&api.WatchMessage{}); err != nil {
		return err
	}
	for {
		select {
		case <-s.Context().Done():
			return s.Context().Err()
		case m, ok := <-f.changes:
			if !ok {
				return status.Error(codes.ResourceExhausted, "this watch fell behind")
			}
			if err := s.Send(m); err != nil {
				return err
			}
		}
	}
}

func (f *fakeControl) ServiceLogs(_ *api.ServiceLogsRequest, s grpc.ServerStreamingServer[api.ServiceLogsMessage]) error {
	for _, m := range f.logs {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	return nil
}

type fakeContainers struct {
	api.UnimplementedContainersServer
	mu         sync.Mutex
	containers []*api.Container
	networks   []*api.LocalNetwork
	volumes    []*api.Volume
	created    *api.CreateContainerRequest
	listed     *api.ListContainersRequest
	updated    *api.UpdateContainerRequest
	calls      []string
	startErr   error
	missing    bool // the image: the first Create fails
	exit       *api.StreamExit
	output     []*api.StreamOutput // sent once the container has been started
	started    chan struct{}
	signals    chan string
	exec       *api.ExecOpen
	echo       bool // stdin comes back until it is closed
	archive    []byte
	stat       fs.FileMode
	copyTo     *api.CopyToRequest // the first message
	copied     bytes.Buffer
	commit     *api.CommitRequest
	events     []*api.Event
	prune      *api.PruneRequest
	pruned     *api.PruneResponse
}

func (f *fakeContainers) call(s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, s)
}

func (f *fakeContainers) Create(_ context.Context, r *api.CreateContainerRequest) (*api.CreateContainerResponse, error) {
	f.call("create")
	if f.missing {
		f.missing = false
		return nil, notFound("image: " + r.Spec.Image)
	}
	f.created = r
	return &api.CreateContainerResponse{Id: strings.Repeat("c", 64), Name: r.Name}, nil
}

func (f *fakeContainers) Start(_ context.Context, r *api.StartContainerRequest) (*api.StartContainerResponse, error) {
	f.call("start " + cut(r.Ref, 12))
	if f.startErr != nil {
		return nil, f.startErr
	}
	if f.started != nil {
		close(f.started)
	}
	return &api.StartContainerResponse{}, nil
}

func (f *fakeContainers) Remove(_ context.Context, r *api.RemoveContainerRequest) (*api.ContainerResponse, error) {
	f.call("remove " + cut(r.Ref, 12))
	if r.Ref == "gone" {
		return nil, notFound("container: gone")
	}
	return &api.ContainerResponse{}, nil
}

func (f *fakeContainers) Stop(_ context.Context, r *api.StopContainerRequest) (*api.StopContainerResponse, error) {
	if r.Ref == "gone" {
		return nil, notFound("container: gone")
	}
	f.call("stop " + r.Ref + " " + r.Timeout.AsDuration().String())
	return &api.StopContainerResponse{}, nil
}

func (f *fakeContainers) Kill(_ context.Context, r *api.KillContainerRequest) (*api.KillContainerResponse, error) {
	f.call("kill " + cut(r.Ref, 12) + " " + r.Signal)
	if f.signals != nil {
		f.signals <- r.Signal
	}
	return &api.KillContainerResponse{}, nil
}

func (f *fakeContainers) Rename(_ context.Context, r *api.RenameContainerRequest) (*api.ContainerResponse, error) {
	f.call("rename " + r.Ref + " " + r.Name)
	return &api.ContainerResponse{}, nil
}

func (f *fakeContainers) Update(_ context.Context, r *api.UpdateContainerRequest) (*api.UpdateContainerResponse, error) {
	f.updated = r
	return &api.UpdateContainerResponse{Warnings: []string{"this machine has no swap"}}, nil
}

func (f *fakeContainers) Top(_ context.Context, r *api.TopRequest) (*api.TopResponse, error) {
	f.call("top " + r.Ref + " " + strings.Join(r.PsArgs, " "))
	return &api.TopResponse{Titles: []string{"UID", "PID", "CMD"}, Processes: []*api.TopResponse_Row{{Values: []string{"root", "42", "sleep 1000"}}}}, nil
}

func (f *fakeContainers) Wait(context.Context, *api.WaitContainerRequest) (*api.WaitContainerResponse, error) {
	return &api.WaitContainerResponse{ExitCode: 3}, nil
}

func (f *fakeContainers) List(_ context.Context, r *api.ListContainersRequest) (*api.ListContainersResponse, error) {
	f.listed = r
	return &api.ListContainersResponse{Containers: f.containers}, nil
}

func (f *fakeContainers) Inspect(_ context.Context, r *api.ContainerRequest) (*api.InspectContainerResponse, error) {
	for _, k := range f.containers {
		if k.Name == r.Ref || strings.HasPrefix(k.Id, r.Ref) {
			return &api.InspectContainerResponse{Container: k}, nil
		}
	}
	return nil, notFound("container: " + r.Ref)
}

func (f *fakeContainers) Logs(r *api.ContainerLogsRequest, s grpc.ServerStreamingServer[api.LogLine]) error {
	for i, text := range []string{"one\n", "two\n"} {
		l := &api.LogLine{Data: []byte(text), Stderr: i == 1, Time: timestamppb.New(time.Unix(1700000000, 5).UTC())}
		if r.GetOptions().GetDetails() && i == 0 {
			l.Attrs = map[string]string{"tier": "web", "b": "x y=,\n"}
		}
		if err := s.Send(l); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeContainers) Stats(_ *api.StatsRequest, s grpc.ServerStreamingServer[api.StatsMessage]) error {
	return s.Send(&api.StatsMessage{Stats: []*api.ContainerStats{{
		Id: strings.Repeat("a", 64), Name: "web", CpuPercent: 12.5, MemoryBytes: 64 << 20, MemoryLimit: 128 << 20,
		NetRxBytes: 1500, NetTxBytes: 2500000, BlockReadBytes: 0, BlockWriteBytes: 4096, Pids: 3,
	}}})
}

func (f *fakeContainers) Attach(s grpc.BidiStreamingServer[api.StreamInput, api.StreamOutput]) error {
	m, err := s.Recv()
	if err != nil {
		return err
	}
	f.call("attach " + cut(m.GetAttach().GetRef(), 12))
	if err := s.Send(&api.StreamOutput{Kind: &api.StreamOutput_Ready{Ready: true}}); err != nil {
		return err
	}
	if f.started != nil {
		select {
		case <-f.started:
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
	return f.play(s)
}

func (f *fakeContainers) Exec(s grpc.BidiStreamingServer[api.StreamInput, api.StreamOutput]) error {
	m, err := s.Recv()
	if err != nil {
		return err
	}
	f.exec = m.GetExec()
	if f.exec.Command[0] == "nothing" {
		return s.Send(&api.StreamOutput{Kind: &api.StreamOutput_Exit{Exit: &api.StreamExit{Code: 127, Error: "command not found: nothing"}}})
	}
	if err := s.Send(&api.StreamOutput{Kind: &api.StreamOutput_Ready{Ready: true}}); err != nil {
		return err
	}
	return f.play(s)
}

func (f *fakeContainers) play(s grpc.BidiStreamingServer[api.StreamInput, api.StreamOutput]) error {
	for _, m := range f.output {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	for f.echo {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if m.GetStdinClose() {
			break
		}
		if err := s.Send(&api.StreamOutput{Kind: &api.StreamOutput_Stdout{Stdout: m.GetStdin()}}); err != nil {
			return err
		}
	}
	if f.signals != nil {
		<-f.signals
	}
	exit := f.exit
	if exit == nil {
		exit = &api.StreamExit{}
	}
	return s.Send(&api.StreamOutput{Kind: &api.StreamOutput_Exit{Exit: exit}})
}

func (f *fakeContainers) CreateNetwork(_ context.Context, r *api.CreateLocalNetworkRequest) (*api.CreateLocalNetworkResponse, error) {
	r.Network.Id = strings.Repeat("b", 64)
	f.networks = append(f.networks, r.Network)
	return &api.CreateLocalNetworkResponse{Network: r.Network}, nil
}

func (f *fakeContainers) ListNetworks(context.Context, *api.ListLocalNetworksRequest) (*api.ListLocalNetworksResponse, error) {
	return &api.ListLocalNetworksResponse{Networks: f.networks}, nil
}

func (f *fakeContainers) ConnectNetwork(_ context.Context, r *api.ConnectNetworkRequest) (*api.ContainerResponse, error) {
	n := r.Network
	f.call(fmt.Sprintf("network connect %s %s %s %s %v %v", cut(n.Network, 12), r.Ref, n.Ip, n.Ip6, n.Aliases, n.LinkLocalIps))
	return &api.ContainerResponse{}, nil
}

func (f *fakeContainers) DisconnectNetwork(_ context.Context, r *api.DisconnectNetworkRequest) (*api.ContainerResponse, error) {
	f.call(fmt.Sprintf("network disconnect %s %s %v", cut(r.Network, 12), r.Ref, r.Force))
	return &api.ContainerResponse{}, nil
}

func (f *fakeContainers) RemoveNetwork(_ context.Context, r *api.RemoveLocalNetworkRequest) (*api.RemoveLocalNetworkResponse, error) {
	f.call("network rm " + cut(r.Ref, 12))
	return &api.RemoveLocalNetworkResponse{}, nil
}

func (f *fakeContainers) CreateVolume(_ context.Context, r *api.CreateVolumeRequest) (*api.CreateVolumeResponse, error) {
	f.volumes = append(f.volumes, r.Volume)
	return &api.CreateVolumeResponse{Volume: r.Volume}, nil
}

func (f *fakeContainers) ListVolumes(context.Context, *api.ListVolumesRequest) (*api.ListVolumesResponse, error) {
	return &api.ListVolumesResponse{Volumes: f.volumes}, nil
}

func (f *fakeContainers) RemoveVolume(_ context.Context, r *api.RemoveVolumeRequest) (*api.RemoveVolumeResponse, error) {
	return &api.RemoveVolumeResponse{}, nil
}

type fakeImages struct {
	api.UnimplementedImagesServer
	images   []*api.Image
	pulled   *api.PullImageRequest
	uploaded []byte
	upload   *api.ImageUpload
}

func (f *fakeImages) List(context.Context, *api.ListImagesRequest) (*api.ListImagesResponse, error) {
	return &api.ListImagesResponse{Images: f.images}, nil
}

func (f *fakeImages) Inspect(_ context.Context, r *api.InspectImageRequest) (*api.InspectImageResponse, error) {
	for _, i := range f.images {
		for _, tag := range i.Tags {
			if tag == r.Ref || tag == r.Ref+":latest" {
				return &api.InspectImageResponse{Image: i}, nil
			}
		}
	}
	return nil, notFound("image: " + r.Ref)
}

func (f *fakeImages) Tag(context.Context, *api.TagImageRequest) (*api.TagImageResponse, error) {
	return &api.TagImageResponse{}, nil
}

func (f *fakeImages) Remove(_ context.Context, r *api.RemoveImageRequest) (*api.RemoveImageResponse, error) {
	if r.Ref == "gone" {
		return nil, notFound("image: gone")
	}
	return &api.RemoveImageResponse{Untagged: []string{r.Ref + ":latest"}, Deleted: []string{"sha256:1"}}, nil
}

func (f *fakeImages) Pull(r *api.PullImageRequest, s grpc.ServerStreamingServer[api.ImageProgress]) error {
	f.pulled = r
	if strings.HasPrefix(r.Ref, "gone") {
		return status.Errorf(codes.NotFound, "no such image: %s in the registry", r.Ref)
	}
	for _, m := range []*api.ImageProgress{
		{Status: "latest: Pulling from " + r.Ref},
		{Id: "aaa", Status: "Downloading", Current: 1, Total: 10},
		{Id: "aaa", Status: "Downloading", Current: 9, Total: 10},
		{Id: "aaa", Status: "Pull complete"},
		{Status: "Digest: sha256:dd"},
		{Status: "Complete", ImageId: "sha256:1", Ref: r.Ref + ":latest"},
		{Status: "Pulled", ImageId: "sha256:1", Ref: "docker.io/library/" + r.Ref + ":latest"},
	} {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeImages) receive(s interface {
	Recv() (*api.ImageUpload, error)
}) error {
	for {
		m, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if f.upload == nil {
			f.upload = m
		}
		f.uploaded = append(f.uploaded, m.Data...)
	}
}

func (f *fakeImages) Load(s grpc.BidiStreamingServer[api.ImageUpload, api.ImageProgress]) error {
	if err := f.receive(s); err != nil {
		return err
	}
	if len(f.uploaded) == 0 {
		return status.Error(codes.InvalidArgument, "the archive is empty")
	}
	for range 2 { // the story of the image and that of the call end alike
		if err := s.Send(&api.ImageProgress{Status: "Loaded", ImageId: "sha256:1", Ref: "web:1"}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeImages) Import(s grpc.BidiStreamingServer[api.ImageUpload, api.ImageProgress]) error {
	if err := f.receive(s); err != nil {
		return err
	}
	return s.Send(&api.ImageProgress{ImageId: "sha256:" + strings.Repeat("2", 64)})
}

func (f *fakeImages) Save(r *api.SaveImageRequest, s grpc.ServerStreamingServer[api.ImageData]) error {
	if r.Refs[0] == "gone" {
		return notFound("image: gone")
	}
	for _, part := range []string{"ar", "chive"} {
		if err := s.Send(&api.ImageData{Data: []byte(part)}); err != nil {
			return err
		}
	}
	return nil
}
