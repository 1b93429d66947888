package spec

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func timeOffsets(in map[string]string) (map[string]specs.LinuxTimeOffset, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := map[string]specs.LinuxTimeOffset{}
	for clock, text := range in {
		if clock != "monotonic" && clock != "boottime" {
			return nil, fmt.Errorf("--time-offset: clock %q is neither monotonic nor boottime", clock)
		}
		whole, fraction, _ := strings.Cut(text, ".")
		secs, err := strconv.ParseInt(whole, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("--time-offset %s: %q is not SECONDS[.FRACTION]", clock, text)
		}
		var nanos uint64
		if fraction != "" {
			if len(fraction) > 9 {
				return nil, fmt.Errorf("--time-offset %s: %q is finer than a nanosecond", clock, text)
			}
			nanos, err = strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("--time-offset %s: %q is not SECONDS[.FRACTION]", clock, text)
			}
		}
		// The kernel counts nanoseconds upwards, so that -1.25 is two seconds back and 0.75 forth.
		if strings.HasPrefix(whole, "-") && nanos > 0 {
			secs, nanos = secs-1, 1e9-nanos
		}
		out[clock] = specs.LinuxTimeOffset{Secs: secs, Nanosecs: uint32(nanos)}
	}
	return out, nil
}
