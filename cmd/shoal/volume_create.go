package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shoal-dev/shoal/proto/api"
)

func newVolumeCreateCommand(c *cli) *cobra.Command {
	var driver, named string
	label, opts := listOpt{check: checkLabel}, mapOpt{}
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] [VOLUME]",
		Short: "Create a volume",
		Example: `  shoal volume create --label app=db data
  shoal volume create -o type=tmpfs -o device=tmpfs -o o=size=64m scratch
  shoal volume create -o type=nfs -o device=:/export/data -o o=addr=10.0.0.5,rw shared`,
		Args:              rangeArgs(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			v := &api.Volume{Driver: driver, Labels: pairs(label.values), Options: opts.values}
			if v.Name, err = volumeName(named, args); err != nil {
				return err
			}
			return c.createVolume(cmd.Context(), v)
		},
	}
	cmd.Flags().StringVar(&named, "name", "", "Specify volume name")
	_ = cmd.Flags().MarkHidden("name") // Docker's older form
	cmd.Flags().StringVarP(&driver, "driver", "d", "local", "Specify volume driver name")
	cmd.Flags().Var(&label, "label", "Set metadata for a volume")
	cmd.Flags().VarP(&opts, "opt", "o", "Set driver specific options")
	return cmd
}

// volumeName is the argument or --name; "" for a volume without either.
func volumeName(named string, args []string) (string, error) {
	name := named
	if len(args) == 1 {
		if named != "" {
			return "", fmt.Errorf("the volume has two names, %q by --name and %q: give one", named, args[0])
		}
		name = args[0]
	}
	if name != "" && !isVolumeName(name) {
		return "", fmt.Errorf("invalid volume name '%s': use letters, digits, '_', '.' and '-', at least two", name)
	}
	return name, nil
}

func (c *cli) createVolume(ctx context.Context, v *api.Volume) error {
	d, err := c.client()
	if err != nil {
		return err
	}
	r, err := d.Containers.CreateVolume(ctx, &api.CreateVolumeRequest{Volume: v})
	if err != nil {
		return err
	}
	fmt.Fprintln(c.out, r.Volume.GetName())
	return nil
}
