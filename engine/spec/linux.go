package spec

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func linux(o Options, caps []string) (*specs.Linux, error) {
	resources, err := Resources(o.Spec.GetLimits())
	if err != nil {
		return nil, err
	}
	resources.Devices = deviceRules(o)
	l := &specs.Linux{
		CgroupsPath: o.CgroupsPath,
		Resources:   resources,
		Devices:     o.Devices,
		Namespaces:  namespaces(o),
		MountLabel:  o.MountLabel,
	}
	if l.Sysctl, err = sysctls(o); err != nil {
		return nil, err
	}
	if l.TimeOffsets, err = timeOffsets(o.Spec.GetTimeOffsets()); err != nil {
		return nil, err
	}
	if !o.Spec.GetPrivileged() && !o.Spec.GetUnmaskPaths() {
		l.MaskedPaths, l.ReadonlyPaths = slices.Clone(maskedPaths), slices.Clone(readonlyPaths)
	}
	if l.Seccomp, err = seccomp(o, caps); err != nil {
		return nil, err
	}
	return l, nil
}

func seccomp(o Options, caps []string) (*specs.LinuxSeccomp, error) {
	profile := o.Spec.GetSeccomp()
	switch {
	case profile == "unconfined", profile == "" && o.Spec.GetPrivileged():
		return nil, nil
	case profile == "", profile == "default":
		return o.Seccomp(caps)
	case strings.HasPrefix(strings.TrimSpace(profile), "{"):
		return o.CustomSeccomp(profile, caps)
	default:
		return nil, fmt.Errorf("seccomp: %.40q is neither \"unconfined\" nor a JSON profile", profile)
	}
}

func namespaces(o Options) []specs.LinuxNamespace {
	ns := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	add := func(t specs.LinuxNamespaceType, where string) {
		switch where {
		case "host":
		default:
			ns = append(ns, specs.LinuxNamespace{Type: t, Path: where})
		}
	}
	add(specs.NetworkNamespace, o.Namespaces.Net)
	add(specs.PIDNamespace, o.Namespaces.Pid)
	add(specs.IPCNamespace, o.Namespaces.IPC)
	add(specs.UTSNamespace, o.Namespaces.UTS)
	add(specs.CgroupNamespace, o.Namespaces.Cgroup)
	add(specs.TimeNamespace, "")
	if o.Namespaces.User != "" {
		add(specs.UserNamespace, o.Namespaces.User)
	}
	return ns
}
