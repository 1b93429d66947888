package spec

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// deviceRules deny everything, then allow making device nodes (they cannot be opened), what every container has,
// and what this one asked for. A privileged container may use all.
func deviceRules(o Options) []specs.LinuxDeviceCgroup {
	if o.Spec.GetPrivileged() {
		return []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	}
	rules := []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		{Allow: true, Type: "c", Access: "m"},
		{Allow: true, Type: "b", Access: "m"},
		allow(1, 3), // null
		allow(1, 5), // zero
		allow(1, 7), // full
		allow(1, 8), // random
		allow(1, 9), // urandom
		allow(5, 0), // tty
		allow(5, 1), // console
		allow(5, 2), // ptmx
		{Allow: true, Type: "c", Major: number(136), Access: "rwm"}, // pts/*
	}
	return append(rules, o.DeviceRules...)
}

func allow(major, minor int64) specs.LinuxDeviceCgroup {
	return specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: number(major), Minor: number(minor), Access: "rwm"}
}

func number(n int64) *int64 { return &n }
