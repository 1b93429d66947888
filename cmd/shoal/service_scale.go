package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newServiceScaleCommand(c *cli) *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use:               "scale SERVICE=REPLICAS [SERVICE=REPLICAS...]",
		Short:             "Scale one or multiple replicated services",
		Example:           `  shoal service scale web=6 worker=3`,
		Args:              minArgs(1),
		ValidArgsFunction: c.completeScale,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkScale(args); err != nil {
				return err
			}
			return c.scaleAll(cmd.Context(), args, detach)
		},
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "Exit immediately instead of waiting for the service to converge")
	return cmd
}

// checkScale looks at all arguments before anything is changed.
func checkScale(args []string) error {
	for _, arg := range args {
		if _, _, err := parseScale(arg); err != nil {
			return err
		}
	}
	return nil
}

func parseScale(arg string) (name string, replicas uint64, err error) {
	name, value, ok := strings.Cut(arg, "=")
	if !ok || name == "" {
		return "", 0, fmt.Errorf("invalid scale specifier '%s': use SERVICE=REPLICAS", arg)
	}
	replicas, err = strconv.ParseUint(value, 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("invalid replicas value '%s' for %s: use a whole number from 0 up", value, name)
	}
	return name, replicas, nil
}

// scaleAll changes all services first and then waits for one after the other.
func (c *cli) scaleAll(ctx context.Context, args []string, detach bool) error {
	var ids []string
	err := c.each(args, func(arg string) error {
		name, replicas, _ := parseScale(arg)
		id, err := c.scale(ctx, name, replicas)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(c.out, "%s scaled to %d\n", name, replicas)
		ids = append(ids, id)
		return nil
	})
	if detach {
		return err
	}
	for _, id := range ids {
		if e := c.waitService(ctx, id, false); e != nil {
			return e
		}
	}
	return err
}

func (c *cli) scale(ctx context.Context, name string, replicas uint64) (id string, err error) {
	return c.changeService(ctx, name, func(spec *api.ServiceSpec) error {
		if spec.Mode.GetGlobal() {
			return fmt.Errorf("scale can only be used with replicated mode")
		}
		spec.Mode = &api.ServiceMode{Replicas: replicas}
		return nil
	})
}
