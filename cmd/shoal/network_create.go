package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

// networkCreateFlags describe a network of either kind.
type networkCreateFlags struct {
	driver                     choiceOpt
	attachable, internal       bool
	ipv4, ipv6                 bool
	label                      listOpt
	opts, aux                  mapOpt
	subnets, gateways, ipRange []string
}

func newNetworkCreateCommand(c *cli) *cobra.Command {
	o := networkCreateFlags{driver: choiceOpt{value: "bridge", choices: []string{"bridge", "macvlan", "ipvlan", "overlay"}}, label: listOpt{check: checkLabel}}
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NETWORK",
		Short: "Create a network",
		Example: `  shoal network create -d overlay app
  shoal network create --subnet 172.30.0.0/24 --gateway 172.30.0.1 --internal back
  shoal network create -d macvlan --subnet 192.168.1.0/24 --gateway 192.168.1.1 -o parent=eth0 lan`,
		Args:              exactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := c.createNetwork(cmd, args[0], &o)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, id)
			return nil
		},
	}
	f := cmd.Flags()
	f.VarP(&o.driver, "driver", "d", "Driver to manage the Network (bridge, macvlan, ipvlan, overlay)")
	f.BoolVar(&o.attachable, "attachable", false, "Enable manual container attachment (a network of this node is open to each of its containers in any case)")
	f.BoolVar(&o.internal, "internal", false, "Restrict external access to the network")
	f.BoolVar(&o.ipv4, "ipv4", true, "Enable IPv4 address assignment: always on")
	f.BoolVar(&o.ipv6, "ipv6", false, "Enable or disable IPv6 address assignment (overlay: default true)")
	f.Var(&o.label, "label", "Set metadata on a network")
	f.VarP(&o.opts, "opt", "o", "Set driver specific options")
	f.StringSliceVar(&o.subnets, "subnet", nil, "Subnet in CIDR format that represents a network segment")
	f.StringSliceVar(&o.gateways, "gateway", nil, "IPv4 or IPv6 Gateway for the master subnet")
	f.StringSliceVar(&o.ipRange, "ip-range", nil, "Allocate container ip from a sub-range")
	f.Var(&o.aux, "aux-address", "Auxiliary IPv4 or IPv6 addresses used by Network driver")
	return cmd
}

func (c *cli) createNetwork(cmd *cobra.Command, name string, o *networkCreateFlags) (id string, err error) {
	if !o.ipv4 {
		return "", fmt.Errorf("--ipv4=false is not supported: every network has IPv4 addresses")
	}
	ipam, err := o.ipam()
	if err != nil {
		return "", err
	}
	if o.driver.value == "overlay" {
		if len(o.aux.values) > 0 {
			return "", fmt.Errorf("--aux-address is for networks of this node: on an overlay network nothing but Shoal gives addresses")
		}
		return c.createOverlay(cmd.Context(), name, o, ipam, o.ipv6 || !cmd.Flags().Changed("ipv6"))
	}
	d, err := c.client()
	if err != nil {
		return "", err
	}
	r, err := d.Containers.CreateNetwork(cmd.Context(), &api.CreateLocalNetworkRequest{Network: &api.LocalNetwork{
		Name: name, Driver: o.driver.value, Ipam: ipam, Internal: o.internal, Ipv6: o.ipv6, Labels: pairs(o.label.values), Options: o.opts.values,
	}})
	return r.GetNetwork().GetId(), err
}

func (c *cli) createOverlay(ctx context.Context, name string, o *networkCreateFlags, ipam []*api.IPAMConfig, ipv6 bool) (string, error) {
	d, err := c.client()
	if err != nil {
		return "", err
	}
	r, err := d.Control.CreateNetwork(ctx, &api.CreateNetworkRequest{Spec: &api.NetworkSpec{
		Name: name, Driver: "overlay", Labels: pairs(o.label.values), Ipam: ipam, Ipv6: ipv6,
		Internal: o.internal, Attachable: o.attachable, Options: o.opts.values,
	}})
	return r.GetNetwork().GetId(), err
}
