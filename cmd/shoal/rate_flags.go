package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"github.com/shoal-dev/shoal/proto/api"
)

// rateFlags are limits for single block devices.
type rateFlags struct {
	weight, readBps, writeBps, readIOPS, writeIOPS listOpt
}

func (o *rateFlags) add(f *pflag.FlagSet) {
	f.Var(&o.weight, "blkio-weight-device", "Block IO weight (relative device weight)")
	f.Var(&o.readBps, "device-read-bps", "Limit read rate (bytes per second) from a device")
	f.Var(&o.readIOPS, "device-read-iops", "Limit read rate (IO per second) from a device")
	f.Var(&o.writeBps, "device-write-bps", "Limit write rate (bytes per second) to a device")
	f.Var(&o.writeIOPS, "device-write-iops", "Limit write rate (IO per second) to a device")
}

func (o *rateFlags) fill(l *api.ContainerLimits) error {
	for _, r := range []struct {
		flag  string
		given []string
		to    *[]*api.DeviceRate
		bytes bool
	}{
		{"blkio-weight-device", o.weight.values, &l.BlkioWeightDevices, false},
		{"device-read-bps", o.readBps.values, &l.ReadBps, true},
		{"device-write-bps", o.writeBps.values, &l.WriteBps, true},
		{"device-read-iops", o.readIOPS.values, &l.ReadIops, false},
		{"device-write-iops", o.writeIOPS.values, &l.WriteIops, false},
	} {
		for _, v := range r.given {
			d, err := parseRate(v, r.bytes)
			if err != nil {
				return fmt.Errorf("invalid value '%s' for --%s: %w", v, r.flag, err)
			}
			*r.to = append(*r.to, d)
		}
	}
	return nil
}

// parseRate reads PATH:NUMBER.
func parseRate(s string, bytes bool) (*api.DeviceRate, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || !strings.HasPrefix(s, "/") {
		return nil, fmt.Errorf("expected /dev/DEVICE:RATE")
	}
	d := &api.DeviceRate{Path: s[:i]}
	if bytes {
		n, err := units.RAMInBytes(s[i+1:])
		if err != nil || n < 0 {
			return nil, fmt.Errorf("'%s' is not an amount of bytes, for example 10m", s[i+1:])
		}
		d.Rate = uint64(n)
		return d, nil
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("'%s' is not a number", s[i+1:])
	}
	d.Rate = n
	return d, nil
}
