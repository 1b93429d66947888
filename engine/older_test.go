//go:build linux

package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/proto/api"
)

// TestCompleteRow: a row of a daemon that did not write what was asked for gets it from the request; one of this daemon stays.
func TestCompleteRow(t *testing.T) {
	random := strings.Repeat("0a", 32)
	data := &api.Mount{Type: api.Mount_VOLUME, Source: "data", Target: "/data/", NoCopy: true}
	bind := &api.Mount{Type: api.Mount_BIND, Source: "/srv", Target: "/srv", Propagation: "rslave"}
	anonymous := &api.Mount{Type: api.Mount_VOLUME, Target: "/image"}
	ports := []*api.PortBinding{{ContainerPort: 80, HostPort: 8080}}
	req := &api.CreateContainerRequest{Ports: ports, PublishAll: true}
	spec := &api.ContainerSpec{Mounts: []*api.Mount{data, bind}}
	row := &api.Container{Spec: spec, Mounts: []*api.MountPoint{
		{Type: "volume", Name: "data", Destination: "/data"},
		{Type: "bind", Source: "/srv", Destination: "/srv"},
		{Type: "volume", Name: random, Destination: "/image"},
		{Type: "volume", Name: "others", Destination: "/inherited", ReadOnly: true},
		{Type: "tmpfs", Destination: "/tmp"},
	}}
	want := &api.Container{Spec: spec, PublishAll: true, PortBindings: ports, ExposedPorts: []string{"80/tcp"}, Mounts: []*api.MountPoint{
		{Type: "volume", Name: "data", Destination: "/data", Driver: "local", Mount: data},
		{Type: "bind", Source: "/srv", Destination: "/srv", Mount: bind},
		{Type: "volume", Name: random, Destination: "/image", Driver: "local", Mount: anonymous},
		{Type: "volume", Name: "others", Destination: "/inherited", ReadOnly: true, Driver: "local",
			Mount: &api.Mount{Type: api.Mount_VOLUME, Source: "others", Target: "/inherited", ReadOnly: true}},
		{Type: "tmpfs", Destination: "/tmp", Mount: &api.Mount{Type: api.Mount_TMPFS, Target: "/tmp"}},
	}}
	for range 2 {
		complete(row, req, &Image{})
		if diff := cmp.Diff(want, row, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	for i, anonymous := range []bool{false, false, true, false, false} {
		if isAnonymous(row.Mounts[i]) != anonymous {
			t.Errorf("%s: that nobody named it is %v", row.Mounts[i].Destination, !anonymous)
		}
	}
	plugin := &api.Container{Mounts: []*api.MountPoint{{Type: "volume", Name: "a", Driver: "disk", Mount: data}}}
	before := proto.CloneOf(plugin)
	complete(plugin, &api.CreateContainerRequest{}, &Image{})
	if diff := cmp.Diff(before, plugin, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
