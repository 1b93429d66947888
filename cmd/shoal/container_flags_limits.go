package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/proto/api"
)

func (o *containerFlags) fillLimits(f *pflag.FlagSet, spec *api.ContainerSpec) error {
	if o.cpus > 0 && (o.cpuQuota != 0 || o.cpuPeriod != 0) {
		return fmt.Errorf("conflicting options: --cpus cannot be given with --cpu-period or --cpu-quota")
	}
	if o.blkioWeight != 0 && (o.blkioWeight < 10 || o.blkioWeight > 1000) {
		return fmt.Errorf("invalid value %d for --blkio-weight: use 10 to 1000, or 0", o.blkioWeight)
	}
	l := &api.ContainerLimits{
		NanoCpus: int64(o.cpus), MemoryBytes: int64(o.memory), MemoryReservation: int64(o.memoryReservation),
		MemorySwap: int64(o.memorySwap), Pids: max(0, o.pidsLimit), CpuShares: o.cpuShares, CpusetCpus: o.cpusetCPUs, CpusetMems: o.cpusetMems,
		CpuPeriod: o.cpuPeriod, CpuQuota: o.cpuQuota, CpuBurst: o.cpuBurst, BlkioWeight: uint32(o.blkioWeight), OomKillDisable: o.oomKill,
	}
	if o.swappiness != -1 {
		if o.swappiness < 0 || o.swappiness > 100 {
			return fmt.Errorf("invalid value %d for --memory-swappiness: use 0 to 100", o.swappiness)
		}
		l.MemorySwappiness = &o.swappiness
	}
	spec.Limits, spec.ShmSize = l, int64(o.shmSize)
	o.groups.fill(l)
	return o.rates.fill(l)
}

func (o *containerFlags) addResources(f *pflag.FlagSet) {
	f.Var(&o.cpus, "cpus", "Number of CPUs")
	f.Int64VarP(&o.cpuShares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Int64Var(&o.cpuPeriod, "cpu-period", 0, "Limit CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&o.cpuQuota, "cpu-quota", 0, "Limit CPU CFS (Completely Fair Scheduler) quota")
	f.Int64Var(&o.cpuBurst, "cpu-burst", 0, "Limit CPU CFS (Completely Fair Scheduler) burst in microseconds")
	f.StringVar(&o.cpusetCPUs, "cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)")
	f.StringVar(&o.cpusetMems, "cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)")
	f.VarP(&o.memory, "memory", "m", "Memory limit")
	f.Var(&o.memoryReservation, "memory-reservation", "Memory soft limit")
	f.Var(&o.memorySwap, "memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
	f.Int64Var(&o.swappiness, "memory-swappiness", -1, "Tune container memory swappiness (0 to 100)")
	f.Int64Var(&o.pidsLimit, "pids-limit", 0, "Tune container pids limit (set -1 for unlimited)")
	f.Uint16Var(&o.blkioWeight, "blkio-weight", 0, "Block IO (relative weight), between 10 and 1000, or 0 to disable")
	f.BoolVar(&o.oomKill, "oom-kill-disable", false, "Disable OOM Killer")
	f.Var(&o.shmSize, "shm-size", "Size of /dev/shm")
}
