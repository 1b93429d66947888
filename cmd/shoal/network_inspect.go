package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newNetworkInspectCommand(c *cli) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NETWORK [NETWORK...]",
		Short: "Display detailed information on one or more networks",
		Example: `  shoal network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' app
  shoal network inspect -f '{{json .Containers}}' bridge`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.networkNamesAll),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.inspect(cmd.Context(), args, format, c.lookupNetwork)
		},
	}
	addObjectFormat(cmd, &format)
	cmd.Flags().BoolP("verbose", "v", false, "Verbose output for diagnostics: all that is known is shown in any case")
	return cmd
}

func (c *cli) lookupNetwork(ctx context.Context, name string) (any, error) {
	all, err := c.networks(ctx)
	if err != nil {
		return nil, err
	}
	n, err := findNetwork(all, name)
	if err != nil {
		return nil, err
	}
	if n.cluster != nil {
		return clusterNetworkObject(n.cluster), nil
	}
	return localNetworkObject(n.local), nil
}

// clusterNetworkObject and localNetworkObject have the shape of Docker's network inspect.
func clusterNetworkObject(n *api.Network) *networkView {
	s := n.Spec
	return &networkView{
		Name: s.GetName(), ID: n.Id, Created: rfc3339(n.Meta.GetCreatedAt()), Scope: "cluster", Driver: orElse(s.GetDriver(), "overlay"),
		EnableIPv4: true, EnableIPv6: s.GetIpv6(), Internal: s.GetInternal(), Attachable: s.GetAttachable(), Ingress: s.GetIngress(),
		IPAM: ipamObject(n.Ipam), Options: orEmptyMap(s.GetOptions()), Labels: orEmptyMap(s.GetLabels()), VNI: n.Vni,
		Version: &versionView{Index: n.Meta.GetVersion()}, AllocationError: n.AllocationError,
	}
}

func localNetworkObject(n *api.LocalNetwork) *networkView {
	containers := map[string]networkContainerView{}
	for _, e := range n.Endpoints {
		v4, v6 := "", ""
		for _, a := range e.Addresses {
			if addr, _ := splitAddress(a); addr.Is4() {
				v4 = a
			} else {
				v6 = a
			}
		}
		containers[e.NetworkId] = networkContainerView{Name: e.Network, MacAddress: e.Mac, IPv4Address: v4, IPv6Address: v6}
	}
	return &networkView{
		Name: n.Name, ID: n.Id, Created: rfc3339(n.CreatedAt), Scope: "local", Driver: anyNetwork{local: n}.driver(),
		EnableIPv4: n.Driver != "host" && n.Driver != "none", EnableIPv6: n.Ipv6, Internal: n.Internal,
		IPAM: ipamObject(n.Ipam), Containers: containers, Options: orEmptyMap(n.Options), Labels: orEmptyMap(n.Labels), Bridge: n.Bridge,
	}
}

func ipamObject(configs []*api.IPAMConfig) ipamView {
	list := []subnetView{}
	for _, c := range configs {
		list = append(list, subnetView{Subnet: c.Subnet, IPRange: c.IpRange, Gateway: c.Gateway, AuxiliaryAddresses: c.AuxAddresses})
	}
	return ipamView{Driver: "default", Config: list}
}
