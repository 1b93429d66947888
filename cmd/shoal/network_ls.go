package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/shoal-dev/shoal/proto/api"
)

var networkListing = listing{
	fields: []field{
		{"ID", "NETWORK ID"}, {"Name", "NAME"}, {"Driver", "DRIVER"}, {"Scope", "SCOPE"}, {"IPv4", "IPV4"}, {"IPv6", "IPV6"},
		{"Internal", "INTERNAL"}, {"Labels", "LABELS"}, {"CreatedAt", "CREATED AT"},
	},
	table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
	quiet: "ID",
}

func newNetworkListCommand(c *cli) *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List networks",
		Example: `  shoal network ls --filter driver=overlay
  shoal network ls --filter type=custom --format '{{.Name}} {{.Scope}}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows, err := c.networkRows(cmd.Context(), &f)
			if err != nil {
				return err
			}
			return c.list(networkListing, f, rows)
		},
	}
	addListFlags(cmd, &f, "Only display network IDs", "Do not truncate the output", "dangling", "driver", "id", "label", "name", "scope", "type")
	return cmd
}

func (c *cli) networkRows(ctx context.Context, f *listFlags) ([]row, error) {
	if err := f.filter.oneOf("scope", "cluster", "swarm", "local"); err != nil {
		return nil, err
	}
	if err := f.filter.oneOf("type", "custom", "builtin"); err != nil {
		return nil, err
	}
	dangling, wantDangling, err := f.filter.boolean("dangling")
	if err != nil {
		return nil, err
	}
	all, err := c.networks(ctx)
	if err != nil {
		return nil, err
	}
	if wantDangling {
		if all, err = c.danglingNetworks(ctx, all, dangling); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b anyNetwork) int { return strings.Compare(a.name(), b.name()) })
	var rows []row
	for _, n := range all {
		if matchNetwork(n, &f.filter) {
			rows = append(rows, networkRow(n, f.noTrunc))
		}
	}
	return rows, nil
}

// danglingNetworks keeps the networks of this node that no container refers to, those that network prune takes, or all others.
func (c *cli) danglingNetworks(ctx context.Context, all []anyNetwork, dangling bool) ([]anyNetwork, error) {
	containers, err := c.allContainers(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(n anyNetwork) bool {
		unused := n.cluster == nil && !isBuiltin(n) && !slices.ContainsFunc(containers, func(k *api.Container) bool {
			return onNetwork(k, n.name()) || onNetwork(k, n.id())
		})
		return unused != dangling
	}), nil
}

func isBuiltin(n anyNetwork) bool {
	return n.local != nil && slices.Contains([]string{"bridge", "host", "none"}, n.name())
}

func matchNetwork(n anyNetwork, f *filters) bool {
	kind := "custom"
	if isBuiltin(n) {
		kind = "builtin"
	}
	return f.exact("driver", n.driver()) && f.prefix("id", n.id()) && f.matches("name", n.name()) &&
		f.any("scope", func(w string) bool { return w == n.scope() || w == "swarm" && n.cluster != nil }) &&
		f.exact("type", kind) && f.labels("label", n.labels())
}

func networkRow(n anyNetwork, noTrunc bool) row {
	id := n.id()
	if !noTrunc {
		id = shortID(id)
	}
	var ipv6, internal bool
	var created *timestamppb.Timestamp
	if n.cluster != nil {
		ipv6, internal, created = n.cluster.Spec.GetIpv6(), n.cluster.Spec.GetInternal(), n.cluster.Meta.GetCreatedAt()
	} else {
		ipv6, internal, created = n.local.Ipv6, n.local.Internal, n.local.CreatedAt
	}
	return row{
		"ID": id, "Name": n.name(), "Driver": n.driver(), "Scope": n.scope(), "IPv4": "true", "IPv6": boolText(ipv6), "Internal": boolText(internal),
		"Labels": labelText(n.labels()), "CreatedAt": stamp(created), labelsKey: n.labels(),
	}
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
