package spec

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

// addConf puts files of control groups where the specification has a place for them, so that any runtime finds them there: a
// field of its own, or "unified", which is a map of such files.
func addConf(r *specs.LinuxResources, l *api.ContainerLimits) error {
	for name, value := range l.GetConf() {
		if other := SameLimit(name, l); other != "" {
			return fmt.Errorf("--cgroup-conf %s is the limit that is given with %s: give one of them", name, other)
		}
		if typed(r, name, strings.TrimSpace(value)) {
			continue
		}
		if r.Unified == nil {
			r.Unified = map[string]string{}
		}
		r.Unified[name] = value
	}
	return nil
}

// SameLimit names the flag of the limit of l that is about the same file.
func SameLimit(name string, l *api.ContainerLimits) string {
	for _, s := range []struct {
		given bool
		limit string
		files []string
	}{
		{l.GetPids() != 0, "--pids-limit", []string{"pids.max"}},
		{l.GetMemoryBytes() != 0, "--memory", []string{"memory.max", "memory.limit_in_bytes", "memory.swap.max", "memory.memsw.limit_in_bytes"}},
		{l.GetMemoryReservation() != 0, "--memory-reservation", []string{"memory.low", "memory.soft_limit_in_bytes"}},
		{l != nil && l.MemorySwappiness != nil, "--memory-swappiness", []string{"memory.swappiness"}},
		{l.GetNanoCpus() != 0, "--cpus", []string{"cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"}},
		{l.GetCpuQuota() != 0, "--cpu-quota", []string{"cpu.max", "cpu.cfs_quota_us"}},
		{l.GetCpuPeriod() != 0, "--cpu-period", []string{"cpu.max", "cpu.cfs_period_us"}},
		{l.GetCpuBurst() != 0, "--cpu-burst", []string{"cpu.max.burst", "cpu.cfs_burst_us"}},
		{l.GetCpuShares() != 0, "--cpu-shares", []string{"cpu.weight", "cpu.weight.nice", "cpu.shares"}},
		{l.GetCpuRtPeriod() != 0, "--cpu-rt-period", []string{"cpu.rt_period_us"}},
		{l.GetCpuRtRuntime() != 0, "--cpu-rt-runtime", []string{"cpu.rt_runtime_us"}},
		{l.GetCpusetCpus() != "", "--cpuset-cpus", []string{"cpuset.cpus"}},
		{l.GetCpusetMems() != "", "--cpuset-mems", []string{"cpuset.mems"}},
		{l.GetBlkioWeight() != 0, "--blkio-weight", []string{"io.weight", "io.bfq.weight", "blkio.weight", "blkio.bfq.weight"}},
	} {
		for _, file := range s.files {
			if s.given && file == name {
				return s.limit
			}
		}
	}
	return ""
}

// typed sets the field that a file of version 1 has, or says that there is none, or none for this value.
func typed(r *specs.LinuxResources, name, value string) bool {
	switch {
	case name == "net_cls.classid":
		id, err := strconv.ParseUint(value, 0, 32)
		if err == nil {
			n := uint32(id)
			network(r).ClassID = &n
		}
		return err == nil
	case name == "net_prio.ifpriomap":
		device, number, _ := strings.Cut(value, " ")
		priority, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32)
		if err == nil {
			network(r).Priorities = append(network(r).Priorities, specs.LinuxInterfacePriority{Name: device, Priority: uint32(priority)})
		}
		return err == nil
	case name == "rdma.max":
		return rdma(r, value)
	}
	size, isHuge := strings.CutPrefix(name, "hugetlb.")
	size, isLimit := strings.CutSuffix(size, ".limit_in_bytes")
	limit, err := strconv.ParseUint(value, 10, 64)
	if !isHuge || !isLimit || strings.Contains(size, ".") || err != nil {
		return false
	}
	r.HugepageLimits = append(r.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: size, Limit: limit})
	return true
}

func network(r *specs.LinuxResources) *specs.LinuxNetwork {
	if r.Network == nil {
		r.Network = &specs.LinuxNetwork{}
	}
	return r.Network
}

// rdma reads "mlx4_0 hca_handle=2 hca_object=2000".
func rdma(r *specs.LinuxResources, value string) bool {
	words := strings.Fields(value)
	if len(words) < 2 {
		return false
	}
	var d specs.LinuxRdma
	for _, word := range words[1:] {
		key, number, _ := strings.Cut(word, "=")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return false
		}
		limit := uint32(n)
		switch key {
		case "hca_handle":
			d.HcaHandles = &limit
		case "hca_object":
			d.HcaObjects = &limit
		default:
			return false
		}
	}
	if r.Rdma == nil {
		r.Rdma = map[string]specs.LinuxRdma{}
	}
	r.Rdma[words[0]] = d
	return true
}
