package main

import (
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
		RunE: func(cmd *cobra.Command, args []string) error {
			v := &api.Volume{Driver: driver, Labels: pairs(label.values), Options: opts.values}
			v.Name = named
			if len(args) == 1 {
				if named != "" {
					return fmt.Errorf("the volume has two names, %q by --name and %q: give one", named, args[0])
				}
				v.Name = args[0]
			}
			if v.Name != "" {
				if !isVolumeName(v.Name) {
					return fmt.Errorf("invalid volume name '%s': use letters, digits, '_', '.' and '-', at least two", v.Name)
				}
			}
			d, err := c.client()
			if err != nil {
				return err
			}
			r, err := d.Containers.CreateVolume(cmd.Context(), &api.CreateVolumeRequest{Volume: v})
			if err != nil {
				return err
			}
			fmt.Fprintln(c.out, r.Volume.GetName())
			return nil
		},
	}
	cmd.Flags().StringVar(&named, "name", "", "Specify volume name")
	_ = cmd.Flags().MarkHidden("name") // Docker's older form
	cmd.Flags().StringVarP(&driver, "driver", "d", "local", "Specify volume driver name")
	cmd.Flags().Var(&label, "label", "Set metadata for a volume")
	cmd.Flags().VarP(&opts, "opt", "o", "Set driver specific options")
	return cmd
}
