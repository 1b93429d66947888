//go:build linux

package engine

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestCheckSettings(t *testing.T) {
	type spec = api.ContainerSpec
	limits := func(l *api.ContainerLimits) func(*spec) { return func(s *spec) { s.Limits = l } }
	mount := func(m *api.Mount) func(*spec) { return func(s *spec) { s.Mounts = []*api.Mount{m} } }
	log := func(driver, key, value string) func(*spec) {
		return func(s *spec) { s.Log = &api.LogConfig{Driver: driver, Options: map[string]string{key: value}} }
	}
	for _, tc := range []struct {
		err    string
		change func(*spec)
	}{
		{"--log-opt max-size=x", log("json-file", "max-size", "x")},
		{"log driver none has no option", log("none", "max-size", "1m")},
		{"log driver local has no such option", log("local", "syslog-address", "x")},
		{"only blocking is there", log("", "mode", "non-blocking")},
		{"unknown signal", func(s *spec) { s.StopSignal = "SIGNONE" }},
		{"times begin at 1ms", func(s *spec) { s.Healthcheck = &api.HealthConfig{Interval: durationpb.New(time.Microsecond)} }},
		{"not with NONE, CMD or CMD-SHELL", func(s *spec) { s.Healthcheck = &api.HealthConfig{Test: []string{"true"}} }},
		{`--pid "x"`, func(s *spec) { s.PidMode = "x" }},
		{`--ipc "x"`, func(s *spec) { s.IpcMode = "x" }},
		{`--uts "x"`, func(s *spec) { s.UtsMode = "x" }},
		{`--cgroupns "x"`, func(s *spec) { s.CgroupnsMode = "x" }},
		{`--userns "x"`, func(s *spec) { s.UsernsMode = "x" }},
		{"--pid host cannot be combined with a user namespace", func(s *spec) { s.UsernsMode, s.PidMode = "auto", "host" }},
		{"--hostname cannot be combined with --uts host", func(s *spec) { s.UtsMode, s.Hostname = "host", "h" }},
		{"is not a domain", func(s *spec) { s.Domainname = "a b" }},
		{"an annotation has no key", func(s *spec) { s.Annotations = map[string]string{"": "x"} }},
		{"is not NAME:ADDRESS", func(s *spec) { s.Hosts = []string{"x"} }},
		{`exposed port "0"`, func(s *spec) { s.ExposedPorts = []string{"0"} }},
		{"are not made of r, w and m", func(s *spec) { s.Devices = []*api.Device{{HostPath: "/dev/null", Permissions: "x"}} }},
		{"device cgroup rule", func(s *spec) { s.DeviceCgroupRules = []string{"x"} }},
		{"is not VENDOR/CLASS=NAME", func(s *spec) { s.CdiDevices = []string{"x"} }},
		{"leads out of the daemon's own control group", func(s *spec) { s.CgroupParent = "a/../.." }},
		{"is not named CONTROLLER.SETTING", limits(&api.ContainerLimits{Conf: map[string]string{"x": "1"}})},
		{"has no value", limits(&api.ContainerLimits{Conf: map[string]string{"memory.high": ""}})},
		{"is the limit that is given with --pids-limit", limits(&api.ContainerLimits{Pids: 9, Conf: map[string]string{"pids.max": "1"}})},
		{`--cpuset-cpus "2-1"`, limits(&api.ContainerLimits{CpusetCpus: "2-1"})},
		{"is not between 10 and 1000", limits(&api.ContainerLimits{BlkioWeightDevices: []*api.DeviceRate{{Path: "/dev/sda", Rate: 1}}})},
		{"--memory-swap needs a memory limit", limits(&api.ContainerLimits{MemorySwap: 1 << 30})},
		{"--cpu-burst needs a CPU limit", limits(&api.ContainerLimits{CpuBurst: 1})},
		{"--cap-add: unknown capability", func(s *spec) { s.CapAdd = []string{"FLY"} }},
		{"--cap-drop: unknown capability", func(s *spec) { s.CapDrop = []string{"FLY"} }},
		{"unknown ulimit", func(s *spec) { s.Ulimits = []*api.Ulimit{{Name: "x"}} }},
		{"is above the hard limit", func(s *spec) { s.Ulimits = []*api.Ulimit{{Name: "nofile", Soft: 2, Hard: 1}} }},
		{"is not separate for each container", func(s *spec) { s.Sysctls = map[string]string{"vm.swappiness": "1"} }},
		{"needs an IPC namespace", func(s *spec) { s.IpcMode, s.Sysctls = "host", map[string]string{"kernel.msgmax": "1"} }},
		{"is neither monotonic nor boottime", func(s *spec) { s.TimeOffsets = map[string]string{"x": "1"} }},
		{"seccomp profile", func(s *spec) { s.Seccomp = "{" }},
		{"neither \"unconfined\" nor a JSON profile", func(s *spec) { s.Seccomp = "x" }},
		{"is not an absolute path", func(s *spec) { s.Workdir = "x" }},
		{"--oom-score-adj", func(s *spec) { s.OomScoreAdj = 2000 }},
		{"is not an absolute path below /", mount(&api.Mount{Target: "x"})},
		{"two mounts have the target /x", func(s *spec) {
			s.Mounts = []*api.Mount{{Type: api.Mount_TMPFS, Target: "/x"}, {Type: api.Mount_TMPFS, Target: "/x/"}}
		}},
		{"propagation and recursion are for bind mounts", mount(&api.Mount{Type: api.Mount_VOLUME, Target: "/x", Propagation: "rslave"})},
		{"subpath and nocopy are for volumes", mount(&api.Mount{Source: "/x", Target: "/x", Driver: "disk"})},
		{"are for tmpfs mounts", mount(&api.Mount{Source: "/x", Target: "/x", TmpfsMode: 0o700})},
		{"unknown propagation", mount(&api.Mount{Source: "/x", Target: "/x", Propagation: "all"})},
		{"is for read-only mounts", mount(&api.Mount{Source: "/x", Target: "/x", ReadOnlyRecursion: "readonly"})},
		{"unknown tmpfs option", mount(&api.Mount{Type: api.Mount_TMPFS, Target: "/x", TmpfsOptions: []string{"size=101%"}})},
		{"unknown tmpfs option", mount(&api.Mount{Type: api.Mount_TMPFS, Target: "/x", TmpfsOptions: []string{"size=5"}})},
		{"unknown tmpfs option", mount(&api.Mount{Type: api.Mount_TMPFS, Target: "/x", TmpfsOptions: []string{"huge=always"}})},
		{"invalid volume name", mount(&api.Mount{Type: api.Mount_VOLUME, Source: "a/b", Target: "/x"})},
		{"option \"size\" is not known", mount(&api.Mount{Type: api.Mount_VOLUME, Target: "/x", DriverOpts: map[string]string{"size": "1"}})},
	} {
		s := &spec{Image: "web:1"}
		tc.change(s)
		err := CheckSettings(s, NetworkExternal)
		if err == nil || !strings.Contains(err.Error(), tc.err) || !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one line with %q, got %v", tc.err, err)
		}
	}
	if err := CheckSettings(&spec{}, NetworkExternal); err != nil {
		t.Errorf("nothing but defaults: %v", err)
	}
}
