//go:build linux

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// onDisk is a file of a megabyte and the disk below it, whose rates can be limited.
func onDisk(t *testing.T) (path string, major, minor int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	major, minor = int64(unix.Major(uint64(st.Dev))), int64(unix.Minor(uint64(st.Dev)))
	sys := fmt.Sprintf("/sys/dev/block/%d:%d", major, minor)
	if _, err := os.Stat(sys); err != nil {
		t.Skipf("SKIPPED: %s lies on no disk: %v", path, err)
	}
	if whole, err := read(sys+"/..", "dev"); err == nil { // of a partition
		fmt.Sscanf(whole, "%d:%d", &major, &minor)
	}
	return path, major, minor
}

// A megabyte at a megabyte a second, or in 16 operations at 16 a second, takes most of a second, whatever the disk can do.
func TestDiskRatesBite(t *testing.T) {
	file, major, minor := onDisk(t)
	const reads, writes = "dd if=%s of=/dev/null bs=64k count=16 iflag=direct", "dd if=/dev/zero of=%s bs=64k count=16 conv=notrunc oflag=direct"
	rate := func(n uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{throttleOf(major, minor, n)}
	}
	for name, tc := range map[string]struct {
		script string
		limit  specs.LinuxBlockIO
		count  func(Stats) uint64
	}{
		"bytes read":    {reads, specs.LinuxBlockIO{ThrottleReadBpsDevice: rate(1 << 20)}, func(s Stats) uint64 { return s.BlockRead }},
		"bytes written": {writes, specs.LinuxBlockIO{ThrottleWriteBpsDevice: rate(1 << 20)}, func(s Stats) uint64 { return s.BlockWrite }},
		"reads":         {reads, specs.LinuxBlockIO{ThrottleReadIOPSDevice: rate(16)}, func(s Stats) uint64 { return s.BlockRead }},
		"writes":        {writes, specs.LinuxBlockIO{ThrottleWriteIOPSDevice: rate(16)}, func(s Stats) uint64 { return s.BlockWrite }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t)
			apply(t, g, &specs.LinuxResources{BlockIO: &tc.limit})
			began := time.Now()
			m := start(t, g, fmt.Sprintf(tc.script, file))
			out := m.end(t)
			if took := time.Since(began); !m.ProcessState.Success() || took < 800*time.Millisecond {
				t.Errorf("a megabyte took %s: %v, %s", took, m.ProcessState, out)
			}
			if s, err := g.Stats(); err != nil || tc.count(s) < 1<<20 {
				t.Errorf("%d bytes are counted, %v, want %d", tc.count(s), err, 1<<20)
			}
		})
	}
}

// bfqDisk is a disk that does one thing after the other and is scheduled by BFQ, which knows weights. It must not be anybody's.
func bfqDisk(t *testing.T) (path string, major, minor int64) {
	t.Helper()
	path = os.Getenv("SHOAL_TEST_DISK")
	if path == "" {
		t.Skip("SKIPPED: SHOAL_TEST_DISK names no disk to experiment with; make e2e-vm has one")
	}
	queue := filepath.Join("/sys/block", filepath.Base(path), "queue")
	if err := write(queue, "scheduler", "bfq"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { write(queue, "scheduler", "none") })
	for name, value := range map[string]string{
		"nr_requests": "256", "max_sectors_kb": "64", // all wishes are known to it, and small
		"iosched/low_latency": "0", "iosched/strict_guarantees": "1", // nobody is preferred, and fairness goes before throughput
		"iosched/slice_idle": "2000", "iosched/timeout_sync": "10000", // ms for whose turn it is to wish and to be served: an emulated processor is slow
		"iosched/max_budget": "512", // sectors in one turn: many turns in a short time
	} {
		if err := write(queue, name, value); err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return path, int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
}

// Two groups that read from one disk as fast as they can get it in the proportion of their weights, of the group or of that disk.
func TestDiskWeightBites(t *testing.T) {
	disk, major, minor := bfqDisk(t)
	device := func(w uint16) []specs.LinuxWeightDevice {
		d := specs.LinuxWeightDevice{Weight: &w}
		d.Major, d.Minor = major, minor
		return []specs.LinuxWeightDevice{d}
	}
	for name, weights := range map[string][2]specs.LinuxBlockIO{
		"of the group": {{Weight: to(uint16(1000))}, {Weight: to(uint16(100))}},
		"of the disk":  {{WeightDevice: device(1000)}, {WeightDevice: device(100)}},
	} {
		t.Run(name, func(t *testing.T) {
			parent := newGroup(t)
			groups := [2]*Group{inside(t, parent, "much"), inside(t, parent, "little")}
			var reads [2]func() uint64
			for i, g := range groups {
				apply(t, g, &specs.LinuxResources{BlockIO: &weights[i]})
				start(t, g, "while :; do dd if="+disk+" of=/dev/null bs=4M iflag=direct; done")
				reads[i] = func() uint64 {
					s, err := g.Stats()
					if err != nil {
						t.Fatal(err)
					}
					return s.BlockRead
				}
			}
			eventually(t, "both read", func() bool { return reads[0]() > 0 && reads[1]() > 0 })
			a, b := reads[0](), reads[1]()
			eventually(t, "much is read", func() bool { return reads[0]()-a+reads[1]()-b > 96<<20 })
			a, b = reads[0]()-a, reads[1]()-b
			t.Logf("with ten times the weight one read %d MiB, the other %d MiB", a>>20, b>>20)
			if a < 4*b {
				t.Error("the weights are not to be seen")
			}
		})
	}
}
