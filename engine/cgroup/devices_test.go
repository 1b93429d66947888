//go:build linux

package cgroup

import (
	"fmt"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// probe tries what device rules are about. /dev/full is among the defaults, /dev/kmsg is not.
const probe = `
(: < /dev/null) 2>/dev/null && echo reads null
(echo > /dev/null) 2>/dev/null && echo writes null
(: < /dev/full) 2>/dev/null && echo reads full
(: < /dev/kmsg) 2>/dev/null && echo reads kmsg
(echo -n > /dev/kmsg) 2>/dev/null && echo writes kmsg
true`

func char(allow bool, major, minor int64, access string) specs.LinuxDeviceCgroup {
	return specs.LinuxDeviceCgroup{Allow: allow, Type: "c", Major: &major, Minor: &minor, Access: access}
}

var deviceCases = map[string]struct {
	own  []specs.LinuxDeviceCgroup
	want string
}{
	"default":                  {nil, "reads null\nwrites null\nreads full\n"},
	"deny all, as runc writes": {[]specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, "reads null\nwrites null\nreads full\n"},
	"one device to read":       {[]specs.LinuxDeviceCgroup{char(true, 1, 11, "r")}, "reads null\nwrites null\nreads full\nreads kmsg\n"},
	"all minors":               {[]specs.LinuxDeviceCgroup{char(true, 1, -1, "rw")}, "reads null\nwrites null\nreads full\nreads kmsg\nwrites kmsg\n"},
	"one less":                 {[]specs.LinuxDeviceCgroup{char(false, 1, 7, "rwm")}, "reads null\nwrites null\n"},
	"everything (privileged)":  {[]specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}, "reads null\nwrites null\nreads full\nreads kmsg\nwrites kmsg\n"},
	"everything, to read":      {[]specs.LinuxDeviceCgroup{{Allow: true, Access: "r"}}, "reads null\nwrites null\nreads full\nreads kmsg\n"},
	"everything but one":       {[]specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}, char(false, 1, 11, "w")}, "reads null\nwrites null\nreads full\nreads kmsg\n"},
}

// As limits of a group: files of version 1, or a filter of version 2.
func TestDeviceRules(t *testing.T) {
	for name, tc := range deviceCases {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t)
			apply(t, g, &specs.LinuxResources{Devices: WithDefaults(tc.own)})
			if diff := cmp.Diff(tc.want, start(t, g, probe).end(t)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The same as BPF, on a machine whose version 2 tree takes programs: it need not have controllers.
func TestDeviceFilter(t *testing.T) {
	for name, tc := range deviceCases {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t)
			if g.V2Dir() == "" {
				t.Skip("SKIPPED: this machine has no cgroups of version 2")
			}
			// Twice, the first with another meaning: only the last counts, whatever was attached.
			for _, rules := range [][]specs.LinuxDeviceCgroup{{{Allow: false, Access: "rwm"}}, WithDefaults(tc.own)} {
				if err := attachDevices(g.V2Dir(), rules); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tc.want, start(t, g, probe).end(t)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			dir, err := os.Open(g.V2Dir())
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			if ids, err := attachedDevices(int(dir.Fd())); err != nil || len(ids) != 1 {
				t.Errorf("attached programs: %v, %v, want one", ids, err)
			}
		})
	}
}

// The verifier takes the longest program that a spec may ask for.
func TestManyDeviceRules(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: loading BPF needs root")
	}
	var rules []specs.LinuxDeviceCgroup
	for i := range int64(300) {
		rules = append(rules, char(i%3 != 0, i%200, i, []string{"r", "rw", "m"}[i%3]))
	}
	code, err := deviceProgram(rules)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.CGroupDevice, Instructions: code, License: "Apache-2.0"})
	if err != nil {
		t.Fatal(err)
	}
	prog.Close()
}

func TestDeviceLines(t *testing.T) {
	for want, r := range map[string]specs.LinuxDeviceCgroup{
		"[a]":                 {},
		"[b *:* r c *:* r]":   {Access: "r"},
		"[c 1:* rw]":          {Type: "c", Major: to(int64(1)), Access: "rw"},
		"[b 8:1 rwm]":         {Type: "b", Major: to(int64(8)), Minor: to(int64(1))},
		"[c *:3 m]":           {Type: "c", Major: to(int64(-1)), Minor: to(int64(3)), Access: "m"},
		"[b *:* rw c *:* rw]": {Type: "a", Access: "rw", Major: to(int64(-1))},
	} {
		r, err := deviceRule(r)
		if got := fmt.Sprint(deviceLines(r)); err != nil || got != want {
			t.Errorf("%+v: %s, %v, want %s", r, got, err, want)
		}
	}
}
