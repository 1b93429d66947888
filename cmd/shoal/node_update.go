package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

var availabilities = map[string]api.NodeSpec_Availability{
	"active": api.NodeSpec_ACTIVE, "pause": api.NodeSpec_PAUSE, "drain": api.NodeSpec_DRAIN,
}

var roles = map[string]api.NodeRole{"worker": api.NodeRole_WORKER, "manager": api.NodeRole_MANAGER}

func newNodeUpdateCommand(c *cli) *cobra.Command {
	availability := choiceOpt{choices: []string{"active", "pause", "drain"}}
	role := choiceOpt{choices: []string{"worker", "manager"}}
	labelAdd, labelRm := listOpt{check: checkLabel}, listOpt{}
	cmd := &cobra.Command{
		Use:   "update [OPTIONS] NODE",
		Short: "Update a node",
		Example: `  shoal node update --availability drain node2     # moves its tasks away
  shoal node update --label-add disk=ssd node2`,
		Args:              exactArgs(1),
		ValidArgsFunction: c.completeFirst(c.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !anyChanged(cmd.Flags(), "availability", "role", "label-add", "label-rm") {
				return usageError(cmd, "nothing to change: give --availability, --role, --label-add or --label-rm")
			}
			err := c.changeNode(cmd.Context(), args[0], func(spec *api.NodeSpec) error {
				for _, key := range labelRm.values {
					if _, ok := spec.Labels[key]; !ok {
						return fmt.Errorf("node %s has no label %s", args[0], key)
					}
				}
				given(cmd.Flags(), "availability", &spec.Availability, availabilities[availability.value])
				given(cmd.Flags(), "role", &spec.Role, roles[role.value])
				spec.Labels = editMap(spec.Labels, labelRm.values, pairs(labelAdd.values))
				return nil
			})
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, args[0])
			return nil
		},
	}
	cmd.Flags().Var(&availability, "availability", `Availability of the node ("active", "pause", "drain")`)
	cmd.Flags().Var(&role, "role", `Role of the node ("worker", "manager")`)
	cmd.Flags().Var(&labelAdd, "label-add", `Add or update a node label ("key=value")`)
	cmd.Flags().Var(&labelRm, "label-rm", "Remove a node label if exists")
	return cmd
}

// newNodeRoleCommand makes promote and demote.
func newNodeRoleCommand(c *cli, verb, short string, role api.NodeRole) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " NODE [NODE...]",
		Short:             short,
		Example:           "  shoal node " + verb + " node2 node3",
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.each(args, func(name string) error {
				already := false
				err := c.changeNode(cmd.Context(), name, func(spec *api.NodeSpec) error {
					already, spec.Role = spec.Role == role, role
					return nil
				})
				if err != nil {
					return err
				}
				fmt.Fprintln(c.out, roleChanged(name, role, already))
				return nil
			})
		},
	}
}

func roleChanged(name string, role api.NodeRole, already bool) string {
	switch {
	case already:
		return fmt.Sprintf("Node %s is already a %s.", name, lower(role))
	case role == api.NodeRole_MANAGER:
		return fmt.Sprintf("Node %s promoted to a manager in the cluster.", name)
	}
	return fmt.Sprintf("Manager %s demoted in the cluster.", name)
}
