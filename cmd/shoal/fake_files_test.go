package main

import (
	"context"
	"io/fs"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-dev/shoal/proto/api"
)

func (f *fakeContainers) Diff(context.Context, *api.ContainerRequest) (*api.DiffResponse, error) {
	return &api.DiffResponse{Changes: []*api.FileChange{
		{Path: "/etc"}, {Path: "/etc/new", Kind: api.FileChange_ADDED}, {Path: "/bin/sed", Kind: api.FileChange_DELETED},
	}}, nil
}

func (f *fakeContainers) Export(_ *api.ContainerRequest, s grpc.ServerStreamingServer[api.ArchiveChunk]) error {
	return s.Send(&api.ArchiveChunk{Data: f.archive})
}

func (f *fakeContainers) CopyFrom(_ *api.CopyFromRequest, s grpc.ServerStreamingServer[api.ArchiveChunk]) error {
	half := len(f.archive) / 2
	if err := s.Send(&api.ArchiveChunk{Data: f.archive[:half]}); err != nil {
		return err
	}
	return s.Send(&api.ArchiveChunk{Data: f.archive[half:]})
}

// StatPath knows /there (a directory), /afile and /alink, which leads to /there, as destinations, and what f.stat says.
func (f *fakeContainers) StatPath(_ context.Context, r *api.CopyFromRequest) (*api.PathStat, error) {
	switch {
	case r.Ref == "gone":
		return nil, notFound("container: gone")
	case f.stat != 0:
		return &api.PathStat{Mode: uint32(f.stat)}, nil
	case r.Path == "/there":
		return &api.PathStat{Mode: uint32(fs.ModeDir | 0o755)}, nil
	case r.Path == "/afile":
		return &api.PathStat{Mode: 0o644}, nil
	case r.Path == "/alink":
		return &api.PathStat{Mode: uint32(fs.ModeSymlink | 0o777), LinkTarget: "there"}, nil
	case strings.HasPrefix(r.Path, "/afile/"):
		return nil, status.Error(codes.InvalidArgument, "not a directory")
	}
	return nil, notFound("file or directory in container web: " + r.Path)
}

func (f *fakeContainers) CopyTo(s grpc.ClientStreamingServer[api.CopyToRequest, api.CopyToResponse]) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	f.copyTo = first
	if strings.HasPrefix(first.Path, "/afile") {
		return status.Error(codes.Internal, "the disk is full")
	}
	for {
		m, err := s.Recv()
		if isEOF(err) {
			return s.SendAndClose(&api.CopyToResponse{})
		}
		if err != nil {
			return err
		}
		f.copied.Write(m.Data)
	}
}

func (f *fakeContainers) Prune(_ context.Context, r *api.PruneRequest) (*api.PruneResponse, error) {
	f.prune = r
	return f.pruned, nil
}

func (f *fakeContainers) DiskUsage(context.Context, *api.DiskUsageRequest) (*api.DiskUsageResponse, error) {
	return &api.DiskUsageResponse{
		Layers: 3000, Images: []*api.ImageUsage{{Image: &api.Image{Id: "sha256:" + strings.Repeat("b", 64), Tags: []string{"box:1"}, Size: 2000}, Unique: 1000, Containers: 1}, {Image: &api.Image{Id: "sha256:" + strings.Repeat("c", 64), Size: 2000}, Unique: 1000}},
		Containers: f.containers, Volumes: []*api.VolumeUsage{{Volume: &api.Volume{Name: "data"}, Size: 10, Containers: 1}, {Volume: &api.Volume{Name: "old"}, Size: 30}},
	}, nil
}

// Events tells what f.events holds and ends.
func (f *fakeContainers) Events(r *api.EventsRequest, s grpc.ServerStreamingServer[api.Event]) error {
	for _, ev := range f.events {
		if err := s.Send(ev); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeContainers) Commit(_ context.Context, r *api.CommitRequest) (*api.CommitResponse, error) {
	f.commit = r
	return &api.CommitResponse{ImageId: "sha256:" + strings.Repeat("d", 64)}, nil
}
