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

func (c *cli) lookupNetwork(ctx context.Context, name string) (map[string]any, error) {
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
func clusterNetworkObject(n *api.Network) map[string]any {
	s := n.Spec
	o := map[string]any{
		"Name": s.GetName(), "Id": n.Id, "Created": rfc3339(n.Meta.GetCreatedAt()), "Scope": "cluster", "Driver": orElse(s.GetDriver(), "overlay"),
		"EnableIPv4": true, "EnableIPv6": s.GetIpv6(), "Internal": s.GetInternal(), "Attachable": s.GetAttachable(), "Ingress": s.GetIngress(),
		"IPAM": ipamObject(n.Ipam), "Options": orEmptyMap(s.GetOptions()), "Labels": orEmptyMap(s.GetLabels()), "VNI": n.Vni,
		"Version": map[string]any{"Index": n.Meta.GetVersion()},
	}
	if n.AllocationError != "" {
		o["AllocationError"] = n.AllocationError
	}
	return o
}

func localNetworkObject(n *api.LocalNetwork) map[string]any {
	containers := map[string]any{}
	for _, e := range n.Endpoints {
		v4, v6 := "", ""
		for _, a := range e.Addresses {
			if addr, _ := splitAddress(a); addr.Is4() {
				v4 = a
			} else {
				v6 = a
			}
		}
		containers[e.NetworkId] = map[string]any{"Name": e.Network, "MacAddress": e.Mac, "IPv4Address": v4, "IPv6Address": v6}
	}
	return map[string]any{
		"Name": n.Name, "Id": n.Id, "Created": rfc3339(n.CreatedAt), "Scope": "local", "Driver": n.Driver,
		"EnableIPv4": true, "EnableIPv6": n.Ipv6, "Internal": n.Internal, "Attachable": false, "Ingress": false,
		"IPAM": ipamObject(n.Ipam), "Containers": containers, "Options": orEmptyMap(n.Options), "Labels": orEmptyMap(n.Labels), "Bridge": n.Bridge,
	}
}

func ipamObject(configs []*api.IPAMConfig) map[string]any {
	list := []any{}
	for _, c := range configs {
		o := map[string]any{"Subnet": c.Subnet, "Gateway": c.Gateway}
		if c.IpRange != "" {
			o["IPRange"] = c.IpRange
		}
		if len(c.AuxAddresses) > 0 {
			o["AuxiliaryAddresses"] = c.AuxAddresses
		}
		list = append(list, o)
	}
	return map[string]any{"Driver": "default", "Config": list}
}
