package main

import (
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// clusterPort is where managers listen unless told otherwise.
const clusterPort = "2377"

func newClusterJoinCommand(c *cli) *cobra.Command {
	var req api.JoinClusterRequest
	cmd := &cobra.Command{
		Use:   "join [OPTIONS] HOST:PORT",
		Short: "Join a cluster as a node and/or manager",
		Example: `  shoal cluster join --token SHOAL-1-... 10.0.0.1:2377
  shoal cluster join --token SHOAL-1-... --advertise-addr eth1 --data-path-addr eth2 10.0.0.1:2377`,
		Args:              exactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.Token == "" {
				return usageError(cmd, "--token is required: get it with 'shoal cluster token worker' on a manager")
			}
			req.Remote = withPort(args[0])
			d, err := c.needLocal(cmd.CommandPath())
			if err != nil {
				return err
			}
			r, err := d.Local.JoinCluster(cmd.Context(), &req)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.out, "This node joined a cluster as a %s.\n", lower(r.Role))
			return nil
		},
	}
	addAddrFlags(cmd, &req.AdvertiseAddr, &req.ListenAddr, &req.DataPathAddr)
	cmd.Flags().StringVar(&req.Token, "token", "", "Token for entry into the cluster")
	return cmd
}

// withPort adds the cluster's port to a host without one.
func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), clusterPort)
}
