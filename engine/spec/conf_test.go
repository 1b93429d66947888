package spec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/shoal-dev/shoal/proto/api"
)

// Files of version 1 have fields in the specification, others and strange values are in "unified".
func TestConf(t *testing.T) {
	to := func(n uint32) *uint32 { return &n }
	got, err := Resources(&api.ContainerLimits{Conf: map[string]string{
		"hugetlb.2MB.limit_in_bytes": "4194304", "hugetlb.1GB.max": "0", "hugetlb.64KB.limit_in_bytes": "4M",
		"net_cls.classid": "0x100001", "net_prio.ifpriomap": "eth0 5", "rdma.max": "mlx4_0 hca_handle=2 hca_object=2000",
		"memory.high": "64M",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := &specs.LinuxResources{
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}},
		Network:        &specs.LinuxNetwork{ClassID: to(0x100001), Priorities: []specs.LinuxInterfacePriority{{Name: "eth0", Priority: 5}}},
		Rdma:           map[string]specs.LinuxRdma{"mlx4_0": {HcaHandles: to(2), HcaObjects: to(2000)}},
		Unified:        map[string]string{"hugetlb.1GB.max": "0", "hugetlb.64KB.limit_in_bytes": "4M", "memory.high": "64M"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	got, err = Resources(&api.ContainerLimits{Conf: map[string]string{"rdma.max": "mlx4_0 hca_handle=max", "net_cls.classid": "many", "net_prio.ifpriomap": "eth0"}})
	if err != nil || len(got.Unified) != 3 || got.Network != nil || got.Rdma != nil {
		t.Errorf("values that the fields cannot hold: %+v, %v", got, err)
	}
}

// One limit given twice is refused: which of the two counts would be chance.
func TestConfAgainstLimits(t *testing.T) {
	swappiness := int64(1)
	for file, l := range map[string]*api.ContainerLimits{
		"memory.max": {MemoryBytes: 64 << 20}, "memory.swap.max": {MemoryBytes: 64 << 20}, "memory.low": {MemoryReservation: 1 << 20}, "pids.max": {Pids: 3}, "cpu.max": {NanoCpus: 1e9}, "cpu.cfs_period_us": {CpuPeriod: 1000},
		"cpu.weight": {CpuShares: 5}, "cpuset.cpus": {CpusetCpus: "0"}, "cpuset.mems": {CpusetMems: "0"}, "memory.swappiness": {MemorySwappiness: &swappiness},
		"cpu.rt_runtime_us": {CpuRtRuntime: 5}, "io.weight": {BlkioWeight: 50},
	} {
		l.Conf = map[string]string{file: "1"}
		if _, err := Resources(l); err == nil {
			t.Errorf("%s: accepted beside %v", file, l)
		}
	}
	for _, l := range []*api.ContainerLimits{{CpuRtRuntime: -1}, {CpuRtPeriod: -1}, {CpuRtRuntime: 10, CpuRtPeriod: 5}} {
		if _, err := Resources(l); err == nil {
			t.Errorf("%v is accepted", l)
		}
	}
}
