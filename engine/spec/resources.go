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

// memory refuses limits that contradict each other. Swap counts memory and swap together, and is twice the memory if only
// that is limited.
func memory(l *api.ContainerLimits) (*specs.LinuxMemory, error) {
	limit, swap, reservation := l.GetMemoryBytes(), l.GetMemorySwap(), l.GetMemoryReservation()
	if limit != 0 && swap == 0 {
		swap = 2 * limit
	}
	m := &specs.LinuxMemory{Limit: given(limit), Swap: given(swap), Reservation: given(reservation)}
	switch {
	case limit != 0 && limit < minMemory:
		return nil, fmt.Errorf("--memory %d is below the minimum of 6 MiB", limit)
	case limit == 0 && swap > 0:
		return nil, fmt.Errorf("--memory-swap needs a memory limit as well: give --memory")
	case swap > 0 && swap < limit:
		return nil, fmt.Errorf("--memory-swap %d is below --memory %d (it counts memory and swap together)", swap, limit)
	case reservation != 0 && limit != 0 && reservation > limit:
		return nil, fmt.Errorf("--memory-reservation %d is above --memory %d", reservation, limit)
	}
	if l != nil && l.MemorySwappiness != nil {
		s := *l.MemorySwappiness
		if s < 0 || s > 100 {
			return nil, fmt.Errorf("--memory-swappiness %d is not between 0 and 100", s)
		}
		swappiness := uint64(s)
		m.Swappiness = &swappiness
	}
	if l.GetOomKillDisable() {
		yes := true
		m.DisableOOMKiller = &yes
	}
	if *m == (specs.LinuxMemory{}) {
		return nil, nil
	}
	return m, nil
}

// given is nil for a limit that is not set.
func given(limit int64) *int64 {
	if limit == 0 {
		return nil
	}
	return &limit
}
