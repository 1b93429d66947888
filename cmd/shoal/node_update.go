package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/proto/api"
)

var availabilities = map[string]api.NodeSpec_Availability{
	"active": api.NodeSpec_ACTIVE, "pause": api.NodeSpec_PAUSE, "drain": api.NodeSpec_DRAIN,
}

var roles = map[string]api.NodeRole{"worker": api.NodeRole_WORKER, "manager": api.NodeRole_MANAGER}

// nodeUpdateFlags say what is to be another than it is.
type nodeUpdateFlags struct {
	availability, role choiceOpt
	labelAdd, labelRm  listOpt
}

func newNodeUpdateCommand(c *cli) *cobra.Command {
	o := nodeUpdateFlags{
		availability: choiceOpt{choices: []string{"active", "pause", "drain"}}, role: choiceOpt{choices: []string{"worker", "manager"}},
		labelAdd: listOpt{check: checkLabel},
	}
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
			err := c.changeNode(cmd.Context(), args[0], func(spec *api.NodeSpec) error { return o.change(cmd.Flags(), args[0], spec) })
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, args[0])
			return nil
		},
	}
	cmd.Flags().Var(&o.availability, "availability", `Availability of the node ("active", "pause", "drain")`)
	cmd.Flags().Var(&o.role, "role", `Role of the node ("worker", "manager")`)
	cmd.Flags().Var(&o.labelAdd, "label-add", `Add or update a node label ("key=value")`)
	cmd.Flags().Var(&o.labelRm, "label-rm", "Remove a node label if exists")
	return cmd
}

func (o *nodeUpdateFlags) change(f *pflag.FlagSet, node string, spec *api.NodeSpec) error {
	for _, key := range o.labelRm.values {
		if _, ok := spec.Labels[key]; !ok {
			return fmt.Errorf("node %s has no label %s", node, key)
		}
	}
	given(f, "availability", &spec.Availability, availabilities[o.availability.value])
	given(f, "role", &spec.Role, roles[o.role.value])
	spec.Labels = editMap(spec.Labels, o.labelRm.values, pairs(o.labelAdd.values))
	return nil
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
