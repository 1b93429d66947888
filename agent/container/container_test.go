//go:build linux

package container

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/shoal-dev/shoal/proto/api"
)

func TestExpand(t *testing.T) {
	task := &api.Task{Id: "tid", ServiceId: "sid", ServiceName: "web", Slot: 2, NodeId: "nid"}
	values := placeholders(task, Node{ID: "nid", Hostname: "host"})
	tests := []struct{ in, want, err string }{
		{"plain", "plain", ""},
		{"{{.Service.Name}}-{{ .Task.Slot }}", "web-2", ""},
		{"{{.Service.ID}} {{.Task.ID}} {{.Task.Name}} {{.Node.ID}} {{.Node.Hostname}}", "sid tid web.2.tid nid host", ""},
		{"{{.Nope}}", "", "template {{.Nope}} is not known"},
		{"a {{.Task.ID", "", `template "{{.Task.ID" has no closing }}`},
		{"json {}}", "json {}}", ""},
	}
	for _, tt := range tests {
		got, err := expand(tt.in, values)
		if got != tt.want || (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("expand(%q) = %q, %v; want %q, %q", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestRequest(t *testing.T) {
	task := &api.Task{Id: "tid", ServiceId: "sid", ServiceName: "web", NodeId: "nid",
		Networks: []*api.NetworkAttachment{{NetworkId: "net1", Addresses: []string{"10.96.0.9/22"}}}}
	rev := &api.Revision{Id: "sid.1", Spec: &api.ServiceSpec{Container: &api.ContainerSpec{
		Image: "web:1", Labels: map[string]string{"mine": "1", "shoal.task.id": "forged"},
		Mounts: []*api.Mount{{Target: "/data", Source: "data-{{.Task.Slot}}", Type: api.Mount_VOLUME}},
		Dns:    &api.DNSConfig{Nameservers: []string{"192.0.2.53"}},
	}}}
	c := New(Deps{
		Node:        func() Node { return Node{ID: "nid", Hostname: "host"} },
		Nameservers: func(*api.Task) []string { return []string{"10.96.0.1"} },
	}, task, rev)
	got, err := c.request()
	if err != nil {
		t.Fatal(err)
	}
	want := &api.CreateContainerRequest{
		Name: "web.nid.tid", NetworkMode: "external", Restart: &api.LocalRestartPolicy{Name: "no"},
		Spec: &api.ContainerSpec{
			Image: "web:1", Mounts: []*api.Mount{{Target: "/data", Source: "data-0", Type: api.Mount_VOLUME}},
			Dns: &api.DNSConfig{Nameservers: []string{"10.96.0.1"}, Options: []string{"ndots:0"}},
			Labels: map[string]string{"mine": "1", "shoal.service.id": "sid", "shoal.service.name": "web",
				"shoal.task.id": "tid", "shoal.task.name": "web.nid.tid", "shoal.node.id": "nid"},
		},
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	rev.Spec.Container.Mounts[0].ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 3000, protowire.VarintType), 1))
	if _, err := c.request(); err == nil || !strings.Contains(err.Error(), "field 3000 of Mount") {
		t.Errorf("what a newer manager asks for: %v", err)
	}
	if rev.Spec.Container.Mounts[0].Source != "data-{{.Task.Slot}}" {
		t.Error("the revision was changed: other tasks share it")
	}
}

func TestNetworkMode(t *testing.T) {
	on := func(names ...string) *api.Revision {
		s := &api.ServiceSpec{}
		for _, n := range names {
			s.Networks = append(s.Networks, &api.NetworkAttachmentSpec{Network: n})
		}
		return &api.Revision{Spec: s}
	}
	wired := &api.Task{GatewayAddresses: []string{"10.112.0.9/22"}}
	tests := []struct {
		task *api.Task
		rev  *api.Revision
		want string
	}{
		{wired, on(), "external"}, {wired, on("host"), "host"}, {wired, on("none"), "none"},
		{&api.Task{Networks: []*api.NetworkAttachment{{}}}, on("net1"), "external"}, {&api.Task{}, on(), "none"},
	}
	for _, tt := range tests {
		if got := networkMode(tt.task, tt.rev); got != tt.want {
			t.Errorf("networkMode(%v, %v) = %s, want %s", tt.task, tt.rev, got, tt.want)
		}
	}
}

// images is an Engine of which only images are asked.
type images struct {
	Engine
	here   bool
	pulled int
}

func (i *images) HasImage(context.Context, string) (bool, error) { return i.here, nil }

func (i *images) Pull(context.Context, string) error {
	i.pulled++
	return errors.New("no such host")
}

type source bool

func (s source) Fetch(context.Context, string) (bool, error) { return bool(s), nil }

func TestImageComesFromTheNearestPlace(t *testing.T) {
	tests := []struct {
		name   string
		engine *images
		source ImageSource
		pulls  int
	}{
		{"here", &images{here: true}, source(true), 0},
		{"another node", &images{}, source(true), 0},
		{"registry", &images{}, source(false), 1},
		{"registry, nobody to ask", &images{}, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := New(Deps{Engine: tt.engine, Images: tt.source}, &api.Task{}, nil)
			err := c.image(t.Context(), "web:1")
			if tt.engine.pulled != tt.pulls || (err != nil) != (tt.pulls > 0) {
				t.Errorf("%d pulls, error %v", tt.engine.pulled, err)
			}
		})
	}
}

// The resolvers that a service asks for are asked by the cluster's name server.
func TestAttachmentHasResolvers(t *testing.T) {
	row := &api.Container{Id: "c", NetworkMode: "external", Netns: "/ns", Spec: &api.ContainerSpec{Dns: &api.DNSConfig{Nameservers: []string{"10.96.0.1"}}}}
	rev := &api.Revision{Spec: &api.ServiceSpec{Container: &api.ContainerSpec{Dns: &api.DNSConfig{Nameservers: []string{"192.0.2.53"}}}}}
	for want, rev := range map[string]*api.Revision{"[192.0.2.53]": rev, "[]": nil} {
		a, err := Attachment(&api.Task{Id: "t"}, rev, row)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(a.Resolvers); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
