//go:build linux

package engine

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/shoal-dev/shoal/proto/api"
)

// addRates adds limits for single block devices of this host, and of huge pages.
func addRates(r *specs.LinuxResources, l *api.ContainerLimits) error {
	for size, limit := range l.GetHugetlb() {
		r.HugepageLimits = append(r.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: size, Limit: limit})
	}
	io := &specs.LinuxBlockIO{}
	if r.BlockIO != nil {
		io = r.BlockIO
	}
	for _, d := range l.GetBlkioWeightDevices() {
		weight := uint16(d.Rate)
		w := specs.LinuxWeightDevice{Weight: &weight}
		if err := blockDevice(d.Path, &w.Major, &w.Minor); err != nil {
			return err
		}
		io.WeightDevice = append(io.WeightDevice, w)
	}
	for _, t := range []struct {
		from []*api.DeviceRate
		to   *[]specs.LinuxThrottleDevice
	}{
		{l.GetReadBps(), &io.ThrottleReadBpsDevice}, {l.GetWriteBps(), &io.ThrottleWriteBpsDevice},
		{l.GetReadIops(), &io.ThrottleReadIOPSDevice}, {l.GetWriteIops(), &io.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.from {
			v := specs.LinuxThrottleDevice{Rate: d.Rate}
			if err := blockDevice(d.Path, &v.Major, &v.Minor); err != nil {
				return err
			}
			*t.to = append(*t.to, v)
		}
	}
	if len(io.WeightDevice)+len(io.ThrottleReadBpsDevice)+len(io.ThrottleWriteBpsDevice)+len(io.ThrottleReadIOPSDevice)+len(io.ThrottleWriteIOPSDevice) > 0 {
		r.BlockIO = io
	}
	return nil
}

func blockDevice(path string, major, minor *int64) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return errorf(ErrInvalid, "device %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return errorf(ErrInvalid, "device %s: not a block device", path)
	}
	*major, *minor = int64(unix.Major(uint64(st.Rdev))), int64(unix.Minor(uint64(st.Rdev)))
	return nil
}
