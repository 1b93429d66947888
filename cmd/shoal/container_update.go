package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/shoal-dev/shoal/proto/api"
)

// containerUpdateFlags are the limits of run that a container can change, and its restart policy.
type containerUpdateFlags struct {
	cpus                                     cpuOpt
	memory, memoryReservation, memorySwap    swapOpt
	cpuShares, cpuPeriod, cpuQuota, cpuBurst int64
	cpusetCPUs, cpusetMems, restart          string
	blkioWeight                              uint16
	pidsLimit                                int64
	groups                                   groupFlags
}

func newContainerUpdateCommand(c *cli) *cobra.Command {
	var o containerUpdateFlags
	cmd := &cobra.Command{
		Use:   "update [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Update configuration of one or more containers",
		Example: `  shoal update --memory 128m --cpus 1.5 web
  shoal update --restart on-failure:3 --pids-limit 200 web db`,
		Args:              minArgs(1),
		ValidArgsFunction: c.complete(c.containerNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := o.request(cmd.Flags())
			if err != nil {
				return err
			}
			if cmd.Flags().NFlag() == 0 {
				return usageError(cmd, "you must provide one or more flags when using this command")
			}
			d, err := c.client()
			if err != nil {
				return err
			}
			return c.eachPrint(args, func(name string) error {
				r := proto.CloneOf(r)
				r.Ref = name
				done, err := d.Containers.Update(cmd.Context(), r)
				c.warn(done.GetWarnings())
				return err
			})
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func (o *containerUpdateFlags) add(f *pflag.FlagSet) {
	f.Uint16Var(&o.blkioWeight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000")
	f.Int64Var(&o.cpuPeriod, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&o.cpuQuota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota (-1 for unlimited)")
	f.Int64Var(&o.cpuBurst, "cpu-burst", 0, "Limit CPU CFS (Completely Fair Scheduler) burst in microseconds")
	f.Int64VarP(&o.cpuShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Var(&o.cpus, "cpus", "Number of CPUs")
	f.StringVar(&o.cpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&o.cpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	f.VarP(&o.memory, "memory", "m", "Memory limit (-1 for unlimited)")
	f.Var(&o.memoryReservation, "memory-reservation", "Memory soft limit (-1 for unlimited)")
	f.Var(&o.memorySwap, "memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
	o.groups.add(f)
	refuse(f, false, noKernelMemory, "kernel-memory")
	f.Int64Var(&o.pidsLimit, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	f.StringVar(&o.restart, "restart", "", "Restart policy to apply when a container exits")
}

func (o *containerUpdateFlags) request(f *pflag.FlagSet) (*api.UpdateContainerRequest, error) {
	if o.cpus > 0 && (o.cpuQuota != 0 || o.cpuPeriod != 0) {
		return nil, fmt.Errorf("conflicting options: --cpus cannot be given with --cpu-period or --cpu-quota")
	}
	r := &api.UpdateContainerRequest{}
	if f.Changed("restart") {
		p, err := parseRestart(o.restart)
		if err != nil {
			return nil, err
		}
		r.Restart = p
	}
	limits := &api.ContainerLimits{
		NanoCpus: int64(o.cpus), MemoryBytes: int64(o.memory), MemoryReservation: int64(o.memoryReservation), MemorySwap: int64(o.memorySwap),
		Pids: o.pidsLimit, CpuShares: o.cpuShares, CpusetCpus: o.cpusetCPUs, CpusetMems: o.cpusetMems,
		CpuPeriod: o.cpuPeriod, CpuQuota: o.cpuQuota, CpuBurst: o.cpuBurst, BlkioWeight: uint32(o.blkioWeight),
	}
	o.groups.fill(limits)
	if f.Changed("pids-limit") && limits.Pids <= 0 {
		limits.Pids = -1 // zero is no limit, as Docker has it
	}
	r.Limits = limits
	return r, nil
}
