package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	"github.com/shoal-dev/shoal/client"
	"github.com/shoal-dev/shoal/proto/api"
)

func newNetworkCommand(c *cli) *cobra.Command {
	return group(&cobra.Command{Use: "network", Short: "Manage networks"},
		newNetworkCheckCommand(c),
		newNetworkConnectCommand(c),
		newNetworkCreateCommand(c),
		newNetworkDisconnectCommand(c),
		newNetworkListCommand(c),
		newNetworkInspectCommand(c),
		newNetworkPruneCommand(c),
		newNetworkRemoveCommand(c),
	)
}

// anyNetwork is a network of the cluster or of this node: to a person both are networks.
type anyNetwork struct {
	cluster *api.Network
	local   *api.LocalNetwork
}

func (n anyNetwork) id() string {
	if n.cluster != nil {
		return n.cluster.Id
	}
	return n.local.GetId()
}

func (n anyNetwork) name() string {
	if n.cluster != nil {
		return n.cluster.Spec.GetName()
	}
	return n.local.GetName()
}

func (n anyNetwork) driver() string {
	if n.cluster != nil {
		return orElse(n.cluster.Spec.GetDriver(), "overlay")
	}
	if n.local.GetDriver() == "none" {
		return "null" // Docker's name for the driver of network none
	}
	return n.local.GetDriver()
}

func (n anyNetwork) scope() string {
	if n.cluster != nil {
		return "cluster"
	}
	return "local"
}

func (n anyNetwork) labels() map[string]string {
	if n.cluster != nil {
		return n.cluster.Spec.GetLabels()
	}
	return n.local.GetLabels()
}

// networks lists both kinds. A node that is no manager, or in no cluster, has only its own to show.
func (c *cli) networks(ctx context.Context) ([]anyNetwork, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	var out []anyNetwork
	local, err := d.Containers.ListNetworks(ctx, &api.ListLocalNetworksRequest{})
	if err != nil && client.CodeOf(err) != codes.Unimplemented {
		return nil, err
	}
	for _, n := range local.GetNetworks() {
		out = append(out, anyNetwork{local: n})
	}
	cluster, err := d.Control.ListNetworks(ctx, &api.ListNetworksRequest{})
	if err != nil && !c.noManagerHere(err) {
		return nil, err
	}
	for _, n := range cluster.GetNetworks() {
		out = append(out, anyNetwork{cluster: n})
	}
	return out, nil
}

// noManagerHere tells an answer that means "this node has no part in that".
func (c *cli) noManagerHere(err error) bool {
	code := client.CodeOf(err)
	return code == codes.Unimplemented || code == codes.FailedPrecondition || code == codes.PermissionDenied
}

// findNetwork finds a network by name, ID or beginning of an ID. A name wins over the beginning of an ID,
// the cluster's networks over the node's.
func findNetwork(all []anyNetwork, ref string) (found anyNetwork, err error) {
	var prefixed []anyNetwork
	var named *anyNetwork
	for _, n := range all {
		switch {
		case n.id() == ref:
			return n, nil
		case n.name() == ref && (named == nil || n.cluster != nil):
			named = &n
		case strings.HasPrefix(n.id(), ref):
			prefixed = append(prefixed, n)
		}
	}
	switch {
	case named != nil:
		return *named, nil
	case len(prefixed) == 1:
		return prefixed[0], nil
	case len(prefixed) > 1:
		return found, &client.Error{Code: codes.InvalidArgument, Message: "network " + ref + " is ambiguous: write more of its ID"}
	}
	return found, &client.Error{Code: codes.NotFound, Message: "no such network: " + ref + " (see 'shoal network ls')"}
}
