package main

import (
	"maps"

	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/proto/api"
)

// groupFlags set what control groups have and no flag of Docker's: run, create and update have them.
type groupFlags struct {
	conf                mapOpt
	rtPeriod, rtRuntime int64
}

func (o *groupFlags) add(f *pflag.FlagSet) {
	f.Var(&o.conf, "cgroup-conf", "Write a file of the container's control group (memory.high=64M, hugetlb.2MB.max=0; update: FILE= takes it back)")
	f.Int64Var(&o.rtPeriod, "cpu-rt-period", 0, "Limit CPU real-time period in microseconds")
	f.Int64Var(&o.rtRuntime, "cpu-rt-runtime", 0, "Limit CPU real-time runtime in microseconds")
}

func (o *groupFlags) fill(l *api.ContainerLimits) {
	l.Conf, l.CpuRtPeriod, l.CpuRtRuntime = maps.Clone(o.conf.values), o.rtPeriod, o.rtRuntime
}
