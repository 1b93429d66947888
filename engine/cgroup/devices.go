//go:build linux

package cgroup

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultDevices denies everything but what every container needs: making nodes
// (which gives no access), the harmless memory devices, terminals.
func defaultDevices() []specs.LinuxDeviceCgroup {
	n := func(v int64) *int64 { return &v }
	rules := []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Access: "m"}, specs.LinuxDeviceCgroup{Allow: true, Type: "b", Access: "m"})
	for _, d := range [][2]int64{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}, {5, 2}} {
		rules = append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: n(d[0]), Minor: n(d[1]), Access: "rwm"})
	}
	return append(rules, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: n(136), Access: "rwm"})
}

// WithDefaults puts the default rules in front of a spec's own, so that a spec that
// says nothing is denied by default. A spec that allows everything still does.
func WithDefaults(own []specs.LinuxDeviceCgroup) []specs.LinuxDeviceCgroup {
	if len(own) > 0 && everything(own[0]) && !own[0].Allow {
		own = own[1:]
	}
	return append(defaultDevices(), own...)
}

// everything: the rule is about all devices.
func everything(r specs.LinuxDeviceCgroup) bool {
	return (r.Type == "" || r.Type == "a") && anyNumber(r.Major) && anyNumber(r.Minor)
}

func anyNumber(n *int64) bool { return n == nil || *n < 0 }

// deviceRule checks a rule and gives its defaults.
func deviceRule(r specs.LinuxDeviceCgroup) (specs.LinuxDeviceCgroup, error) {
	switch r.Type {
	case "":
		r.Type = "a"
	case "a", "b", "c":
	default:
		return r, fmt.Errorf("device rule: unknown type %q", r.Type)
	}
	if r.Access == "" {
		r.Access = "rwm"
	}
	if strings.Trim(r.Access, "rwm") != "" {
		return r, fmt.Errorf("device rule: unknown access %q", r.Access)
	}
	if r.Type == "a" && (!anyNumber(r.Major) || !anyNumber(r.Minor)) {
		return r, fmt.Errorf("device rule: numbers need type b or c")
	}
	return r, nil
}

func (g *Group) devicesV1(w *writer, rules []specs.LinuxDeviceCgroup) {
	for _, r := range rules {
		r, err := deviceRule(r)
		if err != nil {
			w.err = err
			return
		}
		file := "devices.deny"
		if r.Allow {
			file = "devices.allow"
		}
		for _, line := range deviceLines(r) {
			w.v1("devices", file, line)
		}
	}
}

// deviceLines is a rule in version 1's words. There, "a" is all kinds of access, whatever stands behind it.
func deviceLines(r specs.LinuxDeviceCgroup) []string {
	types := []string{r.Type}
	if r.Type == "a" {
		if accessBits(r.Access) == bpfMknod|bpfR|bpfW {
			return []string{"a"}
		}
		types = []string{"b", "c"}
	}
	var lines []string
	for _, t := range types {
		lines = append(lines, fmt.Sprintf("%s %s:%s %s", t, star(r.Major), star(r.Minor), r.Access))
	}
	return lines
}

func star(n *int64) string {
	if anyNumber(n) {
		return "*"
	}
	return text(*n)
}
