package main

import (
	"context"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newVolumeCommand(c *cli) *cobra.Command {
	return group(&cobra.Command{Use: "volume", Short: "Manage volumes"},
		newVolumeCreateCommand(c),
		newVolumeListCommand(c),
		newVolumeInspectCommand(c),
		newVolumePruneCommand(c),
		newVolumeRemoveCommand(c),
	)
}

func (c *cli) volumes(ctx context.Context) ([]*api.Volume, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Containers.ListVolumes(ctx, &api.ListVolumesRequest{})
	return r.GetVolumes(), err
}

func (c *cli) lookupVolume(ctx context.Context, name string) (any, error) {
	all, err := c.volumes(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		if v.Name == name {
			return &volumeView{
				Name: v.Name, Driver: v.Driver, Mountpoint: v.Mountpoint, CreatedAt: rfc3339(v.CreatedAt), Labels: v.Labels, Options: v.Options,
				Scope: orElse(v.Scope, "local"),
			}, nil
		}
	}
	return nil, &client.Error{Code: codes.NotFound, Message: "no such volume: " + name + " (see 'shoal volume ls')"}
}
