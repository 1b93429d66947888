//go:build linux

package server

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/engine"
	"github.com/shoal-dev/shoal/proto/api"
)

// Register adds both services to a server.
func Register(s grpc.ServiceRegistrar, e *engine.Engine) {
	api.RegisterContainersServer(s, &containers{engine: e})
	api.RegisterImagesServer(s, &images{store: e.Images()})
}

type containers struct {
	api.UnimplementedContainersServer
	engine *engine.Engine
}

// answer turns an engine's answer into a call's.
func answer[T any](out *T, err error) (*T, error) {
	if err != nil {
		return nil, toStatus(err)
	}
	return out, nil
}

func (s *containers) Create(ctx context.Context, r *api.CreateContainerRequest) (*api.CreateContainerResponse, error) {
	c, err := s.engine.Create(ctx, engine.CreateOptions{Request: r})
	return answer(&api.CreateContainerResponse{Id: c.GetId(), Name: c.GetName()}, err)
}

func (s *containers) Start(ctx context.Context, r *api.StartContainerRequest) (*api.StartContainerResponse, error) {
	return answer(&api.StartContainerResponse{}, s.engine.Start(ctx, r.Ref))
}

// timeout is nil if the request leaves it to the container.
func timeout(r *api.StopContainerRequest) *time.Duration {
	if r.Timeout == nil {
		return nil
	}
	d := r.Timeout.AsDuration()
	return &d
}

func (s *containers) Stop(ctx context.Context, r *api.StopContainerRequest) (*api.StopContainerResponse, error) {
	return answer(&api.StopContainerResponse{}, s.engine.Stop(ctx, r.Ref, timeout(r), r.Signal))
}

func (s *containers) Restart(ctx context.Context, r *api.StopContainerRequest) (*api.StopContainerResponse, error) {
	return answer(&api.StopContainerResponse{}, s.engine.Restart(ctx, r.Ref, timeout(r), r.Signal))
}

func (s *containers) Kill(ctx context.Context, r *api.KillContainerRequest) (*api.KillContainerResponse, error) {
	return answer(&api.KillContainerResponse{}, s.engine.Kill(ctx, r.Ref, r.Signal))
}

func (s *containers) Pause(ctx context.Context, r *api.ContainerRequest) (*api.ContainerResponse, error) {
	return answer(&api.ContainerResponse{}, s.engine.Pause(ctx, r.Ref))
}

func (s *containers) Unpause(ctx context.Context, r *api.ContainerRequest) (*api.ContainerResponse, error) {
	return answer(&api.ContainerResponse{}, s.engine.Unpause(ctx, r.Ref))
}

func (s *containers) Wait(ctx context.Context, r *api.WaitContainerRequest) (*api.WaitContainerResponse, error) {
	c, err := s.engine.Wait(ctx, r.Ref, r.Condition)
	return answer(&api.WaitContainerResponse{ExitCode: c.GetExitCode(), Error: c.GetError()}, err)
}

func (s *containers) Remove(ctx context.Context, r *api.RemoveContainerRequest) (*api.ContainerResponse, error) {
	return answer(&api.ContainerResponse{}, s.engine.Remove(ctx, r.Ref, r.Force, r.Volumes))
}

func (s *containers) List(ctx context.Context, r *api.ListContainersRequest) (*api.ListContainersResponse, error) {
	list, err := s.engine.List(ctx, r)
	return answer(&api.ListContainersResponse{Containers: list}, err)
}

func (s *containers) Inspect(ctx context.Context, r *api.ContainerRequest) (*api.InspectContainerResponse, error) {
	c, d, err := s.engine.InspectDetails(ctx, r.Ref)
	return answer(&api.InspectContainerResponse{Container: c, Details: d}, err)
}

func (s *containers) Logs(r *api.ContainerLogsRequest, stream grpc.ServerStreamingServer[api.LogLine]) error {
	return toStatus(s.engine.Logs(stream.Context(), r.Ref, r.Options, stream.Send))
}

// statsInterval of a stream of statistics.
const statsInterval = time.Second

func (s *containers) Stats(r *api.StatsRequest, stream grpc.ServerStreamingServer[api.StatsMessage]) error {
	ctx := stream.Context()
	before := map[string]*api.ContainerStats{}
	tick := time.NewTicker(statsInterval)
	defer tick.Stop()
	for {
		stats, err := s.engine.Stats(ctx, r.Refs)
		if err != nil {
			return toStatus(err)
		}
		// One answer alone needs two looks: a share of the CPU is between two moments.
		first := len(before) == 0 && len(stats) > 0
		for _, now := range stats {
			now.CpuPercent = cpuPercent(before[now.Id], now)
			before[now.Id] = now
		}
		if r.Stream || !first {
			if err := stream.Send(&api.StatsMessage{Stats: stats}); err != nil {
				return err
			}
			if !r.Stream {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return toStatus(ctx.Err())
		}
	}
}

func cpuPercent(before, now *api.ContainerStats) float64 {
	if before == nil || now.CpuNs < before.CpuNs {
		return 0
	}
	wall := now.Time.AsTime().Sub(before.Time.AsTime())
	if wall <= 0 {
		return 0
	}
	return 100 * float64(now.CpuNs-before.CpuNs) / float64(wall)
}

func (s *containers) CreateNetwork(ctx context.Context, r *api.CreateLocalNetworkRequest) (*api.CreateLocalNetworkResponse, error) {
	n, err := s.engine.CreateNetwork(ctx, proto.CloneOf(r.Network))
	return answer(&api.CreateLocalNetworkResponse{Network: n}, err)
}

func (s *containers) ListNetworks(context.Context, *api.ListLocalNetworksRequest) (*api.ListLocalNetworksResponse, error) {
	return &api.ListLocalNetworksResponse{Networks: s.engine.ListNetworks()}, nil
}

func (s *containers) ConnectNetwork(ctx context.Context, r *api.ConnectNetworkRequest) (*api.ContainerResponse, error) {
	return answer(&api.ContainerResponse{}, s.engine.Connect(ctx, r.Ref, r.Network))
}

func (s *containers) DisconnectNetwork(ctx context.Context, r *api.DisconnectNetworkRequest) (*api.ContainerResponse, error) {
	return answer(&api.ContainerResponse{}, s.engine.Disconnect(ctx, r.Ref, r.Network, r.Force))
}

func (s *containers) RemoveNetwork(ctx context.Context, r *api.RemoveLocalNetworkRequest) (*api.RemoveLocalNetworkResponse, error) {
	id, err := s.engine.RemoveNetwork(ctx, r.Ref)
	return answer(&api.RemoveLocalNetworkResponse{Id: id}, err)
}

func (s *containers) CreateVolume(ctx context.Context, r *api.CreateVolumeRequest) (*api.CreateVolumeResponse, error) {
	v, err := s.engine.CreateVolume(ctx, r.Volume)
	return answer(&api.CreateVolumeResponse{Volume: v}, err)
}

func (s *containers) ListVolumes(ctx context.Context, _ *api.ListVolumesRequest) (*api.ListVolumesResponse, error) {
	list, err := s.engine.VolumeStore().List(ctx)
	return answer(&api.ListVolumesResponse{Volumes: list}, err)
}

func (s *containers) RemoveVolume(ctx context.Context, r *api.RemoveVolumeRequest) (*api.RemoveVolumeResponse, error) {
	return answer(&api.RemoveVolumeResponse{}, s.engine.RemoveVolume(ctx, r.Name, r.Force))
}
