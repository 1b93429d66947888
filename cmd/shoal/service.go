package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newServiceCommand(c *cli) *cobra.Command {
	return group(&cobra.Command{Use: "service", Short: "Manage services"},
		newServiceCreateCommand(c),
		newServiceListCommand(c),
		newServicePsCommand(c),
		newServiceInspectCommand(c),
		newServiceUpdateCommand(c),
		newServiceScaleCommand(c),
		newServiceRollbackCommand(c),
		newServiceLogsCommand(c),
		newServiceRemoveCommand(c),
	)
}

// getService finds a service by name or ID.
func (c *cli) getService(ctx context.Context, ref string) (*api.GetServiceResponse, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	return d.Control.GetService(ctx, &api.GetServiceRequest{Ref: ref})
}

// networkNames maps the IDs of cluster networks to names. A spec holds IDs, people want names.
func (c *cli) networkNames(ctx context.Context) (map[string]string, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Control.ListNetworks(ctx, &api.ListNetworksRequest{})
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, n := range r.Networks {
		names[n.Id] = n.Spec.GetName()
	}
	return names, nil
}
