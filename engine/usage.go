//go:build linux

package engine

import (
	"context"

	"github.com/shoal-dev/shoal/proto/api"
)

// DiskUsage says what images, containers and volumes take on disk.
func (e *Engine) DiskUsage(ctx context.Context) (*api.DiskUsageResponse, error) {
	out := &api.DiskUsageResponse{}
	var err error
	if out.Layers, err = e.cfg.Images.LayerBytes(); err != nil {
		return nil, err
	}
	if err := e.imageUsage(ctx, out); err != nil {
		return nil, err
	}
	if out.Containers, err = e.List(ctx, &api.ListContainersRequest{All: true, Size: true}); err != nil {
		return nil, err
	}
	volumes, err := e.cfg.Volumes.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		out.Volumes = append(out.Volumes, &api.VolumeUsage{Volume: v, Size: volumeSize(v), Containers: int32(len(e.VolumeUsers(v.Name)))})
	}
	return out, nil
}

func (e *Engine) imageUsage(ctx context.Context, out *api.DiskUsageResponse) error {
	images, err := e.cfg.Images.List(ctx)
	if err != nil {
		return err
	}
	unique, err := e.cfg.Images.UniqueBytes()
	if err != nil {
		return err
	}
	for _, img := range images {
		out.Images = append(out.Images, &api.ImageUsage{Image: img, Unique: unique[img.Id], Containers: int32(len(e.imageUsers(img.Id)))})
	}
	return nil
}
