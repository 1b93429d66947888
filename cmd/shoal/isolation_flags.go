package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"tags.cncf.io/container-device-interface/pkg/parser"

	"github.com/shoal-dev/shoal/proto/api"
)

// isolationFlags say what a container shares with its host: run, create and services have them.
type isolationFlags struct {
	pid, ipc, uts, userns, cgroupns string
	timeOffset                      mapOpt
	securityOpt, device, deviceRule listOpt
	alone                           bool // no container:NAME: a service's task has no neighbours that it knows
}

func (o *isolationFlags) add(f *pflag.FlagSet) {
	f.Var(&o.securityOpt, "security-opt", "Security Options (no-new-privileges, seccomp=FILE|unconfined, apparmor=PROFILE, label=OPTION, systempaths=unconfined)")
	f.StringVar(&o.pid, "pid", "", "PID namespace to use")
	f.StringVar(&o.ipc, "ipc", "", "IPC mode to use")
	f.StringVar(&o.uts, "uts", "", "UTS namespace to use")
	f.StringVar(&o.userns, "userns", "", "User namespace to use (host|auto|remap)")
	f.StringVar(&o.cgroupns, "cgroupns", "", "Cgroup namespace to use (host|private)")
	f.Var(&o.timeOffset, "time-offset", "Offset of a clock in the container (monotonic=SECONDS, boottime=SECONDS)")
	f.Var(&o.device, "device", "Add a host device to the container (PATH[:PATH[:rwm]], or a CDI device VENDOR/CLASS=NAME)")
	f.Var(&o.deviceRule, "device-cgroup-rule", "Add a rule to the cgroup allowed devices list (c 13:* rwm)")
}

// apply writes what was given into the spec and leaves the rest as it is.
func (o *isolationFlags) apply(f *pflag.FlagSet, spec *api.ContainerSpec) error {
	for _, m := range []struct {
		flag, value string
		to          *string
		allowed     []string
		container   bool
	}{
		{"pid", o.pid, &spec.PidMode, []string{"host"}, true},
		{"ipc", o.ipc, &spec.IpcMode, []string{"private", "host", "shareable"}, true},
		{"uts", o.uts, &spec.UtsMode, []string{"host"}, false},
		{"userns", o.userns, &spec.UsernsMode, []string{"host", "auto", "remap"}, false},
		{"cgroupns", o.cgroupns, &spec.CgroupnsMode, []string{"private", "host"}, false},
	} {
		if !f.Changed(m.flag) {
			continue
		}
		container := m.container && !o.alone
		if m.value != "" && !slices.Contains(m.allowed, m.value) && !(container && len(m.value) > len("container:") && strings.HasPrefix(m.value, "container:")) {
			if container {
				m.allowed = append(m.allowed, "container:NAME")
			}
			return fmt.Errorf("invalid value '%s' for --%s: use %s", m.value, m.flag, strings.Join(m.allowed, ", "))
		}
		*m.to = m.value
	}
	for clock := range o.timeOffset.values {
		if clock != "monotonic" && clock != "boottime" {
			return fmt.Errorf("unknown clock '%s' for --time-offset: use monotonic or boottime", clock)
		}
	}
	given(f, "time-offset", &spec.TimeOffsets, o.timeOffset.values)
	given(f, "device-cgroup-rule", &spec.DeviceCgroupRules, o.deviceRule.values)
	if err := o.devices(f, spec); err != nil {
		return err
	}
	return o.security(spec)
}

func (o *isolationFlags) devices(f *pflag.FlagSet, spec *api.ContainerSpec) error {
	if !f.Changed("device") {
		return nil
	}
	spec.Devices, spec.CdiDevices = nil, nil
	for _, v := range o.device.values {
		if parser.IsQualifiedName(v) {
			spec.CdiDevices = append(spec.CdiDevices, v)
			continue
		}
		d, err := parseDevice(v)
		if err != nil {
			return fmt.Errorf("invalid device '%s': %w", v, err)
		}
		spec.Devices = append(spec.Devices, d)
	}
	return nil
}

func (o *isolationFlags) security(spec *api.ContainerSpec) error {
	var labels []string
	for _, s := range o.securityOpt.values {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			key, value, ok = strings.Cut(s, ":")
		}
		switch {
		case key == "no-new-privileges" && (!ok || value == "true"):
			spec.NoNewPrivileges = true
		case key == "no-new-privileges" && value == "false":
			spec.NoNewPrivileges = false
		case key == "seccomp" && value == "unconfined":
			spec.Seccomp = value
		case key == "seccomp" && value != "":
			b, err := os.ReadFile(value)
			if err != nil {
				return fmt.Errorf("read the seccomp profile: %w", err)
			}
			spec.Seccomp = string(b)
		case key == "apparmor" && value != "":
			spec.Apparmor = value
		case key == "label" && value != "":
			labels = append(labels, value)
		case key == "systempaths" && value == "unconfined":
			spec.UnmaskPaths = true
		default:
			return fmt.Errorf("unsupported security option '%s': use no-new-privileges, seccomp=, apparmor=, label= or systempaths=unconfined", s)
		}
	}
	if labels != nil {
		spec.LabelOptions = labels
	}
	return nil
}
