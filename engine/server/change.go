//go:build linux

package server

import (
	"context"

	"github.com/shoal-dev/shoal/proto/api"
)

func (s *containers) Rename(ctx context.Context, r *api.RenameContainerRequest) (*api.ContainerResponse, error) {
	return answer(&api.ContainerResponse{}, s.engine.Rename(ctx, r.Ref, r.Name))
}

func (s *containers) Update(ctx context.Context, r *api.UpdateContainerRequest) (*api.UpdateContainerResponse, error) {
	return answer(&api.UpdateContainerResponse{}, s.engine.Update(ctx, r))
}

func (s *containers) Top(ctx context.Context, r *api.TopRequest) (*api.TopResponse, error) {
	top, err := s.engine.Top(ctx, r.Ref, r.PsArgs)
	return answer(top, err)
}

func (s *containers) Prune(ctx context.Context, r *api.PruneRequest) (*api.PruneResponse, error) {
	done, err := s.engine.Prune(ctx, r)
	return answer(done, err)
}

func (s *containers) DiskUsage(ctx context.Context, _ *api.DiskUsageRequest) (*api.DiskUsageResponse, error) {
	usage, err := s.engine.DiskUsage(ctx)
	return answer(usage, err)
}
