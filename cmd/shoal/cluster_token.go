package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newClusterTokenCommand(c *cli) *cobra.Command {
	var rotate, quiet bool
	cmd := &cobra.Command{
		Use:   "token [OPTIONS] (worker|manager)",
		Short: "Manage join tokens",
		Example: `  shoal cluster token worker
  shoal cluster token -q manager
  shoal cluster token --rotate worker`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(fixedNames("worker", "manager")),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, ok := roles[args[0]]; !ok {
				return usageError(cmd, "unknown role %s: use worker or manager", args[0])
			}
			return c.token(cmd.Context(), args[0], rotate, quiet)
		},
	}
	cmd.Flags().BoolVar(&rotate, "rotate", false, "Rotate join token")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only display token")
	return cmd
}

func (c *cli) token(ctx context.Context, role string, rotate, quiet bool) error {
	cluster, err := c.clusterForToken(ctx, role, rotate)
	if err != nil {
		return err
	}
	token := cluster.WorkerToken
	if role == "manager" {
		token = cluster.ManagerToken
	}
	if quiet {
		fmt.Fprintln(c.out, token)
		return nil
	}
	if rotate {
		fmt.Fprintf(c.out, "Successfully rotated %s join token.\n\n", role)
	}
	addr, err := c.joinAddr(ctx)
	if err != nil {
		return err
	}
	c.joinHint(role, token, addr)
	return nil
}

func (c *cli) clusterForToken(ctx context.Context, role string, rotate bool) (*api.Cluster, error) {
	if !rotate {
		return c.getCluster(ctx)
	}
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Control.UpdateCluster(ctx, &api.UpdateClusterRequest{RotateWorkerToken: role == "worker", RotateManagerToken: role == "manager"})
	return r.GetCluster(), err
}

// joinAddr is an address where others can join: this manager's, or else the leader's.
func (c *cli) joinAddr(ctx context.Context) (string, error) {
	d, err := c.client()
	if err != nil {
		return "", err
	}
	self := ""
	if info, err := c.info(ctx); err == nil {
		self = info.GetCluster().GetNodeId()
	}
	r, err := d.Control.ListNodes(ctx, &api.ListNodesRequest{})
	if err != nil {
		return "", err
	}
	addr := "HOST:" + clusterPort
	for _, n := range r.Nodes {
		switch {
		case n.ManagerStatus.GetAddr() == "":
		case n.Id == self:
			return n.ManagerStatus.Addr, nil
		case n.ManagerStatus.Leader:
			addr = n.ManagerStatus.Addr
		}
	}
	return addr, nil
}
