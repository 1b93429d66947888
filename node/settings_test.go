//go:build linux

package node

import (
	"strings"
	"testing"

	"github.com/shoal-dev/shoal/proto/api"
)

// Each is refused by the same words as 'run' has for it.
func TestCheckSettings(t *testing.T) {
	type spec = api.ContainerSpec
	for _, tc := range []struct {
		change func(s *api.ServiceSpec, c *spec)
		err    string // "": taken
	}{
		{func(_ *api.ServiceSpec, c *spec) {}, ""},
		{func(_ *api.ServiceSpec, c *spec) {
			c.Hostname = strings.Repeat("{{.Service.Name}}", 5) // longer than a hostname until it is filled in
			c.Env = []string{"N={{.Task.Slot}}"}
			c.Mounts = []*api.Mount{{Type: api.Mount_VOLUME, Source: "v-{{.Node.Hostname}}", Target: "/v"}}
			c.Sysctls = map[string]string{"net.core.somaxconn": "9", "kernel.msgmax": "9"}
			c.Limits = &api.ContainerLimits{CpusetCpus: "0-900", NanoCpus: 9e12} // some node may have them
			c.Devices = []*api.Device{{HostPath: "/dev/only-on-some"}}
		}, ""},
		{func(_ *api.ServiceSpec, c *spec) { c.Hostname = "{{.Nope}}" }, "hostname: template {{.Nope}} is not known"},
		{func(_ *api.ServiceSpec, c *spec) { c.Hostname = strings.Repeat("{{.Task.Name}}", 3) }, "the kernel takes 64"},
		{func(s *api.ServiceSpec, c *spec) {
			s.Networks = []*api.NetworkAttachmentSpec{{Network: "host"}}
			c.Sysctls = map[string]string{"net.core.somaxconn": "9"}
		}, "sysctl net.core.somaxconn needs a network namespace of the container's own"},
		{func(_ *api.ServiceSpec, c *spec) { c.Log = &api.LogConfig{Driver: "syslog"} }, `log driver "syslog" is not json-file, local or none`},
	} {
		s := &api.ServiceSpec{Name: "web", Mode: &api.ServiceMode{Replicas: 1}, Container: &spec{Image: "web:1"}}
		tc.change(s, s.Container)
		err := checkSettings(s)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%v: got %v, want %q", s.Container, err, tc.err)
		}
	}
}
