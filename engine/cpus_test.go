//go:build linux

package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestParseSet(t *testing.T) {
	for in, want := range map[string][]int{"0": {0}, "0-2,5": {0, 1, 2, 5}, "1, 3": {1, 3}, "3-1": nil, "a": nil, "": nil, "0-": nil, "-1": nil, "0-99999999": nil} {
		if got, err := parseSet(in); !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("parseSet(%q) = %v, %v", in, got, err)
		}
	}
}

func TestCheckCPUs(t *testing.T) {
	for name, tc := range map[string]struct {
		limits  *api.ContainerLimits
		service bool
		want    string // in the error; "" for none
	}{
		"none":          {nil, false, ""},
		"the first":     {&api.ContainerLimits{CpusetCpus: "0", CpusetMems: "0", NanoCpus: 1e9}, false, ""},
		"absent CPU":    {&api.ContainerLimits{CpusetCpus: "0,8000"}, false, "no 8000"},
		"absent node":   {&api.ContainerLimits{CpusetMems: "8000"}, true, "no 8000"},
		"no number":     {&api.ContainerLimits{CpusetCpus: "first"}, false, "--cpuset-cpus"},
		"too many":      {&api.ContainerLimits{NanoCpus: 1e15}, false, "1e+06 CPUs"},
		"of a service":  {&api.ContainerLimits{NanoCpus: 1e15}, true, ""},
		"lifted by -1 ": {&api.ContainerLimits{NanoCpus: -1}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkCPUs(tc.limits, tc.service)
			if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v", err)
			}
		})
	}
}
