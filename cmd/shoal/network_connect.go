package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// networkConnectFlags say how a container is to be on a network.
type networkConnectFlags struct {
	ip, ip6                   string
	aliases, links, linkLocal listOpt
}

func newNetworkConnectCommand(c *cli) *cobra.Command {
	o := networkConnectFlags{linkLocal: listOpt{check: checkLinkLocal}, links: listOpt{check: checkLink}}
	cmd := &cobra.Command{
		Use:   "connect [OPTIONS] NETWORK CONTAINER",
		Short: "Connect a container to a network",
		Example: `  shoal network connect back web
  shoal network connect --ip 172.20.0.9 --alias db back web`,
		Args:              exactArgs(2),
		ValidArgsFunction: c.completeNetworkThenContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.connectNetwork(cmd.Context(), args[0], args[1], &o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	f.StringVar(&o.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	f.Var(&o.aliases, "alias", "Add network-scoped alias for the container")
	f.Var(&o.links, "link", "Add link to another container")
	f.Var(&o.linkLocal, "link-local-ip", "Add a link-local address for the container")
	return cmd
}

func (c *cli) connectNetwork(ctx context.Context, network, container string, o *networkConnectFlags) error {
	w := &api.LocalNetworkAttachment{Aliases: o.aliases.values, Links: o.links.values, LinkLocalIps: o.linkLocal.values}
	err := setNetworkIPs(w, o.ip, o.ip6)
	if err != nil {
		return err
	}
	if w.Network, err = c.localNetwork(ctx, network); err != nil {
		return err
	}
	d, err := c.client()
	if err != nil {
		return err
	}
	_, err = d.Containers.ConnectNetwork(ctx, &api.ConnectNetworkRequest{Ref: container, Network: w})
	return err
}

// localNetwork is the ID of a network of this node. A container by itself cannot be on one of the cluster's.
func (c *cli) localNetwork(ctx context.Context, ref string) (string, error) {
	all, err := c.networks(ctx)
	if err != nil {
		return "", err
	}
	n, err := findNetwork(all, ref)
	if err != nil {
		return "", err
	}
	if n.cluster != nil {
		return "", fmt.Errorf("network %s is the cluster's: services are on it, containers by themselves are not", n.name())
	}
	return n.id(), nil
}

// completeNetworkThenContainer completes the arguments of connect and disconnect.
func (c *cli) completeNetworkThenContainer(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return c.complete(c.localNetworkNames)(cmd, args, toComplete)
	}
	return c.completeFirst(c.containerNames)(cmd, nil, toComplete)
}
