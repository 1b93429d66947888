package spec

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

// minMemory is what Docker insists on: with less the container cannot be set up.
const minMemory = 6 << 20

// cpuPeriod of the quota that --cpus becomes, microseconds.
const cpuPeriod = 100_000

// What the kernel takes for a period, microseconds; a quota may not be shorter than the shortest one either.
const (
	minPeriod = 1_000
	maxPeriod = 1_000_000
)

// Resources turns limits into cgroup settings.
func Resources(l *api.ContainerLimits) (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{}
	var err error
	if r.Memory, err = memory(l); err != nil {
		return nil, err
	}
	if r.CPU, err = cpu(l); err != nil {
		return nil, err
	}
	if n := l.GetPids(); n > 0 {
		r.Pids = &specs.LinuxPids{Limit: &n}
	}
	if w := l.GetBlkioWeight(); w != 0 {
		if w < 10 || w > 1000 {
			return nil, fmt.Errorf("--blkio-weight %d is not between 10 and 1000", w)
		}
		weight := uint16(w)
		r.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
	}
	return r, addConf(r, l)
}

func memory(l *api.ContainerLimits) (*specs.LinuxMemory, error) {
	limit, swap, reservation := l.GetMemoryBytes(), l.GetMemorySwap(), l.GetMemoryReservation()
	if limit == 0 && swap == 0 && reservation == 0 && !l.GetOomKillDisable() && (l == nil || l.MemorySwappiness == nil) {
		return nil, nil
	}
	m := &specs.LinuxMemory{}
	if limit != 0 {
		if limit < minMemory {
			return nil, fmt.Errorf("--memory %d is below the minimum of 6 MiB", limit)
		}
		m.Limit = &limit
		if swap == 0 {
			swap = 2 * limit
		}
	}
	if swap != 0 {
		switch {
		case limit == 0 && swap > 0:
			return nil, fmt.Errorf("--memory-swap needs a memory limit as well: give --memory")
		case swap > 0 && swap < limit:
			return nil, fmt.Errorf("--memory-swap %d is below --memory %d (it counts memory and swap together)", swap, limit)
		}
		m.Swap = &swap
	}
	if reservation != 0 {
		if limit != 0 && reservation > limit {
			return nil, fmt.Errorf("--memory-reservation %d is above --memory %d", reservation, limit)
		}
		m.Reservation = &reservation
	}
	if s := l.MemorySwappiness; s != nil {
		if *s < 0 || *s > 100 {
			return nil, fmt.Errorf("--memory-swappiness %d is not between 0 and 100", *s)
		}
		swappiness := uint64(*s)
		m.Swappiness = &swappiness
	}
	if l.GetOomKillDisable() {
		yes := true
		m.DisableOOMKiller = &yes
	}
	return m, nil
}

func cpu(l *api.ContainerLimits) (*specs.LinuxCPU, error) {
	c := &specs.LinuxCPU{Cpus: l.GetCpusetCpus(), Mems: l.GetCpusetMems()}
	if n := l.GetNanoCpus(); n != 0 {
		if l.GetCpuQuota() != 0 || l.GetCpuPeriod() != 0 {
			return nil, fmt.Errorf("--cpus cannot be combined with --cpu-quota or --cpu-period")
		}
		if n < 10_000_000 {
			return nil, fmt.Errorf("--cpus %g is below the minimum of 0.01", float64(n)/1e9)
		}
		period, quota := uint64(cpuPeriod), n*cpuPeriod/1_000_000_000
		c.Period, c.Quota = &period, &quota
	}
	if p := l.GetCpuPeriod(); p != 0 {
		if p < minPeriod || p > maxPeriod {
			return nil, fmt.Errorf("--cpu-period %d is not between %d and %d microseconds", p, minPeriod, maxPeriod)
		}
		period := uint64(p)
		c.Period = &period
	}
	if q := l.GetCpuQuota(); q != 0 {
		if q > 0 && q < minPeriod {
			return nil, fmt.Errorf("--cpu-quota %d is below the minimum of %d microseconds", q, minPeriod)
		}
		c.Quota = &q
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
