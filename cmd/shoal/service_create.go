package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/proto/api"
)

// serviceCreateFlags are what only create has: update has these lists as -add and -rm.
type serviceCreateFlags struct {
	serviceFlags
	lists                   specLists
	name                    string
	mode                    choiceOpt
	label, constraint, pref listOpt
	networks                networkOpt
	publish                 servicePortOpt
}

func newServiceCreateCommand(c *cli) *cobra.Command {
	var o serviceCreateFlags
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create a new service",
		Example: `  shoal service create --name web --replicas 3 --network app -p 8080:80 nginx
  shoal service create --name db --network app --constraint node.labels.disk==ssd --mount type=volume,source=db,target=/data redis
  shoal service create --name agent --mode global --limit-memory 64m agent:1`,
		Args:              minArgs(1),
		ValidArgsFunction: c.completeFirst(c.imageNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := o.spec(cmd.Flags(), args)
			if err != nil {
				return err
			}
			return c.createService(cmd.Context(), spec, o.detach, o.quiet)
		},
	}
	o.add(cmd.Flags())
	// --host is the containers' here, as in Docker; -H stays the daemon.
	cmd.Flags().StringVarP(&c.host, "daemon", "H", "", "Daemon to connect to")
	_ = cmd.Flags().MarkHidden("daemon")
	cmd.Flags().SetInterspersed(false)
	c.completeFlag(cmd, "network", c.overlayNames)
	return cmd
}

func (o *serviceCreateFlags) add(f *pflag.FlagSet) {
	o.serviceFlags.add(f)
	o.lists.add(f, serviceNames)
	o.label.check, o.constraint.check, o.pref.check = checkLabel, checkConstraint, checkPreference
	o.pref.kind = "pref"
	o.mode = choiceOpt{value: "replicated", choices: []string{"replicated", "global"}}
	o.networks.fields = []string{"name", "alias"}
	f.StringVar(&o.name, "name", "", "Service name")
	f.Var(&o.mode, "mode", `Service mode ("replicated", "global")`)
	f.VarP(&o.label, "label", "l", "Service labels")
	f.Var(&o.constraint, "constraint", "Placement constraints")
	f.Var(&o.pref, "placement-pref", "Add a placement preference")
	f.Var(&o.networks, "network", "Network attachments")
	f.VarP(&o.publish, "publish", "p", "Publish a port as a node port")
}

// spec makes the service that the options describe. args are the image and the command.
func (o *serviceCreateFlags) spec(f *pflag.FlagSet, args []string) (*api.ServiceSpec, error) {
	spec := &api.ServiceSpec{
		Name:      o.name,
		Labels:    pairs(o.label.values),
		Container: &api.ContainerSpec{Image: args[0], Args: args[1:]},
		Mode:      &api.ServiceMode{Global: o.mode.value == "global"},
	}
	if spec.Name == "" {
		spec.Name = randomName()
	}
	if !spec.Mode.Global {
		spec.Mode.Replicas = 1
	}
	if err := o.lists.fill(spec.Container); err != nil {
		return nil, err
	}
	for _, n := range o.networks.values {
		spec.Networks = append(spec.Networks, &api.NetworkAttachmentSpec{Network: n.Network, Aliases: n.Aliases})
	}
	if len(o.publish.values) > 0 {
		endpoint(spec).Ports = o.publish.values
	}
	if len(o.constraint.values) > 0 {
		placement(spec).Constraints = o.constraint.values
	}
	for _, p := range o.pref.values {
		placement(spec).Preferences = append(placement(spec).Preferences, &api.PlacementPreference{Spread: p})
	}
	if err := o.serviceFlags.apply(f, spec); err != nil {
		return nil, err
	}
	for _, c := range []**api.UpdateConfig{&spec.Update, &spec.Rollback} {
		if *c == nil {
			*c = defaultUpdate(spec)
		}
	}
	return spec, nil
}

// createService asks for it, prints its ID and waits.
func (c *cli) createService(ctx context.Context, spec *api.ServiceSpec, detach, quiet bool) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	r, err := d.Control.CreateService(ctx, &api.CreateServiceRequest{Spec: spec})
	if err != nil {
		return err
	}
	c.warn(r.Warnings)
	fmt.Fprintln(c.out, r.Service.Id)
	if detach {
		return nil
	}
	return c.waitService(ctx, r.Service.Id, quiet)
}

// warn prints what the daemon remarked.
func (c *cli) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(c.err, "WARNING:", w)
	}
}
