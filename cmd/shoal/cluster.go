package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newClusterCommand(c *cli) *cobra.Command {
	return group(&cobra.Command{Use: "cluster", Short: "Manage the cluster"},
		newClusterInitCommand(c),
		newClusterJoinCommand(c),
		newClusterLeaveCommand(c),
		newClusterTokenCommand(c),
		newClusterInfoCommand(c),
	)
}

// needLocal is for verbs about this machine, which a socket elsewhere cannot answer.
func (c *cli) needLocal(verb string) (*client.Client, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	if d.Host().Network != "unix" {
		return nil, fmt.Errorf("'%s' is about the machine it runs on: use its own socket and not %s", verb, d.Host())
	}
	return d, nil
}

// joinHint prints how others join.
func (c *cli) joinHint(role, token, addr string) {
	fmt.Fprintf(c.out, "To add a %s to this cluster, run the following command:\n\n    shoal cluster join --token %s %s\n\n", role, token, addr)
}

func (c *cli) getCluster(ctx context.Context) (*api.Cluster, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Control.GetCluster(ctx, &api.GetClusterRequest{})
	return r.GetCluster(), err
}
