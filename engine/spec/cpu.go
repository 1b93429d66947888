package spec

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

func cpu(l *api.ContainerLimits) (*specs.LinuxCPU, error) {
	c := &specs.LinuxCPU{Cpus: l.GetCpusetCpus(), Mems: l.GetCpusetMems()}
	if err := bandwidth(c, l); err != nil {
		return nil, err
	}
	if s := l.GetCpuShares(); s != 0 {
		if s < 2 {
			return nil, fmt.Errorf("--cpu-shares %d is below the minimum of 2", s)
		}
		shares := uint64(s)
		c.Shares = &shares
	}
	if b := l.GetCpuBurst(); b != 0 {
		if c.Quota == nil {
			return nil, fmt.Errorf("--cpu-burst needs a CPU limit as well: give --cpus or --cpu-quota")
		}
		burst := uint64(b)
		c.Burst = &burst
	}
	if err := realtime(c, l); err != nil {
		return nil, err
	}
	if *c == (specs.LinuxCPU{}) {
		return nil, nil
	}
	return c, nil
}

// bandwidth is how long, in every period, a container's processes may run: as processors, or as quota and period in microseconds.
func bandwidth(c *specs.LinuxCPU, l *api.ContainerLimits) error {
	if n := l.GetNanoCpus(); n != 0 {
		if l.GetCpuQuota() != 0 || l.GetCpuPeriod() != 0 {
			return fmt.Errorf("--cpus cannot be combined with --cpu-quota or --cpu-period")
		}
		if n < 10_000_000 {
			return fmt.Errorf("--cpus %g is below the minimum of 0.01", float64(n)/1e9)
		}
		period, quota := uint64(cpuPeriod), n*cpuPeriod/1_000_000_000
		c.Period, c.Quota = &period, &quota
	}
	if p := l.GetCpuPeriod(); p != 0 {
		if p < minPeriod || p > maxPeriod {
			return fmt.Errorf("--cpu-period %d is not between %d and %d microseconds", p, minPeriod, maxPeriod)
		}
		period := uint64(p)
		c.Period = &period
	}
	if q := l.GetCpuQuota(); q != 0 {
		if q > 0 && q < minPeriod {
			return fmt.Errorf("--cpu-quota %d is below the minimum of %d microseconds", q, minPeriod)
		}
		c.Quota = &q
	}
	return nil
}

// realtime is how long, in every period, processes with a real-time policy may run.
func realtime(c *specs.LinuxCPU, l *api.ContainerLimits) error {
	runtime, period := l.GetCpuRtRuntime(), l.GetCpuRtPeriod()
	switch {
	case runtime < 0 || period < 0:
		return fmt.Errorf("--cpu-rt-runtime %d and --cpu-rt-period %d are microseconds: they cannot be negative", runtime, period)
	case period != 0 && runtime > period:
		return fmt.Errorf("--cpu-rt-runtime %d is above --cpu-rt-period %d", runtime, period)
	}
	if runtime != 0 {
		c.RealtimeRuntime = &runtime
	}
	if period != 0 {
		p := uint64(period)
		c.RealtimePeriod = &p
	}
	return nil
}
