package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

var nodeListing = listing{
	fields: []field{
		{"ID", "ID"}, {"Self", ""}, {"Hostname", "HOSTNAME"}, {"Status", "STATUS"}, {"Availability", "AVAILABILITY"},
		{"ManagerStatus", "MANAGER STATUS"}, {"EngineVersion", "ENGINE VERSION"}, {"Address", "ADDRESS"},
	},
	table: "{{.ID}} {{if .Self}}*{{else}} {{end}}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}",
	quiet: "ID",
}

func newNodeListCommand(c *cli) *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List nodes in the cluster",
		Example: `  shoal node ls --filter role=manager
  shoal node ls --format '{{.Hostname}} {{.Availability}} {{.Address}}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.filter.oneOf("role", "manager", "worker"); err != nil {
				return err
			}
			rows, err := c.nodeRows(cmd.Context(), &f)
			if err != nil {
				return err
			}
			return c.list(nodeListing, f, rows)
		},
	}
	addListFlags(cmd, &f, "Only display IDs", "", "id", "membership", "name", "node.label", "role")
	return cmd
}

func (c *cli) nodeRows(ctx context.Context, f *listFlags) ([]row, error) {
	d, err := c.client()
	if err != nil {
		return nil, err
	}
	r, err := d.Control.ListNodes(ctx, &api.ListNodesRequest{})
	if err != nil {
		return nil, err
	}
	self := ""
	if info, err := c.info(ctx); err == nil { // over TLS there is no Local service, and no node is this one
		self = info.GetCluster().GetNodeId()
	}
	slices.SortFunc(r.Nodes, func(a, b *api.Node) int {
		return strings.Compare(a.Description.GetHostname()+a.Id, b.Description.GetHostname()+b.Id)
	})
	var rows []row
	for _, n := range r.Nodes {
		if f.filter.prefix("id", n.Id) && f.filter.contains("name", nodeHostname(n)) && f.filter.exact("role", lower(n.Role)) &&
			f.filter.exact("membership", "accepted") && f.filter.labels("node.label", n.Spec.GetLabels()) {
			rows = append(rows, nodeRow(n, n.Id == self))
		}
	}
	return rows, nil
}

func nodeRow(n *api.Node, self bool) row {
	return row{
		"ID": n.Id, "Self": self, "Hostname": nodeHostname(n), "Status": title(lower(n.Status.GetState())),
		"Availability": title(lower(n.Spec.GetAvailability())), "ManagerStatus": managerStatus(n),
		"EngineVersion": n.Description.GetEngineVersion(), "Address": n.Status.GetAddr(), labelsKey: n.Spec.GetLabels(),
	}
}

func nodeHostname(n *api.Node) string {
	return orElse(n.Description.GetHostname(), n.Spec.GetName())
}

func managerStatus(n *api.Node) string {
	switch {
	case n.ManagerStatus == nil || n.Role != api.NodeRole_MANAGER:
		return ""
	case n.ManagerStatus.Leader:
		return "Leader"
	case !n.ManagerStatus.Reachable:
		return "Unreachable"
	case n.ManagerStatus.Learning:
		return "Learning"
	}
	return "Reachable"
}
